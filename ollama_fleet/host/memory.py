"""What hosts answered in this run, for as long as nothing was changed there.

Whoever changes a host forgets its answers: `Script` does by itself; operations of pyinfra's and
reboots call `forget` when they are done. What is known when a change is shown does not hold when it
is made, so each stage of a run asks anew.
"""

from pyinfra.api import Host
from pyinfra.api.state import StateStage

from ollama_fleet.questions import Answer

# By host name, because pyinfra's global `host` is another one in each greenlet.
_stages: dict[str, StateStage] = {}
_answers: dict[str, dict[str, Answer]] = {}
_changed: set[str] = set()


def remembered(host: Host) -> dict[str, Answer]:
    """Answers that `host` gave in this stage of the run, by the question's text."""
    stage = host.state.current_stage
    if _stages.get(host.name) != stage:
        _answers.pop(host.name, None)
        _stages[host.name] = stage
    return _answers.setdefault(host.name, {})


def forget(host: Host) -> None:
    """Whatever is known of `host` may be wrong from now on: it is being changed."""
    _answers.pop(host.name, None)
    _changed.add(host.name)


def was_changed(host: Host) -> bool:
    """Whether this run has changed it."""
    return host.name in _changed
