"""What breaks behind a gateway is avoided, and comes back when it works: a slice that dies, hangs, loses its
GPU, a host that is cut off. Two hosts; the first has the gateway."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.drifted import found, words
from tests.lab.fleet import Fleet
from tests.lab.top_view import alarms, live, look, machine, programs

ONE, TWO = "gf1", "gf2"
MODEL = "qwen3:0.6b"
# Impatient, so that a test need not wait: a hang is noticed after 4 s instead of 30.
HEALTH = {"every_s": 2, "timeout_s": 4, "busy_timeout_s": 8}
NOTICED_S = 60
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
    made.settings = {
        "gateway": gateway,
        "gateways": {"gw1": {"host": ONE}},
        "health": HEALTH,
        # What is broken here is to stay so until somebody looks; test_watchdog has it repaired.
        "watchdog": {"enabled": False},
    }
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
    # At once, for the balancer closes what is idle after a second.
    look = f"ss -tnoH state established dst {fleet.lab.address(TWO)}"
    kept = fleet.sh(ONE, f"for i in $(seq 8); do {ASK} & done; wait; echo; {look}")
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


def test_top_shows_what_the_hosts_themselves_say(fleet: Fleet) -> None:
    """Each figure against who knows it: nvidia-smi, Ollama, the gateway's log."""
    assert all_answer(fleet)
    code, found = look(fleet)
    assert code == 0 and found["reached"], found
    fields = "memory.total,memory.used,temperature.gpu,power.limit"
    for host in (ONE, TWO):
        seen = machine(found, host)
        said = fleet.sh(host, f"nvidia-smi --query-gpu={fields} --format=csv,noheader,nounits")
        rows = [[float(cell) for cell in line.split(",")] for line in said.splitlines()]
        keys = ("memory_mib", "used_mib", "temperature_c", "power_limit_w")
        assert [[gpu[key] for key in keys] for gpu in seen["gpus"]] == rows
        for item, port in zip(seen["slices"], (11434, 11435), strict=True):
            ps = json.loads(fleet.sh(host, f"curl -fs 127.0.0.1:{port}/api/ps"))["models"]
            assert [one["name"] for one in item["models"]] == [one["name"] for one in ps] == [MODEL]
            assert item["models"][0]["vram_mib"] == ps[0]["size_vram"] // 1024**2
            assert (item["port"], item["state"], item["serves"]) == (port, "active", True)
        # What failed in the test before is of the last minute, too.
        assert alarms(found, host) - {("gateway gw1", "slices")} == set()
        assert seen["cost"]["frame_s"] > 0 and seen["cost"]["cpu_percent"] <= 1.0
    (pool,) = machine(found, ONE)["pools"]
    assert (pool["model"], pool["up"], pool["slices"], pool["waiting"]) == (MODEL, 4, 4, 0)
    slices = [item for one in found["machines"] for item in one["slices"]]
    by_slice = sum(item["tokens_per_s"] for item in slices)
    assert pool["tokens_per_s"] >= 8 * 5 / 60 and abs(pool["tokens_per_s"] - by_slice) < 0.01


def test_top_alarms_tell_what_breaks_and_fall_silent_when_it_is_mended(fleet: Fleet) -> None:
    fleet.lab.fault(TWO, "gpu-lost", gpu=1)
    fleet.lab.fault(ONE, "gpu-throttled", gpu=0)
    fleet.sh(ONE, "systemctl stop ollama-b")
    try:
        code, found = look(fleet)
        one, two = machine(found, ONE), machine(found, TWO)
        assert code == 0 and two["gpus"][1]["lost"] and two["gpus"][1]["used_mib"] is None
        lost = two["gpus"][1]["address"]
        assert (f"gpu {lost}", "gpu health") in alarms(found, TWO)
        slowed = one["gpus"][0]["address"]
        assert {("b", "unit"), (f"gpu {slowed}", "throttling")} <= alarms(found, ONE)
        assert one["slices"][1]["models"] is None and one["slices"][1]["listens"] is False
    finally:
        fleet.lab.clear(ONE, "gpu-throttled")
        fleet.lab.clear(TWO, "gpu-lost")
        fleet.sh(TWO, "systemctl restart ollama.target")
        fleet.sh(ONE, "systemctl start ollama-b")
    until(lambda: not down(fleet))
    code, found = look(fleet, "--host", TWO)
    assert code == 0 and [one["name"] for one in found["machines"]] == [TWO]
    assert not {check for _, check in alarms(found, TWO)} & {"gpu health", "unit", "inference"}


def test_top_leaves_nothing_on_hosts_when_it_is_killed(fleet: Fleet) -> None:
    with live(fleet) as view:
        until(lambda: all(programs(fleet, host) for host in (ONE, TWO)))
        view.kill()
        until(lambda: not any(programs(fleet, host) for host in (ONE, TWO)), 30)


def test_what_somebody_changed_on_a_gateway_is_told_and_mended(fleet: Fleet) -> None:
    units, folder = "/etc/systemd/system", "/etc/ollama/gateway"
    drop_in = f"{units}/ollama-gateway.service.d/mine.conf"
    assert found(fleet) == {}
    fleet.sh(
        ONE,
        f"""echo '# mine' >>{folder}/balancer.cfg
echo '# mine' >>/etc/ollama/hop/nginx.conf
chown ollama-gateway {folder}/fleet.js
mkdir -p {units}/ollama-gateway.service.d
printf '[Service]\\nNice=3\\n' >{drop_in}
touch {units}/ollama-hop.service
systemctl daemon-reload""",
    )
    assert words(found(fleet)) == {
        ("host", "files"): "/etc/ollama/hop/nginx.conf was edited",
        ("host", "in force"): (
            f"ollama-hop.service was started before {units}/ollama-hop.service was changed"
        ),
        ("gateway gw1", "files"): (
            f"{folder}/balancer.cfg was edited; {folder}/fleet.js has mode 644, owner "
            "ollama-gateway, not mode 644, owner root"
        ),
        ("gateway gw1", "drop-ins"): drop_in,
    }
    fleet.sh(ONE, f"rm {drop_in}; systemctl daemon-reload")
    fleet.sh(ONE, "systemctl restart ollama-gateway.service ollama-hop.service")
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert found(fleet) == {}


def test_what_the_watchdog_takes_out_of_service_is_avoided_until_it_serves_again(
    fleet: Fleet,
) -> None:
    """The last one: slices change nothing by it, and a deploy brings back what it has stopped."""
    fleet.settings |= {
        "watchdog": {"repairs_per_hour": 1, "load_timeout_s": 4, "most_load": 10_000}
    }
    before = fleet.pids(TWO, "a", "b")
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert fleet.pids(TWO, "a", "b") == before
    fleet.lab.fault(TWO, "ollama-hung", slice="a")
    until(lambda: fleet.sh(TWO, "ls /var/lib/ollama/watchdog").count("a.quarantined") == 1, 90)
    until(lambda: down(fleet) == {f"{TWO}.a"})
    assert all_answer(fleet)
    # Whoever starts it is not enough: it has to answer.
    fleet.sh(TWO, "systemctl start ollama-a && sleep 6")
    assert down(fleet) == {f"{TWO}.a"}
    fleet.lab.clear(TWO, "ollama-hung")
    run = fleet.deploy()
    assert run.code == 0, run.text
    until(lambda: not down(fleet))
    assert "a.quarantined" not in fleet.sh(TWO, "ls /var/lib/ollama/watchdog")
