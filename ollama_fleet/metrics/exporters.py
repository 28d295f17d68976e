"""Exporters that are not ours: units in which the distribution's and NVIDIA's programs run, on loopback."""

from typing import Any

from ollama_fleet.gateway.places import (
    GATEWAY_DIR,
    GATEWAY_UNIT,
    HOP_DIR,
    LOG_DIR,
)
from ollama_fleet.gateway.places import RUN_DIR as GATEWAY_RUN_DIR
from ollama_fleet.gateway.places import USER as GATEWAY_USER
from ollama_fleet.metrics import places
from ollama_fleet.metrics.machine import Machine
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render

# Of the histograms: from an answer out of the cache to a long one of a large model. -1, because mtail
# leaves a value out that is not above its lowest bound, and the last, because it leaves out what is above.
BUCKETS_S = (
    *(-1, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120),
    *(180, 300, 600, 1200, 3600, 86400),
)
DCGM_COUNTERS = "/etc/dcgm-exporter/default-counters.csv"


def node_service(plan: MonitoringPlan, machine: Machine) -> Service:
    """The node exporter: of the whole machine, or of our own metrics where the site has one."""
    return _service(
        places.NODE_UNIT,
        plan,
        program=machine.programs["node"],
        port=plan.inside.node,
        whole=plan.node_exporter == "own",
        metrics_dir=places.METRICS_DIR,
    )


def mtail_service(plan: MonitoringPlan, machine: Machine) -> Service:
    """What counts the gateway's requests by its access log."""
    rules = HostFile(
        places.PROGRAM, render("metrics/gateway.mtail.j2", marker=MARKER, seconds=BUCKETS_S)
    )
    return _service(
        places.MTAIL_UNIT,
        plan,
        rules,
        program=machine.programs["mtail"],
        port=plan.inside.mtail,
        rules=places.PROGRAM,
        log=f"{LOG_DIR}/access.log",
        gateway_user=GATEWAY_USER,
        gateway_dir=GATEWAY_DIR,
        hop_dir=HOP_DIR,
        run_dir=GATEWAY_RUN_DIR,
        tls_dir=places.TLS,
    )


def nginx_service(plan: MonitoringPlan, machine: Machine) -> Service:
    """What the gateway's nginx says of its connections."""
    return _service(
        places.NGINX_UNIT,
        plan,
        program=machine.programs["nginx"],
        port=plan.inside.nginx,
        status_port=plan.inside.front,
        gateway_unit=GATEWAY_UNIT,
    )


def dcgm_service(plan: MonitoringPlan, machine: Machine) -> Service:
    """NVIDIA's exporter of DCGM."""
    return _service(
        places.DCGM_UNIT,
        plan,
        program=machine.programs["dcgm"],
        port=plan.inside.dcgm,
        counters=DCGM_COUNTERS,
        interval_ms=1000 * plan.interval_s,
    )


def _service(unit: str, plan: MonitoringPlan, *files: HostFile, **values: Any) -> Service:
    text = render(f"metrics/{unit}.j2", marker=MARKER, door_port=plan.port, **values)
    return Service(unit, configuration=(), others=(*files, HostFile(f"{UNIT_DIR}/{unit}", text)))
