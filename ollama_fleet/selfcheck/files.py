"""The files of a host's look at itself, where it is wanted."""

from typing import Any

from ollama_fleet.claim import CLAIM_QUESTION
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.selfcheck import places
from ollama_fleet.selfcheck.steady import STEADY
from ollama_fleet.templating import UNIT_DIR, HostFile, render

# Their work is needed by others: the folder of a verification, the table of units.
NEEDED = ("start",)
# A unit that only restarts is up again after so many seconds.
PATIENCE_S = 30


def files(plan: HostPlan) -> list[HostFile]:
    """Script, unit and timer; none where it is off or there is nothing to look at."""
    if not is_wanted(plan):
        return []
    values: dict[str, Any] = {"places": places, "every_min": plan.selfcheck_min}
    asked = {
        "questions": _questions(plan),
        "claim": CLAIM_QUESTION["claim"],
        "patience_s": PATIENCE_S,
    }
    script = render("selfcheck/ollama-selfcheck.sh.j2", **asked, **values)
    return [
        HostFile(places.SCRIPT, script, mode="0755"),
        HostFile(
            f"{UNIT_DIR}/{places.UNIT}", render("selfcheck/ollama-selfcheck.service.j2", **values)
        ),
        HostFile(
            f"{UNIT_DIR}/{places.TIMER}", render("selfcheck/ollama-selfcheck.timer.j2", **values)
        ),
    ]


def is_wanted(plan: HostPlan) -> bool:
    """Whether this host looks at itself."""
    return bool(plan.selfcheck_min and plan.slices)


def _questions(plan: HostPlan) -> list[dict[str, str]]:
    """What is asked, in order: name, text, and what of the answer stays (empty: nothing)."""
    # Checks know what was rendered; this is rendered, too.
    from ollama_fleet.checks.quick import quick_questions

    return [
        {"name": name, "text": text, "steady": STEADY.get(name, "")}
        for name, text in quick_questions(plan).items()
        if name in STEADY or name in NEEDED
    ]


QUESTION = {
    "selfcheck": f"""[ -e {places.SCRIPT} ] || exit 0
if [ ! -e {places.PROVED} ]; then echo never; exit 0; fi
[ ! {places.SCRIPT} -nt {places.PROVED} ] || echo older
cat {places.STATE} 2>/dev/null
date '+now %s'"""
}


def keeps_what_was_proved(answers: Answers) -> bool:
    """Whether what the host keeps as proved is of the script that it has, and nothing differs."""
    words = {line.split()[0] for line in answers["selfcheck"].lines}
    return not words & {"never", "older", "changed"}


# Where a look is on its way, `start` only waits for that one, and it may be past the wish.
KEEP = f"""mkdir -p {places.RUN_DIR} && : >{places.KEEP}
for try in 1 2; do
    [ ! -e {places.KEEP} ] || systemctl start {places.UNIT} || true
done
if [ -e {places.KEEP} ]; then
    rm -f {places.KEEP}
    fail "the host cannot look at itself: see journalctl -u {places.UNIT}"
fi"""
