"""Two gateways with one address, as a deploy makes them: callers notice little when one is gone.

Each gateway is one of two GPU hosts here, so a machine that is lost takes a slice with it.
"""

import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, Fleet

pytestmark = pytest.mark.lab
NAMES = ("two1", "two2")
SHARED = "10.77.0.247"
MODEL = "qwen3:0.6b"
PER_S = 15
# Seconds without any answer at the address, at most, and without a single failure afterwards.
AWAY_S, QUIET_S = 6.0, 8.0


@dataclass
class Callers:
    """Somebody asks so many times a second, whatever became of those before."""

    key: str
    trust: ssl.SSLContext
    done: list[tuple[float, float, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Until it is over; every request is a connection of its own."""
        with ThreadPoolExecutor(max_workers=200) as pool:
            while not self.over.wait(1 / PER_S):
                pool.submit(self._one)

    def _one(self) -> None:
        began = time.monotonic()
        how = self._ask()
        self.done.append((began, time.monotonic(), how))

    def _ask(self) -> str:
        asked = {"model": MODEL, "prompt": "hi", "stream": False, "options": {"num_predict": 4}}
        try:
            answer = httpx.post(
                f"https://{SHARED}/api/generate",
                json=asked,
                headers={"Authorization": f"Bearer {self.key}"},
                verify=self.trust,
                timeout=httpx.Timeout(10, connect=5),
                trust_env=False,
            )
        except httpx.HTTPError as error:
            return type(error).__name__
        return "well" if answer.status_code == 200 else str(answer.status_code)

    def lost(self, moment: float) -> int:
        """Requests that have failed since then."""
        return sum(how != "well" for _, ended, how in list(self.done) if ended > moment)

    def lost_of_new(self, moment: float) -> int:
        """Requests that began since then and failed."""
        return sum(how != "well" for began, _, how in list(self.done) if began > moment)

    def away_s(self, moment: float) -> float:
        """The longest time since then in which nobody got an answer."""
        well = sorted(ended for _, ended, how in list(self.done) if how == "well")
        return max(b - a for a, b in pairwise([moment, *(at for at in well if at > moment)]))


@pytest.fixture(scope="module")
def two(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fleet, str]]:
    """The fleet, deployed, and a key."""
    fleet = Fleet(tmp_path_factory.mktemp("two"), lab)
    for name in NAMES:
        bare(lab, name, "1x-rtx3060")
        chat = {"name": "chat", "gpus": [0], "models": [MODEL], "context": 2048, "parallel": 4}
        fleet.add(name, chat)
    fleet.settings = {
        "gateway": {"names": ["llm.test"], "virtual_address": {"address": f"{SHARED}/24"}},
        "gateways": {name: {"host": name} for name in NAMES},
    }
    key = verb(fleet, "key", "add", "test.yml", "ci", "--no-deploy").strip()
    run = fleet.deploy()
    assert run.code == 0, run.text
    yield fleet, key
    for name in NAMES:
        lab.remove(name)


def verb(fleet: Fleet, *words: str) -> str:
    """What `fleet` prints, beside the inventory."""
    assert fleet.inventory.exists()
    done = subprocess.run(
        [str(BIN / "fleet"), *words], cwd=fleet.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def callers(two: tuple[Fleet, str]) -> Iterator[Callers]:
    """They call all the time, and are answered at the beginning."""
    fleet, key = two
    trust = ssl.create_default_context(cadata=verb(fleet, "ca", "export", "test.yml"))
    made = Callers(key, trust)
    thread = threading.Thread(target=made.run)
    thread.start()
    until = time.monotonic() + 30
    while sum(how == "well" for _, _, how in made.done) < 20:
        assert time.monotonic() < until, made.done[-5:]
        time.sleep(0.2)
    yield made
    made.over.set()
    thread.join()


def holder(fleet: Fleet) -> str:
    (having,) = [name for name in NAMES if f" {SHARED}/" in fleet.sh(name, "ip -br address")]
    return having


BOTH_WELL = """cat >/tmp/well <<'EOF'
[ "$(cat /run/ollama-address/gateway)" = 0 ] &&
    echo 'show stat' | socat - UNIX-CONNECT:/run/ollama-gateway/admin.sock |
    awk -F, '$1 == "slices" && $2 != "BACKEND" && $18 ~ /^UP/ { n++ } END { exit n < 2 }'
EOF
timeout 60 sh -c 'until sh /tmp/well; do sleep 0.5; done'"""


def wait_for_both(fleet: Fleet) -> None:
    """Both gateways answer, and see both slices."""
    for name in NAMES:
        fleet.sh(name, BOTH_WELL)


def test_a_second_deploy_changes_nothing_and_one_has_the_address(two: tuple[Fleet, str]) -> None:
    fleet, _ = two
    assert fleet.deploy().changed() == {}
    assert holder(fleet) in NAMES


@pytest.mark.parametrize(
    ("what", "fault", "repair"),
    [
        ("reloaded", "systemctl reload ollama-gateway ollama-balancer ollama-address", "true"),
        (
            "nginx killed for good",
            "systemctl kill -s KILL ollama-gateway; systemctl stop ollama-gateway",
            "systemctl start ollama-gateway",
        ),
        (
            "balancer killed for good",
            "systemctl kill -s KILL ollama-balancer; systemctl stop ollama-balancer",
            "systemctl start ollama-balancer",
        ),
        ("nginx killed once", "systemctl kill -s KILL ollama-gateway", "true"),
        (
            "nginx hangs",
            "systemctl kill -s STOP ollama-gateway",
            "systemctl kill -s CONT ollama-gateway",
        ),
        ("address given up", "systemctl stop ollama-address", "systemctl start ollama-address"),
    ],
)
def test_callers_are_served_again_when_a_gateway_is(
    two: tuple[Fleet, str], callers: Callers, what: str, fault: str, repair: str
) -> None:
    fleet, _ = two
    wait_for_both(fleet)
    having = holder(fleet)
    began = time.monotonic()
    fleet.sh(having, fault)
    time.sleep(AWAY_S)
    calm = time.monotonic()
    time.sleep(QUIET_S)
    lost, away_s = callers.lost(began), callers.away_s(began)
    print(f"{what}: {lost} requests lost of {PER_S} a second, no answer for {away_s:.1f} s")
    fleet.sh(having, repair)
    assert away_s < AWAY_S and callers.lost_of_new(calm) == 0
    if what == "reloaded":
        assert lost == 0


def test_callers_are_served_again_when_a_machine_is_cut_off(
    two: tuple[Fleet, str], callers: Callers
) -> None:
    fleet, _ = two
    wait_for_both(fleet)
    having = holder(fleet)
    began = time.monotonic()
    fleet.lab.fault(having, "network-cut")
    time.sleep(15)
    lost, away_s = callers.lost(began), callers.away_s(began)
    fleet.lab.clear(having, "network-cut")
    print(
        f"machine cut off: {lost} requests lost of {PER_S} a second, no answer for {away_s:.1f} s"
    )
    assert away_s < AWAY_S and callers.lost_of_new(began + AWAY_S) == 0
