"""The door: the nginx at the one port where monitors see what a machine shows, by path."""

import hashlib

from ollama_fleet.gateway.packages import NGINX
from ollama_fleet.gateway.places import LONGEST_NAME
from ollama_fleet.metrics import places
from ollama_fleet.metrics.machine import SITE_DCGM_PORT, Machine
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render

Shown = tuple[str, int, str]


def door_service(plan: MonitoringPlan, machine: Machine) -> Service:
    """The door of a machine."""
    digest = hashlib.sha256(_configuration(plan, machine, "").encode()).hexdigest()
    unit = render(
        "metrics/ollama-metrics-door.service.j2",
        marker=MARKER,
        group=places.USER,
        nginx=NGINX,
        configuration=places.DOOR_CONF,
        socket=places.DOOR_SOCKET,
        run_dir=places.DOOR_RUN_DIR.removeprefix("/run/"),
        port=plan.port,
    )
    return Service(
        places.DOOR_UNIT,
        configuration=(HostFile(places.DOOR_CONF, _configuration(plan, machine, digest)),),
        others=(HostFile(f"{UNIT_DIR}/{places.DOOR_UNIT}", unit),),
        digest=digest,
        asks=f"curl --noproxy '*' -fsS --max-time 5 --unix-socket {places.DOOR_SOCKET} "
        f"http://localhost{places.STATUS_PATH}",
    )


def shown(plan: MonitoringPlan, machine: Machine) -> list[Shown]:
    """What is to be seen: path, the port behind it, and the path there."""
    inside = plan.inside
    of_gateway: list[Shown] = [
        ("/metrics/gateway", inside.mtail, "/metrics"),
        ("/metrics/haproxy", inside.balancer, "/metrics"),
        ("/metrics/nginx", inside.nginx, "/metrics"),
    ]
    dcgm = dcgm_port(plan, machine)
    return [
        ("/metrics", inside.node, "/metrics"),
        *(of_gateway if plan.is_gateway else []),
        *([("/metrics/dcgm", dcgm, "/metrics")] if dcgm else []),
    ]


def dcgm_port(plan: MonitoringPlan, machine: Machine) -> int | None:
    """Where DCGM's exporter listens, ours or the site's own; None where there is none."""
    if not plan.on_host or plan.gpu == "textfile":
        return None
    if machine.has_dcgm:
        return SITE_DCGM_PORT
    return plan.inside.dcgm if plan.gpu == "dcgm" else None


def _configuration(plan: MonitoringPlan, machine: Machine, digest: str) -> str:
    return render(
        "metrics/door.nginx.j2",
        marker=MARKER,
        machine=plan.machine,
        run_dir=places.DOOR_RUN_DIR,
        socket=places.DOOR_SOCKET,
        tls_dir=places.TLS,
        status_path=places.STATUS_PATH,
        monitors=[name[:LONGEST_NAME] for name in plan.monitors],
        listen=[str(plan.port), *([f"[::]:{plan.port}"] if machine.has_ipv6 else [])],
        shown=shown(plan, machine),
        digest=digest,
    )
