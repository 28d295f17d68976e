"""The address that several gateways share: keepalived, and a check of what it answers for.

keepalived runs without root, as the gateway's user; the check has a unit of its own, so that what talks to
the gateway may touch no address.
"""

from ollama_fleet.gateway import places
from ollama_fleet.gateway.packages import KEEPALIVED
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render

# VRRP, for whoever opens a firewall; it is let in from the peers.
PROTOCOL = 112
# Whether any of it is left where no address is shared any more.
LEFT = "gateway.address"
_FILES = (
    *(places.KEEPALIVED_CONF, places.ADDRESS_SCRIPT),
    *(f"{UNIT_DIR}/{unit}" for unit in (places.ADDRESS_UNIT, places.ADDRESS_CHECK_UNIT)),
)


def address_services(plan: GatewayPlan) -> list[Service]:
    """The check, then keepalived, which goes by it; none where no address is shared.

    Another priority or peer is taken by a reload: a restart moves the address.
    """
    if plan.virtual_address is None:
        return []
    values = _values(plan)
    script = HostFile(
        places.ADDRESS_SCRIPT, render("gateway/ollama-address.sh.j2", **values), mode="0755"
    )
    check = _unit(places.ADDRESS_CHECK_UNIT, values)
    address = _unit(places.ADDRESS_UNIT, values)
    configuration = render("gateway/keepalived.conf.j2", **values)
    return [
        Service(places.ADDRESS_CHECK_UNIT, configuration=(), others=(script, check)),
        Service(
            places.ADDRESS_UNIT,
            configuration=(HostFile(places.KEEPALIVED_CONF, configuration),),
            others=(address,),
        ),
    ]


def questions(plan: GatewayPlan) -> dict[str, str]:
    """Asks a gateway without a shared address whether it had one."""
    paths = " ".join(_FILES)
    return {} if plan.virtual_address else {LEFT: f"ls {paths} 2>/dev/null; true"}


def leftover_steps(left: list[str]) -> list[str]:
    """Shell that takes the shared address off a machine; nothing is `left`, nothing is done."""
    if not left:
        return []
    units = f"{places.ADDRESS_UNIT} {places.ADDRESS_CHECK_UNIT}"
    return [
        "say 'giving the shared address up'",
        f"systemctl disable -q --now {units} 2>/dev/null || :",
        f"rm -f {' '.join(_FILES)}",
        "systemctl daemon-reload",
    ]


def _unit(name: str, values: dict[str, object]) -> HostFile:
    return HostFile(f"{UNIT_DIR}/{name}", render(f"gateway/{name}.j2", **values))


def _values(plan: GatewayPlan) -> dict[str, object]:
    return {
        "marker": MARKER,
        "shared": plan.virtual_address,
        "user": places.USER,
        "keepalived": KEEPALIVED,
        "script": places.ADDRESS_SCRIPT,
        "configuration": places.KEEPALIVED_CONF,
        "check_unit": places.ADDRESS_CHECK_UNIT,
        "runtime": places.ADDRESS_RUN_DIR.removeprefix("/run/"),
        "state": f"{places.ADDRESS_RUN_DIR}/gateway",
        "interface_file": f"{places.ADDRESS_RUN_DIR}/interface.conf",
        "status_socket": places.STATUS_SOCKET,
        "status_path": places.STATUS_PATH,
        "pools_socket": places.POOLS_SOCKET,
    }
