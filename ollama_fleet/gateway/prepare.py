"""What has to be on a machine before anything of the gateway runs there."""

from dataclasses import replace

from ollama_fleet.gateway import packages, places
from ollama_fleet.gateway.hop import sysusers_file
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.services.ready import Folder, Part

HOP = Part(
    "hop",
    places.USER,
    sysusers_file(),
    packages.HOP,
    (Folder(places.HOP_DIR, "755", places.USER), Folder(places.HOP_TLS, "2750", places.USER)),
)
GATEWAY = Part(
    "gateway",
    places.USER,
    sysusers_file(),
    packages.GATEWAY,
    (
        Folder(places.GATEWAY_DIR, "2750", places.USER),
        Folder(places.GATEWAY_TLS, "2750", places.USER),
    ),
)


def gateway_part(plan: GatewayPlan) -> Part:
    """The gateway with what its plan needs beside the rest."""
    if plan.virtual_address is None:
        return GATEWAY
    return replace(GATEWAY, needed={**packages.GATEWAY, **packages.ADDRESS})
