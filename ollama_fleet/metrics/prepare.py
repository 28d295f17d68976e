"""What has to be on a machine before it shows anything."""

from ollama_fleet.gateway import packages
from ollama_fleet.metrics import places
from ollama_fleet.metrics.machine import needed_exporters
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.services.ready import Folder, Part
from ollama_fleet.templating import MARKER, HostFile, render

FOLDERS = (
    Folder(places.DIR, "755", places.USER),
    Folder(places.TLS, "2750", places.USER),
    Folder(places.METRICS_DIR, "755", places.USER, owner=places.USER),
)


def part_of(plan: MonitoringPlan) -> Part:
    """With the exporters that the plan wants."""
    own = {one.test: one.packages for one in needed_exporters(plan.gpu, plan.is_gateway)}
    account = render("metrics/sysusers.conf.j2", marker=MARKER, user=places.USER)
    return Part(
        "metrics",
        places.USER,
        HostFile(places.SYSUSERS, account),
        {**packages.HOP, **own},
        FOLDERS,
    )
