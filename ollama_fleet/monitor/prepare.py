"""What has to be on a machine before it can be a monitor."""

from ollama_fleet.gateway.packages import NGINX
from ollama_fleet.monitor import places
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.services.ready import Folder, Part
from ollama_fleet.templating import MARKER, HostFile, render

# Where no repository of the machine has it, its owner brings the program: then nothing is installed.
PACKAGES = {
    f"[ -x {places.PROMETHEUS} ] && [ -x {places.PROMTOOL} ]": {
        "apt": "prometheus",
        "dnf": "prometheus",
    },
    "command -v curl": {"apt": "curl", "dnf": "curl"},
    "command -v openssl": {"apt": "openssl", "dnf": "openssl"},
}
DOOR_PACKAGES = {f"[ -x {NGINX} ]": {"apt": "nginx", "dnf": "nginx"}}
FOLDERS = tuple(
    Folder(path, "2750", places.USER) for path in (places.SETTINGS, places.RULES, places.TLS)
)


def part_of(plan: MonitorPlan) -> Part:
    """With a door where others than the machine itself may look."""
    needed = PACKAGES if plan.is_loopback else {**PACKAGES, **DOOR_PACKAGES}
    return Part("monitor", places.USER, sysusers_file(), needed, FOLDERS)


def sysusers_file() -> HostFile:
    """The account of Prometheus."""
    text = render("monitor/sysusers.conf.j2", marker=MARKER, user=places.USER)
    return HostFile(places.SYSUSERS, text)
