"""Who uses a host's GPUs: questions and their answers. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ollama_fleet.hardware.found import APP_FIELDS, Hardware, parse_processes
from ollama_fleet.planner.plan import WARM_UNITS, HostPlan
from ollama_fleet.questions import Answers

# Only slices have this in their environment; the loader has "-1".
_VISIBLE = "CUDA_VISIBLE_DEVICES="


@dataclass(frozen=True)
class Occupant:
    """A process that computes on a GPU; `unit` is its service, if it has one."""

    pid: int
    name: str
    unit: str | None


@dataclass(frozen=True)
class RunningSlice:
    """A running unit of ours and the port that it serves."""

    unit: str
    port: int | None


@dataclass(frozen=True)
class Use:
    """Who uses each GPU, by PCI address. What is on an instance that is gone stands under ""."""

    occupants: Mapping[str, Sequence[Occupant]]
    slices: Mapping[str, Sequence[RunningSlice]]


NO_USE = Use({}, {})


def use_questions(marker: str) -> dict[str, str]:
    """What to ask a host; `marker` are the words that all our units have."""
    return {
        "gpu occupants": f"""apps=$(nvidia-smi --query-compute-apps={",".join(APP_FIELDS)} \
    --format=csv,noheader,nounits)
echo "$apps"
echo "$apps" | cut -d, -f2 | while read -r pid; do
    [ ! -r "/proc/$pid/cgroup" ] || grep -H . "/proc/$pid/cgroup"
done""",
        "gpu slices": f"""set -- $(grep -lsF '{marker}' /etc/systemd/system/ollama-*.service |
    sed 's|.*/||')
[ $# -eq 0 ] || systemctl show -p Id,ActiveState,Environment "$@\"""",
    }


def handed_questions(plan: HostPlan) -> dict[str, str]:
    """What each running slice on an instance was started with; nothing where no GPU is to be cut."""
    units = " ".join(item.unit for item in plan.slices if "/" in "".join(map(str, item.gpus)))
    if not plan.mig or not units:
        return {}
    return {
        "mig handed": f"""set -- $(systemctl show -p MainPID --value {units})
for unit in {units}; do
    echo "$unit $(tr '\\0' '\\n' <"/proc/${{1:-0}}/environ" | sed -n 's/^{_VISIBLE}//p')"
    [ $# -eq 0 ] || shift
done 2>/dev/null"""
    }


def read_handed(answers: Answers) -> dict[str, str]:
    """The answer to `handed_questions`: unit to UUID, of those that run with one."""
    if "mig handed" not in answers:
        return {}
    rows = [line.split() for line in answers["mig handed"].lines]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def read_use(answers: Answers, hardware: Hardware) -> Use:
    """Answers to `use_questions`."""
    return Use(
        _occupants(answers["gpu occupants"].text, hardware),
        _slices(answers["gpu slices"].text, hardware),
    )


def _addresses(hardware: Hardware) -> dict[str, str]:
    """UUID of a GPU or an instance to its GPU's PCI address."""
    found = {gpu.uuid: gpu.pci_bus_id for gpu in hardware.gpus}
    for gpu in hardware.gpus:
        for item in hardware.mig_of(gpu).instances:
            if item.uuid:
                found[item.uuid] = gpu.pci_bus_id
    return found


def _occupants(text: str, hardware: Hardware) -> dict[str, list[Occupant]]:
    addresses = _addresses(hardware)
    units = dict(re.findall(r"^/proc/(\d+)/cgroup:.*/([^/\n]+\.service)\b", text, re.M))
    found: dict[str, list[Occupant]] = {}
    for process in parse_processes(text):
        occupant = Occupant(process.pid, process.name, units.get(str(process.pid)))
        # An unknown UUID is an instance that went meanwhile: whose GPU it was nobody can say.
        found.setdefault(addresses.get(process.gpu_uuid, ""), []).append(occupant)
    return found


def _slices(text: str, hardware: Hardware) -> dict[str, list[RunningSlice]]:
    """Running slices by address; those whose instance is gone stand under the empty address."""
    addresses = _addresses(hardware)
    found: dict[str, list[RunningSlice]] = {}
    for block in text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("ActiveState") in (None, "inactive", "failed"):
            continue
        if values.get("Id", "").startswith(WARM_UNITS):
            continue
        environment = values.get("Environment", "").split()
        visible = [word.removeprefix(_VISIBLE) for word in environment if word.startswith(_VISIBLE)]
        ports = re.findall(r"\bOLLAMA_HOST=\S*:(\d+)", values.get("Environment", ""))
        if not ports:  # no server: a part of the gateway, the devices' script
            continue
        item = RunningSlice(values.get("Id", ""), int(ports[0]))
        for uuid in visible[-1].split(",") if visible else [""]:
            if uuid != "-1":
                found.setdefault(addresses.get(uuid, ""), []).append(item)
    return found
