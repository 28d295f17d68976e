"""Everything of monitoring that runs on a machine, what of it is there, and the steps between. Pure."""

from collections.abc import Sequence

from ollama_fleet.metrics import exporters, machine, places
from ollama_fleet.metrics.door import door_service
from ollama_fleet.metrics.ends import Certificate, ends_service
from ollama_fleet.metrics.machine import Machine
from ollama_fleet.metrics.writer import writer_service
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services.service import (
    Found,
    Service,
    Step,
    files_of,
    questions,
    read_found,
    service_steps,
)

LEFT = "metrics.left"
PREFIX = "metrics"


def services(
    plan: MonitoringPlan,
    host: HostPlan | None,
    on: Machine,
    certificates: Sequence[Certificate] = (),
) -> list[Service]:
    """What runs on a machine; the door comes last. `host` is its plan where it is one of the fleet's hosts,
    `certificates` are those that it has."""
    has_tls_of_gateway = plan.is_gateway or bool(host and host.hop and host.hop.listen_port)
    found = [ends_service(certificates, has_tls_of_gateway), exporters.node_service(plan, on)]
    if host:
        found.append(writer_service(plan, host))
    if plan.is_gateway:
        found += [exporters.mtail_service(plan, on), exporters.nginx_service(plan, on)]
    if host and plan.gpu == "dcgm" and not on.has_dcgm:
        found.append(exporters.dcgm_service(plan, on))
    return [*found, door_service(plan, on)]


def asked(plan: MonitoringPlan | None, host: HostPlan | None) -> dict[str, str]:
    """What to ask a machine: its facts, what of ours is there, and whether it is as it should be."""
    left = {LEFT: _ls((*places.FILES, *_KEPT_BY_NOBODY))}
    if plan is None:
        return left
    wanted = services(plan, host, machine.usual_machine())
    return {**machine.QUESTIONS, **left, **questions(PREFIX, wanted, [])}


def found_in(answers: Answers, wanted: Sequence[Service]) -> Found:
    """Answers to `asked`."""
    asked_of = [service for service in wanted if f"{PREFIX}.units" in answers]
    return read_found(PREFIX, asked_of, answers)


def steps(wanted: Sequence[Service], answers: Answers) -> list[Step]:
    """What brings a machine from what was found to what is wanted; empty when it is as it should be."""
    keep = {file.path for file in files_of(wanted)} | set(_KEPT_BY_NOBODY)
    left = [path for path in answers[LEFT].lines if path not in keep]
    return [*gone_steps(left), *service_steps(wanted, [], found_in(answers, wanted))]


def leftover_steps(answers: Answers) -> list[str]:
    """What takes all of it off a machine that shows nothing any more; empty when nothing is there."""
    left = answers[LEFT].lines
    if not left:
        return []
    return [
        "say 'taking away what monitoring has left here'",
        *gone_steps([path for path in left if path in places.FILES]),
        f"rm -rf {places.TLS} {places.METRICS_DIR}",
        f"[ ! -d {places.DIR} ] || rmdir --ignore-fail-on-non-empty {places.DIR}",
        f"rm -f {places.SYSUSERS}",
        f"! getent passwd {places.USER} >/dev/null || userdel {places.USER} || "
        f"say 'the user {places.USER} stays: something runs as it'",
    ]


def gone_steps(paths: Sequence[str]) -> list[str]:
    """Stops units and removes files; nothing where there is none."""
    if not paths:
        return []
    names = [path.rpartition("/")[2] for path in paths]
    units = " ".join(name for name in names if name in places.UNITS)
    stop = f"systemctl disable -q --now {units} 2>/dev/null || systemctl stop {units} || :"
    return [*([stop] if units else []), f"rm -f {' '.join(paths)}", "systemctl daemon-reload"]


# Of a machine that shows something; else they go, too.
_KEPT_BY_NOBODY = (places.SYSUSERS, places.TLS, places.METRICS_DIR)


def _ls(paths: Sequence[str]) -> str:
    return f'for path in {" ".join(paths)}; do [ ! -e "$path" ] || echo "$path"; done'
