"""Two gateways with one address: real keepalived on lab hosts, and a client that asks all the time.

A plain nginx stands for the gateway on each of them, and on its balancer's socket: it says who it is.
"""

import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from lab.lab import Lab
from ollama_fleet.gateway.address import address_services
from ollama_fleet.gateway.places import ADDRESS_UNIT as UNIT
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.services.service import files_of
from tests.lab.conftest import bare
from tests.unit.gateways import gateways

pytestmark = pytest.mark.lab
NAMES = ("adr1", "adr2")
SHARED = "10.77.0.249"
# Seconds after which the other gateway has to have it, and that a hung one may take longer: it is given
# a second to answer, twice.
LOST_S, HUNG_S = 4.0, 6.0


@dataclass
class Client:
    """Asks the shared address all the time, and remembers who answered when."""

    answers: list[tuple[float, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until it is over."""
        while not self.over.is_set():
            if answer := _ask():
                self.answers.append((time.monotonic(), answer))
            time.sleep(0.02)

    def until_it_is(self, name: str, since: float, within_s: float) -> float:
        """Seconds from the last answer of another to the first of `name`."""
        while time.monotonic() - since < within_s:
            later = [at for at, who in self.answers if who == name and at > since]
            if later:
                before = [at for at, who in self.answers if who != name and at < later[0]]
                return later[0] - max(before)
            time.sleep(0.05)
        raise AssertionError(f"{name} does not have it after {within_s} s: {self.answers[-3:]}")


def _ask() -> str | None:
    try:
        with socket.create_connection((SHARED, 80), timeout=0.3) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    except OSError:
        return None
    return text.rpartition("\r\n\r\n")[2].strip() or None


@pytest.fixture(scope="module")
def two(lab: Lab) -> Iterator[Lab]:
    """Two machines that share an address; the first has it."""
    for name in NAMES:
        bare(lab, name, "no-gpu")
    plans = gateways(
        {name: {"address": lab.address(name)} for name in NAMES},
        port=80,
        tls={"source": "none"},
        plain_http=True,
        virtual_address={"address": f"{SHARED}/24"},
    )
    for name in NAMES:
        sh(lab, name, _STAND_IN)
        sh(lab, name, _installed(plans[name]))
        _wait(lambda: _holder(lab) is not None, 15)
    yield lab
    for name in NAMES:
        lab.remove(name)


@pytest.fixture
def client(two: Lab) -> Iterator[Client]:
    """Somebody who asks while things happen; both gateways answer at the beginning."""
    for name in NAMES:
        _wait(lambda name=name: sh(two, name, "cat /run/ollama-address/gateway") == "0", 15)
    made = Client()
    thread = threading.Thread(target=made.run)
    thread.start()
    _wait(lambda: len(made.answers) > 5, 10)
    yield made
    made.over.set()
    thread.join()


def sh(lab: Lab, host: str, command: str) -> str:
    done = lab.ssh(host, command)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return str(done.stdout).strip()


def _installed(plan: GatewayPlan) -> str:
    """Shell that brings the address into force as the deploy does."""
    services = address_services(plan)
    puts = [
        f"mkdir -p {file.path.rpartition('/')[0]}; printf %s {shlex.quote(file.text)} >{file.path}; "
        f"chmod {file.mode} {file.path}"
        for file in files_of(services)
    ]
    units = " ".join(service.unit for service in services)
    return "\n".join(
        ["set -e", *puts, "systemctl daemon-reload", f"systemctl enable -q --now {units}"]
    )


_STAND_IN = """set -e
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y --no-install-recommends install nginx curl iproute2 keepalived >/dev/null 2>&1
useradd -r -s /usr/sbin/nologin ollama-gateway
rm -f /etc/nginx/sites-enabled/default
cat >/etc/nginx/conf.d/gateway.conf <<'EOF'
access_log off;
server {
    listen 80 default_server;
    listen unix:/run/ollama-gateway/status.sock;
    return 200 "$hostname";
}
server { listen unix:/run/ollama-gateway/pools.sock; return 503; }
EOF
mkdir -p /etc/systemd/system/nginx.service.d
cat >/etc/systemd/system/nginx.service.d/stand-in.conf <<'EOF'
[Service]
RuntimeDirectory=ollama-gateway
RuntimeDirectoryMode=0755
EOF
systemctl daemon-reload
systemctl restart nginx
"""


def _holder(lab: Lab) -> str | None:
    """Who has the address; never both."""
    having = [name for name in NAMES if SHARED in sh(lab, name, "ip -br address")]
    assert len(having) < 2, "both have it"
    return having[0] if having else None


def _both(lab: Lab) -> tuple[str, str]:
    """Who has the address, and who has not."""
    holder = _holder(lab)
    assert holder is not None
    return holder, next(name for name in NAMES if name != holder)


def _wait(good: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not good():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.2)


def test_units_are_hardened_and_nothing_runs_as_root(two: Lab) -> None:
    for name in NAMES:
        rated = sh(two, name, f"systemd-analyze security --no-pager {UNIT} | tail -n 1")
        assert float(rated.rpartition(": ")[2].split()[0]) <= 2.0, rated
        users = sh(two, name, "ps -o user:20= -p $(pgrep -d, -x keepalived)").split()
        assert set(users) == {"ollama-gateway"}
        assert sh(two, name, "systemctl is-active keepalived; true") == "inactive"


@pytest.mark.parametrize(
    ("fault", "repair", "within_s"),
    [
        ("systemctl kill -s KILL nginx", "systemctl restart nginx", LOST_S),
        ("pkill -STOP -x nginx", "pkill -CONT -x nginx", HUNG_S),
        ("rm /run/ollama-gateway/pools.sock", "systemctl restart nginx", LOST_S),
        (f"systemctl stop {UNIT}", f"systemctl start {UNIT}", LOST_S),
        (f"systemctl kill -s KILL {UNIT}", "true", LOST_S),
        ("systemctl kill -s KILL ollama-address-check", "true", LOST_S),
    ],
    ids=["killed", "hung", "balancer gone", "stopped", "keepalived killed", "check killed"],
)
def test_the_address_leaves_a_gateway_that_does_not_answer(
    two: Lab, client: Client, fault: str, repair: str, within_s: float
) -> None:
    away_s = _moved(two, client, fault, repair)
    if away_s >= within_s:  # once the machine may be busy with others
        away_s = _moved(two, client, fault, repair)
    print(f"{fault}: nobody answered for {away_s:.1f} s")
    assert away_s < within_s


def _moved(two: Lab, client: Client, fault: str, repair: str) -> float:
    """Seconds without an answer while the address leaves who has it, until the other one answers."""
    holder, other = _both(two)
    began = time.monotonic()
    sh(two, holder, fault)
    away_s = client.until_it_is(other, began, 30)
    # It comes back, and the address stays where it is: nothing that runs is cut a second time.
    sh(two, holder, repair)
    _wait(lambda: sh(two, holder, "cat /run/ollama-address/gateway") == "0", 30)
    time.sleep(3)
    assert _holder(two) == other
    return away_s


def test_the_address_leaves_a_host_whose_network_is_cut(two: Lab, client: Client) -> None:
    away_s = _cut(two, client)
    if away_s >= LOST_S:  # once the machine may be busy with others
        away_s = _cut(two, client)
    print(f"network cut: nobody answered for {away_s:.1f} s")
    assert away_s < LOST_S


def _cut(two: Lab, client: Client) -> float:
    """Seconds without an answer while the network of who has the address is cut."""
    holder, other = _both(two)
    began = time.monotonic()
    two.fault(holder, "network-cut")
    away_s = client.until_it_is(other, began, 30)
    two.clear(holder, "network-cut")
    # Both had it while they did not hear each other; then one of them lets go, and stays reachable.
    _wait(lambda: two.ssh(holder, "true").returncode == 0, 60)
    time.sleep(3)
    assert _holder(two) is not None
    return away_s


def test_a_reload_does_not_move_the_address(two: Lab) -> None:
    holder, _ = _both(two)
    main = sh(two, holder, f"systemctl show -p MainPID --value {UNIT}")
    sh(two, holder, f"systemctl reload {UNIT}; sleep 3")
    assert sh(two, holder, f"systemctl show -p MainPID --value {UNIT}") == main
    assert _holder(two) == holder
