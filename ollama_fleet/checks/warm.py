"""Models that a slice loads by itself are in memory, as planned, before anybody asks for them.

What a model's own parameters say is read from the store: a num_ctx there overrules the slice's context.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ollama_fleet.checks.model import Check, CheckResult, Status, Subject
from ollama_fleet.checks.requests import FOLDER, documents
from ollama_fleet.planner.plan import BoundSlice, HostPlan, Preloaded, SlicePlan
from ollama_fleet.questions import json_object
from ollama_fleet.store import parse_name
from ollama_fleet.warm import IDENTIFIER, InMemory, foreign, keeps_for_ever, read_memory

# Warm units that run or have failed, one per line, as `units` found them.
TABLE = f"{FOLDER}/warm"
LAST_WORDS = 3
RANK: dict[Status, int] = {"ok": 0, "warning": 1, "failed": 2}


@dataclass(frozen=True)
class Finding:
    """What is wrong with one slice, and what to do about it."""

    status: Status
    found: str
    remedy: str


def _questions(plan: HostPlan) -> dict[str, str]:
    """Wait for whoever is loading, then ask how it ended: nothing where all have ended well. The
    manifests are read by the shell itself, for a program would cost more than all of them."""
    models = {one.model: parse_name(one.model).path for s in plan.slices for one in s.preload}
    if not models:
        return {}
    rows = "\n".join(f"{model} {path}" for model, path in models.items())
    return {
        "warm": f"""if [ -s {TABLE} ]; then
    while read -r unit; do set -- "$@" "$unit"; done <{TABLE}
    tries=0
    while systemctl is-active --quiet "$@" && [ $tries -lt {4 * plan.verify_timeout_s} ]; do
        tries=$((tries + 1)); sleep 0.25
    done
    for unit; do
        state=$(systemctl show -p ActiveState --value "$unit")
        echo "state $unit $state"
        [ "$state" != failed ] || journalctl -q -u "$unit" -t {IDENTIFIER} -n {LAST_WORDS} -o cat --no-pager |
            while read -r line; do echo "said $unit $line"; done
    done
