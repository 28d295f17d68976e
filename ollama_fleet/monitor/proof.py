"""What is asked of a running monitor, and the answers as one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ollama_fleet.monitor.prometheus import CURL, own_address, rule_files
from ollama_fleet.monitor.targets import jobs_of
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.questions import Answers, json_object

# After its configuration changed, each target is asked within one interval; the second is for one that
# came up just then.
INTERVALS, MORE_S, MOST_S = 2, 5, 330
# Enough for a thousand machines, and no more than what is read at once.
MOST_BYTES = 4_000_000


@dataclass(frozen=True)
class Scrape:
    """What Prometheus says of a target; `error` is its own reason, empty where all is well."""

    health: str
    error: str


@dataclass(frozen=True)
class Firing:
    """An alert that fires: its name, severity and summary."""

    name: str
    severity: str
    summary: str


@dataclass(frozen=True)
class Proof:
    """A monitor's answers: (job, machine) to its scrape, and the names of the groups of rules that it
    has, None where it gave no answer; the alerts that fire; and the status of its door without a
    password."""

    scrapes: Mapping[tuple[str, str], Scrape] | None
    groups: frozenset[str] | None
    firing: tuple[Firing, ...]
    door: str


def questions(plan: MonitorPlan, tries: int | None = None) -> dict[str, str]:
    """Everything that proves a monitor. Within `tries` seconds (default: two scrapes) every target should
    be up."""
    url = f"http://{own_address(plan)}/api/v1"
    tries = longest_s(plan) if tries is None else tries
    return {
        "monitor.targets": f"""tries=0
while :; do
    said=$({CURL} -f '{url}/targets?state=active' | head -c {MOST_BYTES})
    up=$(printf '%s' "$said" | grep -o '"health":"up"' | wc -l)
    [ "$up" -lt {len(jobs_of(plan)) + 1} ] && [ $tries -lt {tries} ] || break
    tries=$((tries + 1))
    sleep 1
done
printf '%s' "$said\"""",
        "monitor.rules": f"{CURL} -f '{url}/rules?type=alert' | head -c {MOST_BYTES}",
        "monitor.door": "true"
        if plan.is_loopback
        else f"{CURL} -k -o /dev/null -w '%{{http_code}}' '{plan.url}/-/ready'",
    }


def longest_s(plan: MonitorPlan) -> int:
    """Within how many seconds every target was asked, and twice where the first came too early."""
    return min(plan.interval_s * INTERVALS + MORE_S, MOST_S)


def read_proof(answers: Answers) -> Proof:
    """Answers to `questions`; what a program says there is believed in its form only."""
    targets = _data(answers["monitor.targets"].text)
    rules = _data(answers["monitor.rules"].text)
    groups = _list(rules, "groups")
    return Proof(
        scrapes=None
        if targets is None
        else dict(_scrape(one) for one in _list(targets, "activeTargets")),
        groups=None if rules is None else frozenset(str(one.get("name")) for one in groups),
        firing=tuple(_firing(groups)),
        door=answers["monitor.door"].text.strip(),
    )


def expected_groups() -> frozenset[str]:
    """Names of the groups of alerts that a monitor should have."""
    lines = [line for file in rule_files() for line in file.text.splitlines()]
    return frozenset(line.split()[-1] for line in lines if line.startswith("  - name: "))


def _scrape(target: Mapping[str, Any]) -> tuple[tuple[str, str], Scrape]:
    labels = target.get("labels") or {}
    found = Scrape(str(target.get("health")), str(target.get("lastError") or ""))
    return (str(labels.get("job")), str(labels.get("host"))), found


def _firing(groups: list[Mapping[str, Any]]) -> list[Firing]:
    return [
        Firing(
            str(rule.get("name")),
            str((rule.get("labels") or {}).get("severity")),
            str((alert.get("annotations") or {}).get("summary")),
        )
        for group in groups
        for rule in _list(group, "rules")
        for alert in _list(rule, "alerts")
        if alert.get("state") == "firing"
    ]


def _data(text: str) -> Mapping[str, Any] | None:
    data = json_object(text).get("data")
    return data if isinstance(data, dict) else None


def _list(data: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    found = (data or {}).get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
