"""The host's own look at itself: it looks, and finds what was proved."""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.selfcheck.files import QUESTION, is_wanted
from ollama_fleet.selfcheck.places import RUN_DIR, TIMER

# So many looks may be missing: the machine slept, a deploy had it.
LOOKS = 4


def _questions(plan: HostPlan) -> dict[str, str]:
    return QUESTION if is_wanted(plan) else {}


def _selfcheck(subject: Subject) -> Iterator[CheckResult]:
    rows = [line.split(maxsplit=1) for line in subject.text("selfcheck").splitlines()]
    said = {row[0]: row[1] for row in rows if len(row) == 2}
    # Before the first proof, or with a new script, there is nothing to compare with.
    if "now" not in said or "time" not in said or ["older"] in rows:
        return
    changed = [row[1] for row in rows if row[0] == "changed" and len(row) == 2]
    minutes = max(0, int(said["now"]) - int(said["time"])) // 60
    late = minutes > LOOKS * subject.plan.selfcheck_min
    found = (
        f"{', '.join(changed)} not as when all was proved" if changed else "as when all was proved"
    )
    yield subject.result(
        "host",
        "self check",
        good=not changed and not late,
        expected=f"the host looks at itself every {subject.plan.selfcheck_min} min, and nothing differs",
        found=f"{found}, looked {minutes} min ago",
        remedy=f"see {RUN_DIR}/differs there; where all other checks hold the next deploy keeps the new state"
        if changed
        else f"`systemctl status {TIMER}`; deploy again",
        warns=True,
    )


CHECK = Check("self check", _selfcheck, _questions)
