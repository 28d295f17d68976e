"""What a host has, as an inventory that serves something on each of its GPUs.

Pure: facts in, a mapping, YAML and notes out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ollama_fleet.catalogue import Gpu as Card
from ollama_fleet.catalogue import UnknownGpu, find_gpu
from ollama_fleet.cli.ask_host import Login
from ollama_fleet.hardware.found import Gpu, Hardware
from ollama_fleet.preflight import SMI_TROUBLE
from ollama_fleet.recommend import Place, make_wish, recommend
from ollama_fleet.spec.known import short_gpu_name

SUGGESTED_CONTEXT = 8192
# Bandwidth of a card that is in no table, low so that no estimate promises too much.
UNKNOWN_GB_S = 100
# A busy GPU: more than a desktop or a driver holds by itself.
BUSY_MIB = 512
HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Suggestion:
    """A slice for one GPU: the model that comes first for chat in balance, and why."""

    position: int
    place: Place | None

    @property
    def slice(self) -> dict[str, Any]:
        """As the inventory has it."""
        base = {"name": f"gpu{self.position}", "gpus": [self.position]}
        if self.place is None:
            return base
        cache = self.place.estimate.kv_cache
        settings = {"models": [self.place.model.tag], "context": SUGGESTED_CONTEXT}
        return base | settings | ({} if cache == "f16" else {"kv_cache": cache})

    @property
    def why(self) -> str:
        """Its arithmetic on one line."""
        if self.place is None:
            return "no model for chat fits"
        need = f"{self.place.kept_mib:.0f} of {self.place.room.usable_mib} MiB with margin"
        return f"{need}, about {self.place.speed.tokens_per_s:.0f} tokens/s"


@dataclass(frozen=True)
class Discovered:
    """An inventory's content, a reason for each slice, and what to look at before a deploy."""

    name: str
    inventory: dict[str, Any]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]


def trouble(hardware: Hardware) -> str | None:
    """Why a host has no GPU to offer; None where it has."""
    if hardware.gpus:
        return None
    if not hardware.pci_gpus:
        return "no NVIDIA GPU on its PCI bus"
    count = len(hardware.pci_gpus)
    seen = f"{count} NVIDIA GPU{'s' if count > 1 else ''} on its PCI bus, but "
    said = f" ({hardware.smi_message})" if hardware.smi_message else ""
    return seen + SMI_TROUBLE.get(hardware.smi_code, f"nvidia-smi failed{said}")


def discovered(to: Login, host_name: str, hardware: Hardware) -> Discovered:
    """The inventory of a host with GPUs."""
    label = host_name.strip().partition(".")[0]
    name = label if HOST_NAME.fullmatch(label) else "gpu-host"
    cards = {gpu.name: _card(gpu) for gpu in hardware.gpus}
    best = {name: _best(card) for name, card in cards.items()}
    suggestions = [
        Suggestion(position, best[gpu.name])
        for position, gpu in enumerate(hardware.gpus)
        if not gpu.lost
    ]
    host = {
        **_reached(to, name),
        "gpus": [
            {"model": model, "count": len(list(alike))}
            for model, alike in groupby(cards[gpu.name].name for gpu in hardware.gpus)
        ],
        "slices": [one.slice for one in suggestions],
    }
    own = [_own(card) for card in cards.values() if not _known(card.name)]
    catalogue = {"catalogue": {"gpus": own}} if own else {}
    return Discovered(
        name,
        {"version": 1, **catalogue, "hosts": {name: host}},
        tuple(one.why for one in suggestions),
        tuple(_notes(hardware, [card for card in cards.values() if not _known(card.name)])),
    )


def yaml_text(found: Discovered) -> str:
    """The inventory as YAML with its reasons and notes as comments."""
    import yaml

    head = [f"# What {found.name} has. `fleet plan` shows what this would become."]
    head += [f"# {note}" for note in found.notes]
    text = yaml.safe_dump(found.inventory, sort_keys=False, allow_unicode=True, width=1000)
    lines, reasons = [], iter(found.reasons)
    for line in text.splitlines():
        if line.lstrip().startswith("- name: gpu"):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}# {next(reasons)}")
        lines.append(line)
    return "\n".join([*head, *lines])


def _reached(to: Login, name: str) -> dict[str, Any]:
    if to.local:
        return {"connection": "local"} | ({"ssh": {"sudo": True}} if to.sudo else {})
    paths = {
        key: str(path.absolute())
        for key, path in (("key", to.key), ("known_hosts", to.known_hosts))
        if path
    }
    ssh: dict[str, Any] = {"user": to.user, "port": to.port, **paths, "sudo": to.sudo or None}
    given = {key: value for key, value in ssh.items() if value is not None}
    return {"address": to.address} | ({"ssh": given} if given else {})


def _card(gpu: Gpu) -> Card:
    """The catalogue's card, or one made of what the driver says."""
    try:
        return find_gpu(gpu.name)
    except UnknownGpu:
        return Card(
            name=gpu.name,
            vram_mib=max(gpu.memory_total_mib or 0, 256),
            compute_capability=gpu.compute_cap or "5.0",
            bandwidth_gb_s=UNKNOWN_GB_S,
        )


def _known(name: str) -> bool:
    try:
        find_gpu(name)
    except UnknownGpu:
        return False
    return True


def _own(card: Card) -> dict[str, Any]:
    fields = {"name", "vram_mib", "compute_capability", "bandwidth_gb_s"}
    return card.model_dump(mode="json", include=fields)


def _best(card: Card) -> Place | None:
    wish = make_wish(card, "chat", prefer="balance", context=SUGGESTED_CONTEXT)
    return next(iter(recommend(wish).places), None)


def _notes(hardware: Hardware, unknown: list[Card]) -> Iterator[str]:
    yield f"Driver {hardware.gpus[0].driver_version}; slices are suggestions for chat."
    for card in unknown:
        yield f"{card.name} is in no table: set its bandwidth_gb_s, for estimates of speed."
    for position, gpu in enumerate(hardware.gpus):
        if gpu.lost:
            yield f"GPU {position} ({gpu.pci_bus_id}) is lost: reboot, then check power and seating."
        elif (gpu.memory_used_mib or 0) > BUSY_MIB:
            yield f"GPU {position}: {gpu.memory_used_mib} MiB are in use by something else."
    if len(hardware.gpus) != len(hardware.pci_gpus):
        yield f"{len(hardware.pci_gpus)} NVIDIA GPUs are on the PCI bus; see `dmesg | grep NVRM`."
    names = {short_gpu_name(gpu.name) for gpu in hardware.gpus}
    if len(names) > 1:
        yield "The GPUs are not alike: a model over several of them is as fast as the slowest."
