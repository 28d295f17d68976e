"""What a host answers that is exactly as a deploy left it, and on which nobody else is."""

from collections.abc import Mapping, Sequence

from ollama_fleet.checks.processes import PROCESSES
from ollama_fleet.checks.registry import verification_questions
from ollama_fleet.checks.strangers import SERVERS, STORES, UNIT_FILES
from ollama_fleet.checks.unit_files import UNITS
from ollama_fleet.convergence import digest, manifest_of
from ollama_fleet.hardware.found import read_hardware
from ollama_fleet.planner.bind import bind
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answer
from ollama_fleet.render import Rendered, render_host
from ollama_fleet.templating import MARKER, HostFile

START_S = 1_795_881_678.5
CGROUP = "/proc/{pid}/cgroup:0::/system.slice/{unit}"


def rendered(plan: HostPlan, hardware: Mapping[str, str]) -> Rendered:
    """The files of a plan on a host that gives these answers about its hardware."""
    known = read_hardware({name: Answer(text) for name, text in hardware.items()})
    return render_host(plan, bind(plan, known), known)


def told(files: Sequence[HostFile]) -> str:
    """These files as a host tells of them."""
    modes = [f"{file.mode.lstrip('0')} {file.path}" for file in files]
    return "\n".join([*modes, *(f"{digest(file)}  {file.path}" for file in files)])


def unit(name: str, active: str = "active", **more: str) -> str:
    """A unit of ours as systemctl shows it."""
    values = {
        "Id": name,
        "LoadState": "loaded",
        "ActiveState": active,
        "NeedDaemonReload": "no",
        "FragmentPath": f"/etc/systemd/system/{name}",
        "DropInPaths": "",
        **more,
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def times(name: str, written_s: float = START_S - 1, started_s: float = START_S) -> str:
    """When the file of a unit was written, and when the unit was started."""
    return (
        f"{started_s:.6f} /run/systemd/units/invocation:{name}\n"
        f"{written_s:.6f} /etc/systemd/system/{name}\n"
    )


def clean(plan: HostPlan, hardware: Mapping[str, str]) -> dict[str, str]:
    """Answers to the questions about drift."""
    wanted = rendered(plan, hardware)
    names = [item.unit for item in plan.slices]
    own = "/etc/systemd/system/ollama-code.service.d/10-order.conf"
    return {
        **{name: "" for name in verification_questions(plan) if name.startswith("firewall.")},
        "owned.files": told(wanted.files),
        "owned.manifest": manifest_of(wanted),
        "owned.command": "other",
        UNITS: "\n".join(unit(name, DropInPaths=own if "code" in name else "") for name in names)
        + "\n"
        + "".join(map(times, names))
        + f"{own}:{MARKER}\n",
        PROCESSES: "",
        UNIT_FILES: "",
        SERVERS: "".join(
            f"user /proc/{pid} ollama\n{CGROUP.format(pid=pid, unit=name)}\n"
            for pid, name in enumerate(names, 11)
        ),
        STORES: "",
    }