fi
while read -r model path; do
    text=
    while read -r line || [ -n "$line" ]; do text=$text$line; done <{plan.store.path}/manifests/$path
    rest=${{text#*image.params}}
    [ "$rest" != "$text" ] || continue
    rest=${{rest#*sha256:}}
    read -r line <"{plan.store.path}/blobs/sha256-${{rest%%\\"*}}"
    case $line in *num_ctx*) echo "parameters $model $line" ;; esac
done 2>/dev/null <<END
{rows}
END"""
    }


def _warm(subject: Subject) -> Iterator[CheckResult]:
    told = _rows(subject.text("warm"))
    for item in subject.slices:
        if item.plan.preload:
            yield _result(subject, item, told)


def _result(
    subject: Subject, item: BoundSlice, told: Mapping[tuple[str, str], list[str]]
) -> CheckResult:
    plan = item.plan
    ps = documents(subject.text("api")).get(f"{plan.url}/api/ps", {})
    memory = read_memory(ps)
    # Of a unit that failed the words say more than what is not in memory.
    findings = [*_of_unit(plan, told)] or [*_of_models(plan, memory, told)]
    worst = max(findings, key=lambda finding: RANK[finding.status], default=None)
    wanted = ", ".join(f"{one.model} with {one.context} tokens" for one in plan.preload)
    return subject.result(
        plan.name,
        "warm",
        good=worst is None,
        expected=f"in memory: {wanted}",
        found="; ".join(dict.fromkeys(finding.found for finding in findings)) or _well(plan),
        remedy=worst.remedy if worst else "",
        warns=worst is not None and worst.status == "warning",
    )


def _well(plan: SlicePlan) -> str:
    count = len(plan.preload)
    kept = "for good" if keeps_for_ever(plan) else f"for {plan.environment['OLLAMA_KEEP_ALIVE']}"
    return f"{count} model{'s' if count > 1 else ''}, kept {kept}"


def _rows(text: str) -> dict[tuple[str, str], list[str]]:
    """Lines `state <unit> <state>`, `said <unit> <words>`, `parameters <model> <JSON>`."""
    rows: dict[tuple[str, str], list[str]] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        name, _, words = rest.partition(" ")
        rows.setdefault((kind, name), []).append(words)
    return rows


def _of_unit(plan: SlicePlan, told: Mapping[tuple[str, str], list[str]]) -> Iterator[Finding]:
    unit = plan.warm_unit
    state = "".join(told.get(("state", unit), []))
    if state == "failed":
        words = "; ".join(dict.fromkeys(told.get(("said", unit), []))) or "no word in its journal"
        remedy = f"see `journalctl -u {unit}` and `journalctl -u {plan.unit}`, then deploy again"
        yield Finding("failed", f"{unit} failed: {words}", remedy)
    elif state == "active":
        remedy = f"see `journalctl -fu {unit}`; `verify_timeout_s` is how long a deploy waits"
        yield Finding("failed", f"{unit} is still loading", remedy)


def _of_models(
    plan: SlicePlan,
    memory: Mapping[str, InMemory],
    told: Mapping[tuple[str, str], list[str]],
) -> Iterator[Finding]:
    for one in plan.preload:
        own = _own_context("".join(told.get(("parameters", one.model), [])))
        found = memory.get(parse_name(one.model).shortest)
        if found is None:
            yield from _missing(plan, one, foreign(plan, memory))
            continue
        yield from _context(plan, one, own, found)
        if keeps_for_ever(plan) and not found.stays:
            until = found.expires_at[:19].replace("T", " ")
            what = f"{one.model} stays until {until} only, as a client's keep_alive says"
            yield Finding("warning", what, f"`systemctl start {plan.warm_unit}` keeps it again")


def _own_context(parameters: str) -> int | None:
    """num_ctx of a model's own parameters."""
    value = json_object(parameters).get("num_ctx")
    return value if isinstance(value, int) else None


def _missing(plan: SlicePlan, one: Preloaded, others: list[str]) -> Iterator[Finding]:
    if others:
        what = f"{one.model} is not in memory, because {', '.join(others)} serves there"
        remedy = (
            f"`ollama-slice {plan.name} stop {others[0]}`, then `systemctl start {plan.warm_unit}`"
        )
        yield Finding("warning", what, remedy)
    elif keeps_for_ever(plan):
        remedy = (
            f"`systemctl start {plan.warm_unit}`; if it goes again, the slice does not hold all "
        )
        remedy += "of its models at once: name fewer in `preload:`"
        yield Finding("failed", f"{one.model} is not in memory", remedy)


def _context(
    plan: SlicePlan, one: Preloaded, own: int | None, found: InMemory
) -> Iterator[Finding]:
    """Whether it has the context that was planned, and whether the next client gets it, too."""
    if found.context is None:
        return
    planned = int(plan.environment["OLLAMA_CONTEXT_LENGTH"])
    longest = one.longest or (found.context if own and found.context < own else None)
    if own is not None and min(own, longest or own) != min(planned, longest or planned):
        what = f"{one.model} is loaded with {found.context} tokens: its own parameters say num_ctx {own}"
        remedy = f"write `context: {own}`, or serve a model without that parameter"
        yield Finding("failed", what, remedy)
    elif found.context != one.context and not (own is not None and longest == found.context):
        what = f"{one.model} has {found.context} tokens, as a client asked"
        if one.longest is None and found.context < one.context:
            what = (
                f"{one.model} has {found.context} tokens: it can do no more, or a client asked so"
            )
        remedy = "clients should not send num_ctx: each other value loads the model anew; "
        remedy += f"`ollama-slice {plan.name} stop {one.model}`, `systemctl start {plan.warm_unit}`"
        yield Finding("warning", what, remedy)


WAIT = Check("warming", lambda subject: (), _questions)
CHECK = Check("warm", _warm)
