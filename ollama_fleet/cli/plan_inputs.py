"""JSON files that `fleet plan` reads: what hosts have, and an earlier plan."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from ollama_fleet.cli.ending import BadOptionError
from ollama_fleet.hardware.found import Gpu, Hardware
from ollama_fleet.hardware.instances import MigGpu

if TYPE_CHECKING:
    from ollama_fleet.planner.previous import Previous

LARGEST_FILE_BYTES = 256 * 2**20


def read_hardware_files(paths: Sequence[Path], hosts: Sequence[str]) -> dict[str, Hardware]:
    """Host name to what it was found to have, out of `fleet discover --json`."""
    found: dict[str, Hardware] = {}
    for path in paths:
        data = _read(path)
        name = str(data.get("name"))
        if name not in hosts and len(hosts) == 1:
            name = hosts[0]  # a host may call itself otherwise than its inventory
        if name not in hosts:
            known = ", ".join(hosts[:10])
            raise BadOptionError(f"{path} is of host '{name}'; the inventory has {known}")
        found[name] = _hardware(path, data.get("hardware"))
    return found


def read_previous(path: Path | None) -> "Previous":
    """The placements of an earlier plan; none where no file is given."""
    from ollama_fleet.planner.previous import Previous, from_json

    if path is None:
        return Previous()
    try:
        return from_json(_read(path)["placements"])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise BadOptionError(f"{path} is no output of `fleet plan --json`") from None


def _read(path: Path) -> Mapping[str, Any]:
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise BadOptionError(f"{path} is too large to be a plan or a host's hardware")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadOptionError(f"{path} is no JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadOptionError(f"{path} is no output of `fleet`")
    return data


def _hardware(path: Path, data: Any) -> Hardware:
    try:
        gpus = tuple(TypeAdapter(Gpu).validate_python(gpu) for gpu in data["gpus"])
        mig = tuple(TypeAdapter(MigGpu).validate_python(one) for one in data.get("mig", ()))
        return Hardware(**{**data, "gpus": gpus, "pci_gpus": tuple(data["pci_gpus"]), "mig": mig})
    except (KeyError, TypeError, ValueError):
        raise BadOptionError(f"{path} is no output of `fleet discover --json`") from None
