"""Proof that a monitor is what was planned: its units, its rules, and that it sees every machine."""

from collections.abc import Iterator, Sequence

from ollama_fleet.authority.places import monitor_places
from ollama_fleet.authority.state import questions as certificate_questions
from ollama_fleet.checks import service_drift, service_ports
from ollama_fleet.checks.certificates import judge_monitor_certificates
from ollama_fleet.checks.model import CheckResult, Status
from ollama_fleet.checks.of_services import judge_service
from ollama_fleet.monitor import proof as proofs
from ollama_fleet.monitor import services as parts
from ollama_fleet.monitor.proof import Proof, expected_groups
from ollama_fleet.monitor.targets import MACHINE_JOB, Job, jobs_of
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services.service import Found, Service

# Of one table no more are named one by one.
MOST_NAMED = 20


def monitor_questions(plan: MonitorPlan, quick: bool = False) -> dict[str, str]:
    """Everything that proves a monitor, what it looks at having been proved before. `quick`: what is down
    is not waited for."""
    return {
        **parts.questions(plan),
        **service_drift.questions(_drifting(plan)),
        **service_ports.questions(),
        **(proofs.questions(plan, 1) if quick else proofs.questions(plan)),
        **certificate_questions(monitor_places(plan)),
    }


def monitor_results(plan: MonitorPlan, answers: Answers) -> list[CheckResult]:
    """What the answers to `monitor_questions` show."""
    found, proof = parts.found_of(plan, answers), proofs.read_proof(answers)
    results = judge_monitor(plan, parts.services_of(plan), found, proof)
    results += service_drift.judge(_drifting(plan), found, answers)
    units = service_ports.of_monitor(plan)
    results += service_ports.judge(plan.host, f"{parts.PREFIX} {plan.name}", units, answers)
    return [*results, *judge_monitor_certificates(plan, answers)]


def _drifting(plan: MonitorPlan) -> service_drift.Drifting:
    subject = f"{parts.PREFIX} {plan.name}"
    services, files = parts.services_of(plan), parts.common_files()
    return service_drift.Drifting(plan.host, subject, services, files)


def judge_monitor(
    plan: MonitorPlan, services: Sequence[Service], found: Found, proof: Proof
) -> list[CheckResult]:
    """Results of every check of a monitor."""
    return [
        *(judge_service(plan.host, f"monitor {plan.name}", service, found) for service in services),
        *_targets(plan, proof),
        _rules(plan, proof),
        *([] if plan.is_loopback else [_door(plan, proof)]),
        *_alerts(plan, proof),
    ]


def _result(
    plan: MonitorPlan, check: str, status: Status, expected: str, found: str, remedy: str
) -> CheckResult:
    said = "" if status == "ok" else remedy
    return CheckResult(plan.host, f"monitor {plan.name}", check, status, expected, found, said)


def _targets(plan: MonitorPlan, proof: Proof) -> Iterator[CheckResult]:
    """One result for all that are seen, and one for each that is not."""
    jobs = jobs_of(plan)
    if proof.scrapes is None:
        remedy = f"see `journalctl -u ollama-prometheus` on {plan.host}"
        yield _result(plan, "targets", "failed", "the list of its targets", "no answer", remedy)
        return
    down = [job for job in jobs if _health(proof, job) != "up"]
    # Where a whole machine is down, one result says so.
    whole = {job.machine for job in jobs} - {job.machine for job in jobs if job not in down}
    named = [job for job in down if job.machine not in whole or job.name == MACHINE_JOB]
    for job in named[:MOST_NAMED]:
        yield _down(plan, proof, job)
    words = f"{len(jobs) - len(down)} of {len(jobs)}"
    yield _result(plan, "targets", "ok", "targets are up", words, "")


def _down(plan: MonitorPlan, proof: Proof, job: Job) -> CheckResult:
    scrape = (proof.scrapes or {}).get((job.name, job.machine))
    return _result(
        plan,
        "targets",
        "failed",
        f"{job.name} of {job.machine} is up",
        f"{job.machine}: {(scrape.error if scrape else '') or _health(proof, job)}",
        f"on {job.machine}: `systemctl status ollama-metrics-door`, and whether {job.target} is "
        f"reachable from {plan.host}",
    )


def _health(proof: Proof, job: Job) -> str:
    scrape = (proof.scrapes or {}).get((job.name, job.machine))
    return scrape.health if scrape else "not known to it"


def _rules(plan: MonitorPlan, proof: Proof) -> CheckResult:
    wanted = expected_groups()
    missing = sorted(wanted - (proof.groups or frozenset()))
    return _result(
        plan,
        "alert rules",
        "failed" if missing else "ok",
        "every group of rules is loaded",
        f"without {', '.join(missing)}" if missing else f"{len(wanted)} groups",
        "see `journalctl -u ollama-prometheus`, then deploy again",
    )


def _door(plan: MonitorPlan, proof: Proof) -> CheckResult:
    """Who brings no password is refused."""
    return _result(
        plan,
        "monitor door",
        "ok" if proof.door == "401" else "failed",
        f"401 without a password at {plan.url}",
        proof.door or "no answer",
        "see `journalctl -u ollama-monitor-door`",
    )


def _alerts(plan: MonitorPlan, proof: Proof) -> Iterator[CheckResult]:
    """What fires is worth a look; the monitor itself does what it should."""
    firing = sorted(proof.firing, key=lambda one: (one.severity, one.name, one.summary))
    for one in firing[:MOST_NAMED]:
        yield _result(
            plan,
            "alerts",
            "warning",
            "nothing fires",
            f"{one.name}: {one.summary}",
            f"see docs/runbook.md, and {plan.url}/alerts",
        )
    if not firing:
        yield _result(plan, "alerts", "ok", "nothing fires", "none", "")
