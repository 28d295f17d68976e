"""Slices that do not serve are repaired, rung by rung, and no others are touched: proved on one host, with
the driver's and Ollama's faults of the lab, each of which a certain rung ends."""

import time
from collections.abc import Callable, Iterator

import pytest

from lab.lab import Lab
from tests.lab import asking
from tests.lab.conftest import bare
from tests.lab.fleet import Fleet

HOST = "wdog1"
MODEL = "qwen3:0.6b"
# Impatient, so that a test need not wait. The machine of the lab may be busy with others.
HEALTH = {"every_s": 1, "timeout_s": 8, "busy_timeout_s": 60}
WATCHDOG = {"repairs_per_hour": 60, "load_timeout_s": 12, "most_load": 10_000}
STATE, LOOKS = "/var/lib/ollama/watchdog", "/run/ollama-health"
ASK = (
    "curl -sS --max-time 60 127.0.0.1:{port}/api/generate -d "
    """'{{"model":"qwen3:0.6b","prompt":"hi","stream":false,"options":{{"num_predict":{tokens}}}}}'"""
)


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    made = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    slices = [{"name": name, "gpus": [gpu], "models": [MODEL]} for gpu, name in enumerate("ab")]
    made.add(bare(lab, HOST, "2x-rtx3090"), *slices)
    made.settings = {"health": HEALTH, "watchdog": WATCHDOG}
    run = made.deploy()
    assert run.code == 0, run.text
    yield made
    lab.remove(HOST)


@pytest.fixture(autouse=True)
def _clean(fleet: Fleet) -> Iterator[None]:
    """Each test begins with a whole budget and two slices that serve."""
    until(lambda: looks(fleet) == {"a": "well", "b": "well"}, 120)
    fleet.sh(HOST, f"rm -f {STATE}/repairs")
    yield
    for fault in ("gpu-lost", "gpu-reset-refused"):
        fleet.lab.clear(HOST, fault)
    for fault in ("ollama-crashed", "ollama-hung", "ollama-on-cpu", "ollama-slow"):
        fleet.lab.clear(HOST, fault)


