"""What a machine shows to monitors: its exporters run, and what they show is of now."""

from collections.abc import Iterator, Sequence

from ollama_fleet.authority.places import monitoring_places
from ollama_fleet.authority.state import questions as certificate_questions
from ollama_fleet.checks.certificates import judge_metrics_certificate
from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.metrics import places
from ollama_fleet.metrics.machine import SITE_DCGM_UNITS
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.monitoring import MonitoringPlan
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers

QUESTION = "metrics.shown"
# Looks that may be missed; and seconds in which the first of them has been, after a deploy.
MISSED = 3
FIRST_S = 20
WRITTEN = "ollama_metrics_written_seconds"
BROKEN = "node_textfile_scrape_error"


def units_of(shown: MonitoringPlan) -> list[str]:
    """What has to run on a machine, DCGM's exporter unless the site's own does."""
    of_host = [places.WRITER_UNIT] if shown.on_host else []
    of_gpus = [places.DCGM_UNIT] if shown.on_host and shown.gpu == "dcgm" else []
    of_gateway = [places.MTAIL_UNIT, places.NGINX_UNIT] if shown.is_gateway else []
    first = [places.DOOR_UNIT, places.NODE_UNIT]
    return [*first, *of_host, *of_gpus, *of_gateway, places.CERTIFICATES_TIMER]


def questions(shown: MonitoringPlan | None) -> dict[str, str]:
    """What to ask a machine; nothing where it shows nothing."""
    if shown is None:
        return {}
    wanted = WRITTEN if shown.on_host else BROKEN
    units = units_of(shown)
    units += SITE_DCGM_UNITS if places.DCGM_UNIT in units else ()
    return {
        QUESTION: f"""systemctl show -p Id,ActiveState,UnitFileState {" ".join(units)}
tries=0
until metrics=$(curl --noproxy '*' -fsS --max-time 10 http://127.0.0.1:{shown.inside.node}/metrics 2>&1) &&
    case $metrics in *"
{wanted} "*) true ;; *) false ;; esac || [ $tries -ge {2 * FIRST_S} ]; do
    tries=$((tries + 1))
    sleep 0.5
done
printf '%s\\n' "$metrics" | grep -E '^({WRITTEN}|{BROKEN}) '
echo "now $(date +%s)\""""
    }


def judge(machine: str, subject: str, shown: MonitoringPlan, answers: Answers) -> CheckResult:
    """One result for all that a machine shows."""
    text = answers[QUESTION].text if QUESTION in answers else ""
    wrong = [*_stopped(units_of(shown), text), *_stale(shown, text)]
    return CheckResult(
        machine,
        subject,
        "metrics",
        "failed" if wrong else "ok",
        f"its exporters run, and what they show is at most {MISSED * shown.interval_s} s old",
        "; ".join(wrong) or f"shown at port {shown.port}, {_age(text)}",
        "see `journalctl -u 'ollama-metrics*' -u 'ollama-*-exporter'`, then deploy again"
        if wrong
        else "",
    )


def gateway_questions(shown: MonitoringPlan | None) -> dict[str, str]:
    """What to ask a gateway's own machine: its exporters, and its certificate; a host's other checks ask
    for the latter."""
    return questions(shown) | certificate_questions(monitoring_places(shown))


def gateway_results(
    gateway: GatewayPlan, shown: MonitoringPlan | None, answers: Answers
) -> list[CheckResult]:
    """What the answers to `gateway_questions` show; nothing where the machine shows nothing."""
    subject = f"gateway {gateway.name}"
    if shown is None:
        return []
    return [
        judge(gateway.host, subject, shown, answers),
        *judge_metrics_certificate(gateway.host, subject, shown, answers),
    ]


def _stopped(units: Sequence[str], text: str) -> Iterator[str]:
    blocks = [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in text.split("\n\n")
    ]
    states = {block["Id"]: block for block in blocks if "Id" in block}
    instead = any(states.get(unit, {}).get("ActiveState") == "active" for unit in SITE_DCGM_UNITS)
    for unit in units:
        if unit == places.DCGM_UNIT and instead:
            continue
        found = states.get(unit, {})
        words = f"{found.get('ActiveState', '?')}, {found.get('UnitFileState') or 'not installed'}"
        if words != "active, enabled":
            yield f"{unit.removesuffix('.service')} is {words}"


def _stale(shown: MonitoringPlan, text: str) -> Iterator[str]:
    values = _values(text)
    if BROKEN not in values:
        yield "the node exporter does not answer"
        return
    if values[BROKEN]:
        yield f"a file in {places.METRICS_DIR} is no metrics"
    if not shown.on_host:
        return
    if WRITTEN not in values:
        yield "no metrics of GPUs and slices are written"
    elif values["now"] - values[WRITTEN] > MISSED * shown.interval_s:
        yield f"metrics of GPUs and slices are {_age(text)}"


def _age(text: str) -> str:
    values = _values(text)
    if WRITTEN not in values:
        return "of the machine"
    return f"{max(0, round(values.get('now', 0) - values[WRITTEN]))} s old"


def _values(text: str) -> dict[str, float]:
    rows = [line.split() for line in text.splitlines()]
    found = {}
    for row in rows:
        if len(row) == 2 and row[0] in (WRITTEN, BROKEN, "now"):
            try:
                found[row[0]] = float(row[1])
            except ValueError:
                continue
    return found


def _of_host(subject: Subject) -> Iterator[CheckResult]:
    if shown := subject.plan.monitoring:
        yield judge(subject.plan.host, "host", shown, subject.answers)


def _asked(plan: HostPlan) -> dict[str, str]:
    return questions(plan.monitoring)


CHECK = Check("metrics", _of_host, _asked)
