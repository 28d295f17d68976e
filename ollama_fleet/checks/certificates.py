"""Certificates of hosts and gateways: their own keys beside them, and time enough before they end."""

from collections.abc import Iterator
from datetime import UTC, datetime

from ollama_fleet.authority.leaf import days_left
from ollama_fleet.authority.places import (
    Place,
    gateway_places,
    hop_places,
    monitor_places,
    monitoring_places,
)
from ollama_fleet.authority.state import Found, public_bytes, questions, read_found
from ollama_fleet.checks.model import Check, CheckResult, Status, Subject
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers

# Deploys renew the fleet's own ones long before, and certbot those that it gets.
WARNED_DAYS = 30
EXPECTED = f"{WARNED_DAYS} days left or more"
REMEDIES = {
    "files": "get it renewed, put it into the files that `tls:` names, and deploy",
    "acme": "see `journalctl -u certbot` there, and `certbot renew --dry-run`",
}


def judge_gateway_certificates(plan: GatewayPlan, answers: Answers) -> list[CheckResult]:
    """Results for a gateway, of the answers to what its places ask."""
    subject, source = f"gateway {plan.name}", plan.tls.source
    return [
        _judged(plan.host, subject, place, answers, "" if place.trust else REMEDIES.get(source, ""))
        for place in gateway_places(plan)
    ]


def judge_monitor_certificates(plan: MonitorPlan, answers: Answers) -> list[CheckResult]:
    """The same for a monitor."""
    subject = f"monitor {plan.name}"
    return [_judged(plan.host, subject, place, answers) for place in monitor_places(plan)]


def judge_metrics_certificate(
    machine: str, subject: str, shown: MonitoringPlan | None, answers: Answers
) -> list[CheckResult]:
    """The result for what a machine shows, of the answers to what its place asks."""
    return [_judged(machine, subject, place, answers) for place in monitoring_places(shown)]


def _asked(plan: HostPlan) -> dict[str, str]:
    return questions((*hop_places(plan.hop), *monitoring_places(plan.monitoring)))


def _of_host(subject: Subject) -> Iterator[CheckResult]:
    for place in (*hop_places(subject.plan.hop), *monitoring_places(subject.plan.monitoring)):
        yield _judged(subject.plan.host, "host", place, subject.answers)


def _judged(
    host: str, subject: str, place: Place, answers: Answers, remedy: str = ""
) -> CheckResult:
    found = read_found(place, answers)
    status, words = _state(found)
    said = (
        "" if status == "ok" else remedy or "deploy again, from where the fleet's `.ca` folder is"
    )
    return CheckResult(host, subject, place.what, status, EXPECTED, words, said)


def _state(found: Found) -> tuple[Status, str]:
    certificate = found.certificate
    if certificate is None:
        return "failed", "there is none"
    if found.public != public_bytes(certificate):
        return "failed", "the key beside it is not its key"
    left, ends = days_left(certificate, datetime.now(UTC)), certificate.not_valid_after_utc
    if left < 0:
        return "failed", f"ended on {ends:%Y-%m-%d}"
    words = f"{left} days left, until {ends:%Y-%m-%d}"
    if found.untold:
        return "failed", f"{words}; its service was not told of it"
    return ("ok" if left >= WARNED_DAYS else "warning"), words


CHECKS = (Check("certificate", _of_host, _asked),)