def until(what: Callable[[], bool], within_s: float = 120) -> float:
    """Seconds until it is so."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < within_s, "it never came so"
        time.sleep(0.3)
    return time.monotonic() - started


def looks(fleet: Fleet) -> dict[str, str]:
    """What the prober says of each slice."""
    told = fleet.sh(HOST, f"cd {LOOKS} && grep -H . *.look | sed 's/.look:/ /'")
    return {line.split()[0]: line.split()[1] for line in told.splitlines()}


def rungs(fleet: Fleet, name: str) -> list[str]:
    told = fleet.sh(HOST, f"cat {STATE}/repairs 2>/dev/null || true")
    return [line.split()[2] for line in told.splitlines() if line.split()[1] == name]


def marks(fleet: Fleet) -> str:
    return fleet.sh(HOST, f"cat {STATE}/*.quarantined 2>/dev/null || true")


def is_well(fleet: Fleet, name: str, than: int) -> bool:
    """Whether it has given a token from its GPU in a look that began after that Unix time."""
    state, began, *_ = fleet.sh(HOST, f"cat {LOOKS}/{name}.look").split()
    return state == "well" and int(began) > than


# Fault, the trouble that the watchdog sees in it, and the rungs that it takes.
HUNG, CPU, LOST = "no token within", f"{MODEL} is not on the GPU", "GPU 0000:17:00.0 is lost"
ERROR = "llama-server process has terminated"
REPAIRED = [
    ("ollama-hung", {"slice": "a", "until": "unload"}, HUNG, ["unload"]),
    ("ollama-hung", {"slice": "a", "until": "restart"}, HUNG, ["unload", "restart"]),
    ("ollama-hung", {"slice": "a", "until": "reset"}, HUNG, ["unload", "restart", "reset"]),
    ("ollama-crashed", {"slice": "a", "until": "restart"}, ERROR, ["unload", "restart"]),
    ("ollama-on-cpu", {"slice": "a"}, CPU, ["restart"]),
    ("ollama-on-cpu", {"slice": "a", "until": "reset"}, CPU, ["restart", "reset"]),
    ("gpu-lost", {"gpu": 0, "until": "reset"}, LOST, ["reset"]),
]


@pytest.mark.parametrize(
    ("fault", "given", "trouble", "climbs"),
    REPAIRED,
    ids=[f"{row[0]}-{row[3][-1]}" for row in REPAIRED],
)
def test_a_slice_is_repaired_by_the_first_rung_that_helps(
    fleet: Fleet,
    fault: str,
    given: dict,
    trouble: str,
    climbs: list[str],
    record_property: Callable,
) -> None:
    before, began = fleet.pids(HOST, "b"), int(fleet.sh(HOST, "date +%s"))
    fleet.lab.fault(HOST, fault, **given)
    try:
        seconds = until(lambda: rungs(fleet, "a") == climbs and is_well(fleet, "a", began + 1), 240)
    except AssertionError:
        told = f"journalctl -q --since @{began} -u ollama-watchdog -u ollama-health -u 'ollama-*a'"
        raise AssertionError(fleet.sh(HOST, f"{told}; head {LOOKS}/a.*")) from None
    record_property("repaired_after_s", round(seconds, 1))
    time.sleep(3)
    assert rungs(fleet, "a") == climbs and rungs(fleet, "b") == []
    assert fleet.pids(HOST, "b") == before
    assert marks(fleet) == ""
    said = f"journalctl -q -o cat --since @{began} OLLAMA_SLICE=a OLLAMA_RUNG={climbs[0]}"
    assert trouble in fleet.sh(HOST, said)
    assert '"done":true' in fleet.sh(HOST, ASK.format(port=11434, tokens=2))


def test_what_cannot_be_repaired_is_quarantined_told_and_back_when_it_is_mended(
    fleet: Fleet,
) -> None:
    before = fleet.pids(HOST, "b")
    fleet.lab.fault(HOST, "gpu-reset-refused")
    fleet.lab.fault(HOST, "gpu-lost", gpu=0, until="reset")
    until(lambda: "reset did not help" in marks(fleet))
    until(lambda: fleet.sh(HOST, "systemctl is-active ollama-a || true") == "inactive")
    assert rungs(fleet, "a") == ["reset", "quarantine"] and fleet.pids(HOST, "b") == before
    told = fleet.sh(HOST, "journalctl -q -o cat -p err OLLAMA_SLICE=a OLLAMA_RUNG=quarantine")
    assert "a: out of service: GPU 0000:17:00.0 is lost: reboot the host" in told
    fleet.lab.clear(HOST, "gpu-lost")
    run = fleet.deploy()
    assert run.code == 0, run.text
    until(lambda: marks(fleet) == "")
    assert fleet.deploy().changed() == {}


@pytest.mark.breaks("quarantine")
def test_a_slice_that_fails_again_and_again_is_quarantined_when_the_budget_is_used_up(
    fleet: Fleet,
) -> None:
    """Also when the watchdog itself is started anew in between."""
    used = 'for i in $(seq 60); do echo "$(date +%s) a restart"; done'
    fleet.sh(HOST, f"{{ {used}; }} >{STATE}/repairs; systemctl restart ollama-watchdog")
    pid = fleet.pids(HOST, "a")
    fleet.lab.fault(HOST, "ollama-hung", slice="a", until="unload")
    until(lambda: "the budget of 60 repairs in an hour is used up" in marks(fleet))
    assert rungs(fleet, "a")[59:] == ["restart", "quarantine"] and pid["a"] != "0"
    # A deploy shows it as what it is; then somebody starts it, and its own answer is the proof.
    until(lambda: fleet.sh(HOST, "systemctl is-active ollama-a || true") == "inactive")
    found = asking.of_host(fleet, HOST)["a", "quarantine"]
    assert found.failed and "the budget of 60 repairs in an hour is used up" in found.found
    fleet.sh(HOST, "systemctl start ollama-a")
    until(lambda: marks(fleet) == "")


@pytest.mark.breaks("ollama-watchdog")
def test_a_watchdog_that_would_not_be_there_after_a_boot_is_told(fleet: Fleet) -> None:
    fleet.sh(HOST, "systemctl disable -q ollama-watchdog")
    found = asking.of_host(fleet, HOST)
    fleet.sh(HOST, "systemctl enable -q ollama-watchdog")
    assert found["host", "ollama-watchdog"].found == "active, disabled"
    assert ("host", "ollama-watchdog") not in asking.of_host(fleet, HOST)


def test_a_slice_that_is_only_slow_is_never_touched(fleet: Fleet) -> None:
    before, began = fleet.pids(HOST, "a", "b"), int(fleet.sh(HOST, "date +%s"))
    fleet.lab.fault(HOST, "ollama-slow", tokens_per_s=1.0)
    # Longer than an idle slice may take, for the prober waits behind it.
    told = fleet.sh(HOST, ASK.format(port=11434, tokens=10))
    assert '"done":true' in told
    # The look that waited behind it is over, and has found nothing.
    ended = int(fleet.sh(HOST, "date +%s"))
    until(lambda: is_well(fleet, "a", ended))
    said = fleet.sh(HOST, f"journalctl -q -o cat -u ollama-health --since @{began}")
    assert "does not serve" not in said
    assert rungs(fleet, "a") == rungs(fleet, "b") == []
    assert fleet.pids(HOST, "a", "b") == before


def test_while_a_deploy_has_the_host_or_a_slice_is_drained_nothing_is_done(fleet: Fleet) -> None:
    fleet.sh(
        HOST,
        "mkdir -p /var/lib/ollama/drained && echo since >/var/lib/ollama/drained/a; "
        # As a deploy's claim: a process that lives, and when it began.
        "sleep 600 >/dev/null 2>&1 & p=$!; cp /run/ollama-fleet/owner /run/owner-before; "
        "echo carrier $p $(cut -d ' ' -f 22 /proc/$p/stat) >/run/ollama-fleet/owner; echo $p >/run/carrier",
    )
    fleet.lab.fault(HOST, "ollama-hung", until="unload")
    until(lambda: looks(fleet) == {"a": "drained", "b": "down"})
    time.sleep(5)
    assert rungs(fleet, "a") == rungs(fleet, "b") == []
    fleet.sh(HOST, "kill $(cat /run/carrier); mv /run/owner-before /run/ollama-fleet/owner")
    until(lambda: rungs(fleet, "b") == ["unload"])
    assert rungs(fleet, "a") == []
    fleet.sh(HOST, "rm -r /var/lib/ollama/drained")


def test_a_driver_that_hangs_is_an_alarm_and_nothing_is_stopped(fleet: Fleet) -> None:
    """Whatever is stopped then may never end, and never start again."""
    before = fleet.pids(HOST, "a")
    smi = fleet.sh(HOST, "command -v nvidia-smi")
    fleet.sh(
        HOST,
        f"mv {smi} {smi}.kept && printf '#!/bin/sh\\nexec sleep 1000\\n' >{smi} && chmod +x {smi}",
    )
    try:
        fleet.lab.fault(HOST, "ollama-hung", slice="a", until="unload")
        told = "journalctl -q -o cat -p err OLLAMA_SLICE=a OLLAMA_RUNG=alarm"
        until(lambda: "nvidia-smi does not answer within 20 s" in fleet.sh(HOST, told))
        assert rungs(fleet, "a") == [] and fleet.pids(HOST, "a") == before
    finally:
        fleet.sh(HOST, f"mv {smi}.kept {smi}; kill $(cat /run/ollama-watchdog/smi.pid) || true")
    until(lambda: rungs(fleet, "a") == ["unload"])


def test_a_host_without_a_watchdog_has_nothing_of_it(fleet: Fleet) -> None:
    """The last one: slices are watched on, and repaired by nobody."""
    fleet.settings = {"health": HEALTH, "watchdog": {"enabled": False}}
    before = fleet.pids(HOST, "a", "b")
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert fleet.pids(HOST, "a", "b") == before
    found = (
        "ls -d /etc/ollama/watchdog /opt/ollama/libexec/*watchdog* /etc/systemd/system/*watchdog* "
    )
    assert fleet.sh(HOST, f"{found} {STATE} /run/ollama-watchdog 2>/dev/null || true") == ""
    assert fleet.sh(HOST, "systemctl is-active ollama-health") == "active"
    assert fleet.deploy().changed() == {}
