"""Slices taken out of service by hand, and back: what `fleet drain` and `fleet undrain` do on a host."""

import atexit
import json
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from pyinfra.api import FunctionCommand, Host, State, operation

from ollama_fleet import controller
from ollama_fleet.host.answers import ask, forget, no_answer
from ollama_fleet.host.scripts import Script, fail_host
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.rollout import marks

# Of this run: what hosts said in the end, and the file that it goes to.
_found: dict[str, Any] = {}


@operation()
def slices_marked(
    plan: HostPlan,
    slices: Sequence[str] = (),
    verb: str = "look",
    reason: str = "",
    wait_s: int = 0,
) -> Generator[Any, None, None]:
    """
    Take slices out of service at the gateways, or put them back; and see which of them are out.

    Whoever takes them out waits until their requests have ended. They stay out over deploys and boots.

    + plan: what the host is
    + slices: their names; none: all of them
    + verb: drain, undrain, or look
    + reason: why, for others
    + wait_s: most seconds to wait

    **Example:**

    .. code:: python

        slices_marked(name="Take slices out of service", plan=plan, verb="drain", wait_s=120)
    """
    known = {item.name: item for item in plan.slices}
    if unknown := [name for name in slices if name not in known]:
        words = f"no slice is named {', '.join(unknown)}; here are {', '.join(known) or 'none'}"
        yield FunctionCommand(fail_host, ([words],), {})
        return
    chosen = [known[name] for name in slices or known]
    questions = {**marks.marks_question(), **marks.requests_question(plan)}
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    there = marks.read_marks(answers)
    # One that is no slice any more can be put back only, by naming its host.
    names = [item.name for item in chosen]
    if verb == "undrain" and not slices:
        names = list(there)
    if verb == "drain":
        fresh = [name for name in names if name not in there]
        yield from _mark(fresh, reason)
        yield Script(marks.wait_script(chosen, wait_s, plan.notice_s))
    elif verb == "undrain" and (marked := [name for name in names if name in there]):
        yield Script(marks.unmark_script(marked))
    yield FunctionCommand(remember, (plan,), {})


def _mark(fresh: Sequence[str], reason: str) -> Generator[Any, None, None]:
    if fresh:
        since = time.strftime("%F %T UTC", time.gmtime())
        mark = marks.Mark(since, controller.this_run().who.partition(",")[0], reason)
        yield Script(marks.mark_script(fresh, mark))


def remember(state: State, host: Host, plan: HostPlan) -> bool:
    """Ask what has become of it, for the report."""
    forget(host)
    questions = {**marks.marks_question(), **marks.requests_question(plan)}
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        return False
    there, busy = marks.read_marks(answers), marks.read_requests(answers)
    names = dict.fromkeys([*(item.name for item in plan.slices), *there])
    _found[plan.host] = {
        name: {
            "drained": name in there,
            **(vars(there[name]) if name in there else {}),
            "requests": busy.get(name, 0),
        }
        for name in names
    }
    return True


def report_to(path: str) -> None:
    """Write what hosts said into a file when the run ends."""
    if path not in _reports:
        _reports.append(path)
        atexit.register(lambda: Path(path).write_text(json.dumps(_found), encoding="utf-8"))


_reports: list[str] = []
