"""What breaks behind a gateway is avoided, and comes back when it works: a slice that dies, hangs, loses its
GPU, a host that is cut off. Two hosts; the first has the gateway."""

import time
from collections.abc import Callable, Iterator

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import Fleet

ONE, TWO = "gf1", "gf2"
MODEL = "qwen3:0.6b"
# Impatient, so that a test need not wait: a hang is noticed after 4 s instead of 30.
HEALTH = {"every_s": 2, "timeout_s": 4, "busy_timeout_s": 8}
NOTICED_S = 25
ASK = (
    "curl -sS --max-time 30 -o /dev/null -w '%{http_code} ' 127.0.0.1:8080/api/generate "
    f"""-d '{{"model":"{MODEL}","prompt":"hi","stream":false,"options":{{"num_predict":5}}}}'"""
)


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    for host in (ONE, TWO):
        slices = [{"name": name, "gpus": [gpu], "models": [MODEL]} for gpu, name in enumerate("ab")]
        made.add(bare(lab, host, "2x-rtx3090"), *slices)
    gateway = {"listen": "127.0.0.1", "port": 8080, "tls": {"source": "none"}, "keys": "none"}
    made.settings = {"gateway": {**gateway, "health": HEALTH}, "gateways": {"gw1": {"host": ONE}}}
    run = made.deploy()
    assert run.code == 0, run.text
    yield made
    for host in (ONE, TWO):
        lab.remove(host)


def states(fleet: Fleet) -> dict[str, str]:
    """Each slice as the balancer sees it."""
    told = fleet.sh(
        ONE,
        "echo show stat | socat - UNIX-CONNECT:/run/ollama-gateway/admin.sock | "
        'awk -F, \'$1 == "slices" && $2 != "BACKEND" { print $2, $18 }\'',
    )
    return dict(line.split(maxsplit=1) for line in told.splitlines())


def down(fleet: Fleet) -> set[str]:
    return {name for name, state in states(fleet).items() if state.startswith("DOWN")}


def until(what: Callable[[], bool], within_s: float = NOTICED_S) -> float:
    """Seconds until it is so."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < within_s, "it never came so"
        time.sleep(0.3)
    return time.monotonic() - started


def all_answer(fleet: Fleet, count: int = 8) -> bool:
    """So many at once, more than the healthy slices serve at a time."""
    asked = fleet.sh(ONE, f"for i in $(seq {count}); do {ASK} & done; wait")
    return asked.split() == ["200"] * count


def avoided_and_back(
    fleet: Fleet, who: set[str], repair: Callable[[], object], within_s: float = NOTICED_S
) -> None:
    """These slices are noticed to be away, all are served by the others, and they come back."""
    until(lambda: down(fleet) == who, within_s)
    assert all_answer(fleet)
    repair()
    until(lambda: not down(fleet))
    assert all_answer(fleet)


def test_a_slice_that_is_killed_or_stopped_is_avoided(fleet: Fleet) -> None:
    """Whoever comes before it is noticed goes to another one: that slice never saw the request."""
    fleet.sh(TWO, "systemctl stop ollama-a")
    assert all_answer(fleet)
    avoided_and_back(fleet, {f"{TWO}.a"}, lambda: fleet.sh(TWO, "systemctl start ollama-a"))
    fleet.sh(TWO, "systemctl kill -s KILL ollama-a")
    until(lambda: all_answer(fleet))
    until(lambda: not down(fleet))


def test_a_slice_whose_gpu_is_lost_is_avoided_though_it_answers(fleet: Fleet) -> None:
    """Ollama goes on with the CPU then, and says that it is well."""
    fleet.lab.fault(TWO, "gpu-lost", gpu=1)
    until(lambda: down(fleet) == {f"{TWO}.b"})
    assert fleet.sh(TWO, "curl -fs 127.0.0.1:11435/api/version") != ""
    assert all_answer(fleet)
    fleet.lab.clear(TWO, "gpu-lost")
    fleet.sh(TWO, "systemctl restart ollama-b")
    until(lambda: not down(fleet))


def test_slices_that_hang_are_avoided_and_what_waits_goes_elsewhere(fleet: Fleet) -> None:
    fleet.lab.fault(TWO, "ollama-hung")
    avoided_and_back(
        fleet, {f"{TWO}.a", f"{TWO}.b"}, lambda: fleet.lab.clear(TWO, "ollama-hung"), 40
    )


def test_a_host_that_is_cut_off_is_avoided(fleet: Fleet) -> None:
    assert all_answer(fleet)
    kept = fleet.sh(ONE, f"ss -tnoH state established dst {fleet.lab.address(TWO)}")
    assert "timer:(keepalive" in kept, "a connection to a dead host would stay for an hour"
    fleet.lab.fault(TWO, "network-cut")
    try:
        until(lambda: down(fleet) == {f"{TWO}.a", f"{TWO}.b"})
        assert all_answer(fleet)
    finally:
        fleet.lab.clear(TWO, "network-cut")
    until(lambda: not down(fleet))


def test_when_nobody_is_left_the_answer_is_to_come_again(fleet: Fleet) -> None:
    for host in (ONE, TWO):
        fleet.sh(host, "systemctl stop ollama-a ollama-b")
    until(lambda: len(down(fleet)) == 4)
    said = fleet.sh(ONE, ASK.replace("-o /dev/null -w '%{http_code} '", "-i"))
    assert " 503 " in said.splitlines()[0]
    assert "retry-after:" in said.lower() and '"error"' in said
    for host in (ONE, TWO):
        fleet.sh(host, "systemctl start ollama-a ollama-b")
    until(lambda: not down(fleet))


def test_a_balancer_or_gateway_that_is_killed_is_there_again(fleet: Fleet) -> None:
    for unit in ("ollama-balancer", "ollama-gateway", "ollama-hop"):
        fleet.sh(ONE, f"systemctl kill -s KILL {unit}")
        until(lambda: all_answer(fleet))
