"""MIG layouts out of a mig-parted file that an inventory names: `mig_parted` becomes `mig`.

Reads that file; what it means is said in `mig.parted`. Knows no host: cards are those that the
inventory gives.
"""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from ollama_fleet.catalogue import Gpu
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.spec.fleet import Fleet, HostSpec
from ollama_fleet.spec.known import cards_of, known_to
from ollama_fleet.yamlfile import YamlFile

# What mig-parted's `device-filter` compares, by family of profiles: device and vendor of the most
# usual card. Its own files list all cards of a family together.
DEVICE_IDS = {
    "A30-24": "0x20B710DE",
    "A100-40": "0x20B010DE",
    "A100-80": "0x20B210DE",
    "H100-80": "0x233010DE",
    "H100-94": "0x232110DE",
    "H100-96": "0x234210DE",
    "H200-141": "0x233510DE",
    "B200-180": "0x290110DE",
    "GB200-186": "0x294110DE",
    "B300-269": "0x318210DE",
    "PRO6000-96": "0x2BB510DE",
}


def with_layouts(file: YamlFile, fleet: Fleet) -> YamlFile:
    """The inventory `file`, with layouts in place of the files that its hosts name.

    Files lie relative to the inventory. Raises InputError.
    """
    value, known = deepcopy(file.value), known_to(fleet)
    for name, spec in fleet.hosts.items():
        if spec.mig_parted:
            found = _layouts(file, name, spec, cards_of(spec, known))
            host = value["hosts"][name]
            del host["mig_parted"]
            host["mig"] = [{"gpus": [gpu], "profiles": list(names)} for gpu, names in found.items()]
    return YamlFile(file.source, value, file.lines)


def _layouts(
    file: YamlFile, name: str, spec: HostSpec, cards: list[Gpu]
) -> Mapping[int, tuple[str, ...]]:
    from ollama_fleet.mig.parted import layouts

    asked: Any = spec.mig_parted
    at: tuple[str | int, ...] = ("hosts", name, "mig_parted")

    def problem(what: str) -> InputError:
        return InputError([Problem(file.source, ".".join(map(str, at)), what, file.line_of(at))])

    if not cards:
        raise problem("say with `gpus:` which GPUs the host has; layouts depend on the card")
    path = Path(file.source).parent / Path(asked.file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise problem(f"{path} cannot be read: {error}") from None
    devices = [(DEVICE_IDS.get(card.mig_family, ""), bool(card.mig_profiles)) for card in cards]
    return layouts(text, asked.config, devices, source=str(path))
