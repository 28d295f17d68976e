"""The claim of this run on its hosts: who else is at work there, and what every script says of itself."""

from pyinfra import host
from pyinfra.api import Host
from pyinfra.api.state import StateStage

from ollama_fleet import controller
from ollama_fleet.claim import Claim, in_the_way, introduce

# By host name: runs that are dead, though the host may not have noticed.
_ended: dict[str, str] = {}


def introduction(host: Host) -> str:
    """What a script has to know to claim `host` for this run."""
    run = controller.this_run()
    return introduce(run.id, run.who, run.controller, _ended.get(host.name, ""))


def taken(claim: Claim | None) -> list[str]:
    """Why this run must not begin on the host of this operation; empty where nobody else is at work.

    Before anything is to be changed (a dry run, or one that has still to ask) it is only said.
    """
    if claim is None or claim.run == controller.this_run().id:
        return []
    if controller.has_ended(claim.controller):
        _ended[host.name] = claim.run
        return []
    if not claim.alive:
        return []
    words = in_the_way(claim, controller.is_here(claim.controller))
    if host.state.current_stage == StateStage.Prepare:
        host.log_styled(words, fg="yellow")
        return []
    return [words]


def left_at_work(claim: Claim | None) -> bool:
    """Whether a script of a dead run has not ended yet; a script of ours waits for it."""
    if claim is None or not claim.busy or host.state.current_stage == StateStage.Prepare:
        return False
    return claim.run != controller.this_run().id
