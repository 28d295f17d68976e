"""Where everything of the gateway lies on its machines and on hosts, by name."""

from ollama_fleet.draining import DRAINED_DIR, MARKS_DIR
from ollama_fleet.planner.plan import PREFIX, HostPlan
from ollama_fleet.templating import UNIT_DIR

USER = "ollama-gateway"
GATEWAY_UNIT = "ollama-gateway.service"
BALANCER_UNIT = "ollama-balancer.service"
HOP_UNIT = "ollama-hop.service"
ADDRESS_UNIT = "ollama-address.service"
ADDRESS_CHECK_UNIT = "ollama-address-check.service"

GATEWAY_DIR = "/etc/ollama/gateway"
GATEWAY_TLS = f"{GATEWAY_DIR}/tls"
NGINX_CONF = f"{GATEWAY_DIR}/nginx.conf"
# The router, and what it imports.
PROGRAMS = tuple(
    f"{GATEWAY_DIR}/{name}" for name in ("api.js", "body.js", "fleet.js", "router.js", "tokens.js")
)
KEYS_CONF = f"{GATEWAY_DIR}/keys.conf"
LIMITS_CONF = f"{GATEWAY_DIR}/keys-limits.conf"
BALANCER_CONF = f"{GATEWAY_DIR}/balancer.cfg"
# What of the servers' state a new balancer may know.
STATE_FILTER = f"{GATEWAY_DIR}/servers-state.awk"
RUN_DIR = "/run/ollama-gateway"
POOLS_SOCKET = f"{RUN_DIR}/pools.sock"
ADMIN_SOCKET = f"{RUN_DIR}/admin.sock"
STATUS_SOCKET = f"{RUN_DIR}/status.sock"
LOG_DIR = "/var/log/ollama-gateway"
# Where certbot answers the authority: nginx shows the folder `acme` in it on port 80.
ACME_DIR = "/var/lib/ollama-gateway"
ACME_ROOT = f"{ACME_DIR}/acme"
# Our certificate among those of the machine's certbot, and what that runs when it has a new one.
ACME_NAME = "ollama-gateway"
ACME_RENEWAL = f"/etc/letsencrypt/renewal/{ACME_NAME}.conf"
ACME_HOOK = f"{GATEWAY_DIR}/acme-deploy"

# Of the common name in a certificate, by which a host knows its gateways.
LONGEST_NAME = 64
# Of the address that gateways share.
KEEPALIVED_CONF = f"{GATEWAY_DIR}/keepalived.conf"
ADDRESS_SCRIPT = f"{PREFIX}/libexec/ollama-address"
ADDRESS_RUN_DIR = "/run/ollama-address"

HOP_DIR = "/etc/ollama/hop"
HOP_TLS = f"{HOP_DIR}/tls"
HOP_CONF = f"{HOP_DIR}/nginx.conf"
HOP_RUN_DIR = "/run/ollama-hop"
HOP_SOCKET = f"{HOP_RUN_DIR}/hop.sock"
# While it is there, gateways are told to keep no connections to the hop.
HOP_LEAVING = f"{HOP_RUN_DIR}/leaving"
HEALTH_PATH = "/fleet/health"
STATUS_PATH = "/fleet/configuration"

# A slice named in one of them gets no new requests. What a deploy puts there is gone after a reboot.
DRAINED_NOW, DRAINED_LONG = MARKS_DIR, DRAINED_DIR

SYSUSERS = "/etc/sysusers.d/ollama-gateway.conf"
LOGROTATE = "/etc/logrotate.d/ollama-gateway"

# Files with our marker that the gateway's own steps write and compare.
OF_HOP = (f"{UNIT_DIR}/{HOP_UNIT}", HOP_CONF)
OF_GATEWAY = (
    *(f"{UNIT_DIR}/{unit}" for unit in (GATEWAY_UNIT, BALANCER_UNIT)),
    *(
        NGINX_CONF,
        *PROGRAMS,
        KEYS_CONF,
        LIMITS_CONF,
        BALANCER_CONF,
        STATE_FILTER,
        LOGROTATE,
        ACME_HOOK,
    ),
    *(f"{UNIT_DIR}/{unit}" for unit in (ADDRESS_UNIT, ADDRESS_CHECK_UNIT)),
    *(KEEPALIVED_CONF, ADDRESS_SCRIPT),
)


def is_cared_for(plan: HostPlan, path: str) -> bool:
    """Whether a file is compared by another step than that of the slices. The gateway's of a host that
    has none any more are not: they go."""
    if plan.hop is None:
        return False
    return path in OF_HOP or (plan.hop.is_gateway and path in OF_GATEWAY)
