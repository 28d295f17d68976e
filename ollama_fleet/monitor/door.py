"""The way by which people and Grafana reach Prometheus from elsewhere: nginx with TLS and passwords.

Prometheus itself knows one password file and no way to ask it without one; so it stays on loopback, where
the machine's own checks ask it.
"""

import hashlib

from ollama_fleet.gateway.packages import NGINX
from ollama_fleet.monitor import places
from ollama_fleet.monitor.prometheus import CURL, own_address
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services.service import Service
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile, render

SOCKET = f"{places.DOOR_RUN_DIR}/door.sock"
STATUS_PATH = "/fleet/configuration"
LEFT = "monitor.door-left"
UNIT_FILE = f"{UNIT_DIR}/{places.DOOR_UNIT}"
_FILES = f"{UNIT_FILE} {places.DOOR_CONF} {places.DOOR_USERS} {places.TLS}/server.pem {places.TLS}/server.key"


def door_services(plan: MonitorPlan) -> list[Service]:
    """The nginx before Prometheus; none where only the machine itself looks."""
    if plan.is_loopback:
        return []
    digest = _digest(plan)
    unit = render(
        "monitor/ollama-monitor-door.service.j2",
        marker=MARKER,
        user=places.USER,
        nginx=NGINX,
        configuration=places.DOOR_CONF,
        socket=SOCKET,
        run_dir=places.DOOR_RUN_DIR.removeprefix("/run/"),
    )
    return [
        Service(
            places.DOOR_UNIT,
            configuration=(
                HostFile(places.DOOR_USERS, _users(plan), mode="0640"),
                HostFile(places.DOOR_CONF, _configuration(plan, digest)),
            ),
            others=(HostFile(UNIT_FILE, unit),),
            digest=digest,
            asks=f"{CURL} -f --unix-socket {SOCKET} http://localhost{STATUS_PATH}",
        )
    ]


def questions(plan: MonitorPlan) -> dict[str, str]:
    """Whether there is one that should not be."""
    if not plan.is_loopback:
        return {}
    return {LEFT: f"[ ! -e {UNIT_FILE} ] && [ ! -e {places.DOOR_USERS} ]"}


def leftover_steps(answers: Answers) -> list[str]:
    """What takes it away; empty where there is none."""
    if LEFT not in answers or answers[LEFT].code == 0:
        return []
    return [
        f"say 'removing {places.DOOR_UNIT}'",
        f"systemctl disable -q --now {places.DOOR_UNIT} 2>/dev/null || :",
        f"rm -f {_FILES}",
        "systemctl daemon-reload",
    ]


def _digest(plan: MonitorPlan) -> str:
    return hashlib.sha256(f"{_configuration(plan, '')}{_users(plan)}".encode()).hexdigest()


def _users(plan: MonitorPlan) -> str:
    """Names and hashes, in the form that nginx reads."""
    lines = [f"{name}:{hashed}\n" for name, hashed in sorted(plan.users.items())]
    return f"# {MARKER}; changes here are undone by the next deploy.\n{''.join(lines)}"


def _configuration(plan: MonitorPlan, digest: str) -> str:
    listen = f"[{plan.listen}]" if ":" in plan.listen else plan.listen
    return render(
        "monitor/door.nginx.j2",
        marker=MARKER,
        run_dir=places.DOOR_RUN_DIR,
        socket=SOCKET,
        listen=f"{listen}:{plan.port}",
        tls=places.TLS,
        users=places.DOOR_USERS,
        prometheus=own_address(plan),
        status_path=STATUS_PATH,
        digest=digest,
    )
