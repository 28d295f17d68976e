"""nginx of the gateway, for now on loopback only, with the pool named by the request (`?pool=`)."""

import hashlib

from ollama_fleet.gateway import places
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.templating import MARKER, HostFile, render


def nginx_files(plan: GatewayPlan, machine: Machine) -> list[HostFile]:
    """Its files. The same plan and machine give the same bytes."""
    return [HostFile(places.NGINX_CONF, _configuration(plan, nginx_digest(plan, machine)))]


def nginx_digest(plan: GatewayPlan, machine: Machine) -> str:
    """What an nginx that has this configuration in force answers."""
    return hashlib.sha256(_configuration(plan, "").encode()).hexdigest()


def _configuration(plan: GatewayPlan, digest: str) -> str:
    return render(
        "gateway/interim.nginx.j2", marker=MARKER, port=plan.port, digest=digest, places=places
    )
