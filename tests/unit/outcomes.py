"""Outcomes for tests of reports: a recorded one of two simulated hosts with faults, its history, hostile
text, and a large fleet."""

import json
from dataclasses import replace
from pathlib import Path

from ollama_fleet.checks.model import CheckResult
from ollama_fleet.checks.outcome import GpuSight, HostOutcome, InstanceSight, Outcome, SliceSight
from ollama_fleet.report.verification_json import read_outcome

# Eight GPUs with a lost one, a stopped slice and a drained one behind a gateway; two A100, one of them cut
# into MIG instances, one with ECC errors; and a host that nobody reached.
FILE = Path(__file__).with_name("data") / "verification.json"
HOSTILE = "</script></style><img src=x onerror=alert(1)>'\"&amp;\x1b[31m\x00\u202e[bold]`$(id)`"


def recorded() -> Outcome:
    """The recorded verification."""
    return read_outcome(json.loads(FILE.read_text(encoding="utf-8")))


def history(runs: int = 14) -> list[Outcome]:
    """Runs before the recorded one, the oldest first: mostly well."""
    return [_earlier(recorded(), ago) for ago in range(runs, 0, -1)]


def _earlier(outcome: Outcome, ago: int) -> Outcome:
    hosts = tuple(
        replace(
            host,
            error=host.error if ago % 6 == 4 else "",
            results=tuple(
                _mended(result, number, ago) for number, result in enumerate(host.results)
            ),
        )
        for host in outcome.hosts
    )
    return replace(outcome, hosts=hosts, started=f"2026-11-{28 - ago:02d}T06:00:04Z")


def _mended(result: CheckResult, number: int, ago: int) -> CheckResult:
    still = result.check == "persistence" or (ago % 5 == 2 and number % 9 == 0)
    return result if still or result.status == "ok" else replace(result, status="ok", remedy="")


def well(outcome: Outcome) -> Outcome:
    """The same with nothing to mend."""
    hosts = tuple(
        replace(host, error="", results=tuple(replace(r, status="ok") for r in host.results))
        for host in outcome.hosts
    )
    return replace(outcome, hosts=hosts)


def hostile() -> Outcome:
    """Every text that a host or an inventory can bring wants to break out."""
    results = tuple(
        CheckResult(HOSTILE, subject, f"{HOSTILE} {status}", status, HOSTILE, HOSTILE, HOSTILE)
        for status in ("failed", "warning", "ok")
        for subject in (HOSTILE, f"gpu {HOSTILE}")
    )
    instances = (InstanceSight(HOSTILE, 10000, 500, HOSTILE),)
    gpu = GpuSight(0, HOSTILE, HOSTILE, HOSTILE, 24576, 99999, 99999, 50, instances=instances)
    gone = GpuSight(-1, "", HOSTILE, "", 0, lost=True)
    item = SliceSight(HOSTILE, (0,), 11434, (HOSTILE,), HOSTILE, 100, 100, 9.0, True)
    loose = replace(item, gpus=(), name=f"{HOSTILE} loose")
    seen = HostOutcome(
        HOSTILE, ("host",), results, "", (gpu, gone), (item, loose), HOSTILE, HOSTILE, HOSTILE
    )
    missed = HostOutcome(f"{HOSTILE} 2", ("host",), error=HOSTILE)
    return Outcome(HOSTILE, "2026-11-28T06:00:04Z", 1.0, "full", (seen, missed))


def many(hosts: int = 500) -> Outcome:
    """So many hosts like the recorded one with eight GPUs; every fiftieth is as ill."""
    ill = recorded().hosts[0]
    fine = well(replace(recorded(), hosts=(ill,))).hosts[0]
    fleet = [_named(fine if number % 50 else ill, f"gpu{number:03d}") for number in range(hosts)]
    return replace(recorded(), hosts=tuple(fleet))


def _named(host: HostOutcome, name: str) -> HostOutcome:
    return replace(
        host, host=name, results=tuple(replace(result, host=name) for result in host.results)
    )
