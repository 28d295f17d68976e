"""Which API keys a gateway knows: those of the inventory's file, and no others.

A gateway that nobody could tell of a revoked key goes on taking it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

from ollama_fleet.checks.model import Asked, CheckResult
from ollama_fleet.checks.wording import listed
from ollama_fleet.convergence import digest
from ollama_fleet.gateway import known_keys
from ollama_fleet.keys.rendering import key_files
from ollama_fleet.planner.api_key import ApiKey
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.questions import Answers
from ollama_fleet.services.service import Found

# A key that ends within so many days is told of, unless it was made for a few weeks only.
WARNED_DAYS, SHORT_LIVED_DAYS = 7, 28
BRING = "deploy again; `--data gateway_part=keys` brings the keys alone"


def questions() -> dict[str, str]:
    """What to ask of a gateway's machine beside the digests of its files."""
    return known_keys.questions()


def judge(plan: GatewayPlan, found: Found, answers: Answers) -> Iterator[CheckResult]:
    """One result, of the answers to `questions`; none where they were not asked."""
    if known_keys.KNOWN not in answers:
        return
    asked, subject = Asked(plan.host, answers), f"gateway {plan.name}"
    wanted = {key.name for key in plan.keys} if plan.needs_key else set()
    expected = "those of the inventory's file, and no others"
    if wrong := listed([*_differences(plan, wanted, found, answers)]):
        yield asked.result(subject, "keys", False, expected, wrong, BRING)
        return
    ending = [*_ending(plan.keys if plan.needs_key else (), datetime.now(UTC).date())]
    yield asked.result(
        subject,
        "keys",
        not ending,
        expected,
        listed(ending) or f"{len(wanted)} keys",
        "`fleet key add` makes a new one; give it to whoever uses that one before its day",
        warns=True,
    )


def _differences(
    plan: GatewayPlan, wanted: set[str], found: Found, answers: Answers
) -> Iterator[str]:
    known = answers[known_keys.KNOWN].lines
    revoked = [name for name in known if name in plan.revoked]
    strange = [name for name in known if name not in wanted and name not in plan.revoked]
    if revoked:
        yield f"takes what was revoked: {_names(revoked)}"
    if strange:
        yield f"takes what is not in the file: {_names(strange)}"
    if missing := sorted(wanted.difference(known)):
        yield f"does not know: {_names(missing)}"
    if plan.needs_key and not (revoked or strange or missing):
        files = key_files(plan.keys, plan)
        if any(found.files.get(file.path, ("", ""))[1] != digest(file) for file in files):
            yield "another key under one of the names, or other limits"


def _ending(keys: Sequence[ApiKey], today: date) -> Iterator[str]:
    for key in keys:
        if key.expires is None or not today <= key.expires <= today + timedelta(days=WARNED_DAYS):
            continue
        if key.created and (key.expires - key.created).days <= SHORT_LIVED_DAYS:
            continue
        yield f"{key.name} works until {key.expires} only"


def _names(names: Sequence[str]) -> str:
    return listed(names).replace("; ", ", ")
