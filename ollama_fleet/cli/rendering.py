"""Every file that a deploy would put on each host, written below a folder to be looked at.

What only a host can tell (UUIDs, device minors) is a stand-in that says so, unless its hardware
was given.
"""

import runpy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ollama_fleet.cli.ending import BadOptionError
from ollama_fleet.convergence import MANIFEST, manifest_of
from ollama_fleet.hardware.found import Gpu, Hardware, normal_bus_id
from ollama_fleet.inventory import ollama_settings
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.plan import HostPlan, Release
from ollama_fleet.problems import InputError
from ollama_fleet.release.wanted import pinned_sums
from ollama_fleet.render import render_host
from ollama_fleet.spec.fleet import Fleet
from ollama_fleet.templating import TEMPLATES

DEFAULTS = TEMPLATES.parent / "group_data" / "all.py"
NOTE = "STAND-INS.txt"
NO_SUMS = {"amd64": "unknown", "arm64": "unknown"}


def render_plans(
    fleet: Fleet,
    plans: Mapping[str, HostPlan],
    found: Mapping[str, Hardware],
    inventory_folder: Path,
    target: Path,
) -> list[Path]:
    """Write `target/<host>/<path on the host>` for every host; returns what was written."""
    written: list[Path] = []
    for name, plan in plans.items():
        release, notes = release_of(fleet, name, inventory_folder)
        hardware = found.get(name)
        if hardware is None:
            hardware = stand_in(plan)
            notes.append(
                "UUIDs (GPU-<index>-unknown) and the numbers of /dev/nvidia<N> are stand-ins"
            )
        full = replace(plan, release=release)
        try:
            bound = bind(full, hardware)
        except CannotBindError as error:
            raise BadOptionError(f"{name} cannot be rendered: {error}") from None
        content = render_host(full, bound, hardware)
        files = {item.path: item.text for item in content.files} | {MANIFEST: manifest_of(content)}
        written += _write(target / name, files | ({f"/{NOTE}": _note(notes)} if notes else {}))
    return written


def stand_in(plan: HostPlan) -> Hardware:
    """GPUs that carry the names by which the plan's slices call them."""
    selectors = [one for item in plan.slices for one in item.gpus if "/" not in str(one)]
    indexes = [one for one in selectors if isinstance(one, int)]
    indexes += [position for position, _ in plan.mig]
    declared = sum(count for _, count in plan.expected_gpus or ())
    count = max([declared, *(index + 1 for index in indexes)], default=0)
    names = dict.fromkeys(one for one in selectors if isinstance(one, str))
    gpus = [_gpu(index) for index in range(count)]
    gpus += [_gpu(count + order, name) for order, name in enumerate(names)]
    return Hardware(gpus=tuple(gpus), pci_gpus=tuple(gpu.pci_bus_id for gpu in gpus))


def _gpu(index: int, selector: str = "") -> Gpu:
    named = selector.upper().startswith("GPU-")
    return Gpu(
        index=index,
        uuid=selector if named else f"GPU-{index}-unknown",
        name="unknown",
        pci_bus_id=normal_bus_id(selector) if selector and not named else f"unknown-{index}",
        minor=index,
        driver_version="unknown",
        memory_total_mib=None,
        memory_used_mib=None,
        compute_cap=None,
        temperature_c=None,
        persistence=None,
        ecc_uncorrected=None,
    )


def release_of(fleet: Fleet, host: str, folder: Path) -> tuple[Release, list[str]]:
    """A host's release as a deploy would see it, and in words what of it is a stand-in, such as a
    missing list of checksums."""
    defaults = runpy.run_path(str(DEFAULTS)) if DEFAULTS.is_file() else {}
    notes: list[str] = []
    try:
        said = ollama_settings(fleet, fleet.hosts[host], folder)
    except InputError as error:
        said = ollama_settings(_without_sums(fleet), _without_sums(fleet).hosts[host], folder)
        notes.append(f"checksums: {error}")
    values: dict[str, Any] = defaults | said
    sums = pinned_sums(values.get)
    if not sums:
        notes.append("the checksum of the release is a stand-in; a deploy refuses to go without")
    release = Release(
        str(values.get("ollama_version", "unknown")),
        dict(sums or NO_SUMS),
        str(values.get("ollama_release_url", "")),
        values.get("ollama_registry"),
        **{
            key: values[f"ollama_{key}"]
            for key in ("archive", "delivery", "keep_versions")
            if f"ollama_{key}" in values
        },
    )
    return release, notes


def _without_sums(fleet: Fleet) -> Fleet:
    """The same without `sha256_file`, which is not there."""
    gone = {"sha256_file": None}
    hosts = {
        name: spec.model_copy(update={"ollama": spec.ollama.model_copy(update=gone)})
        for name, spec in fleet.hosts.items()
    }
    return fleet.model_copy(update={"ollama": fleet.ollama.model_copy(update=gone), "hosts": hosts})


def _note(notes: Iterable[str]) -> str:
    lines = ["Not on the host: what these files do not know yet.", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"


def _write(folder: Path, files: Mapping[str, str]) -> list[Path]:
    written = []
    for path, text in files.items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        written.append(target)
    return written
