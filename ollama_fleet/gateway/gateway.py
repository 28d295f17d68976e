"""The gateway's own machine: nginx in front, the balancer behind it."""

from ollama_fleet.gateway import places
from ollama_fleet.gateway.address import address_services
from ollama_fleet.gateway.balancer import balancer_digest, balancer_file
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.nginx import nginx_digest, nginx_files, ports
from ollama_fleet.gateway.packages import HAPROXY, NGINX
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render

# Requests that run when it stops may end.
STOP_S = 60


def gateway_services(plan: GatewayPlan, machine: Machine) -> list[Service]:
    """The balancer, then nginx, which needs it; then the address that they share with others."""
    return [_balancer(plan), _nginx(plan, machine), *address_services(plan)]


def common_files() -> list[HostFile]:
    """Files that no service waits for."""
    text = render("gateway/logrotate.j2", marker=MARKER, user=places.USER, log_dir=places.LOG_DIR)
    return [HostFile(places.LOGROTATE, text)]


def _balancer(plan: GatewayPlan) -> Service:
    unit = render(
        "gateway/ollama-balancer.service.j2",
        marker=MARKER,
        user=places.USER,
        haproxy=HAPROXY,
        configuration=places.BALANCER_CONF,
        run_dir=places.RUN_DIR,
        admin=places.ADMIN_SOCKET,
        state=f"{places.RUN_DIR}/servers.state",
        filter=places.STATE_FILTER,
        stop_s=STOP_S,
    )
    return Service(
        places.BALANCER_UNIT,
        configuration=(balancer_file(plan),),
        others=(HostFile(f"{UNIT_DIR}/{places.BALANCER_UNIT}", unit), _state_filter()),
        digest=balancer_digest(plan),
        asks=f"echo 'show info' | socat - UNIX-CONNECT:{places.ADMIN_SOCKET} 2>/dev/null | "
        "sed -n 's/^description: //p'",
        test=f"{HAPROXY} -c -q -f {places.BALANCER_CONF}",
    )


def _state_filter() -> HostFile:
    text = render("gateway/servers-state.awk.j2", marker=MARKER)
    return HostFile(places.STATE_FILTER, text)


def _nginx(plan: GatewayPlan, machine: Machine) -> Service:
    unit = render(
        "gateway/ollama-gateway.service.j2",
        marker=MARKER,
        user=places.USER,
        balancer=places.BALANCER_UNIT,
        nginx=NGINX,
        configuration=places.NGINX_CONF,
        socket=places.STATUS_SOCKET,
        capabilities="CAP_NET_BIND_SERVICE" if min(ports(plan)) < 1024 else "",
        stop_s=STOP_S,
    )
    return Service(
        places.GATEWAY_UNIT,
        configuration=tuple(nginx_files(plan, machine)),
        others=(HostFile(f"{UNIT_DIR}/{places.GATEWAY_UNIT}", unit),),
        digest=nginx_digest(plan, machine),
        asks=f"curl --noproxy '*' -fsS --max-time 5 --unix-socket {places.STATUS_SOCKET} "
        f"http://localhost{places.STATUS_PATH}",
    )
