"""What a gateway leaves on a host whose inventory has none there any more: keys, folders, the account.

Units and configurations go with the slices' step; logs stay, for they may be wanted. Pure.
"""

from ollama_fleet.gateway import places
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers

QUESTION = "gateway.left"


def questions(plan: HostPlan) -> dict[str, str]:
    """Which of the places are there that should not be; nothing where all of them may."""
    unwanted = _unwanted(plan)
    if not unwanted:
        return {}
    paths = " ".join(unwanted)
    return {QUESTION: f'for path in {paths}; do [ ! -e "$path" ] || echo "$path"; done'}


def leftover_steps(plan: HostPlan, answers: Answers) -> list[str]:
    """What takes them away; empty when none is there."""
    found = answers[QUESTION].lines if QUESTION in answers else []
    if not found:
        return []
    steps = ["say 'taking away what a gateway has left here'"]
    for path in found:
        if path == places.SYSUSERS:
            steps += _account()
        elif path.startswith("/run/"):
            steps.append(f"rm -rf {path}")
        else:
            steps += [f"rm -rf {path}/tls", f"rmdir --ignore-fail-on-non-empty {path}"]
    return steps


def _unwanted(plan: HostPlan) -> list[str]:
    if plan.hop is None:
        return [places.GATEWAY_DIR, places.RUN_DIR, places.HOP_DIR, places.SYSUSERS]
    return [] if plan.hop.is_gateway else [places.GATEWAY_DIR, places.RUN_DIR]


def _account() -> list[str]:
    """Files that stay get an owner who exists."""
    return [
        f"rm -f {places.SYSUSERS}",
        f"[ ! -d {places.LOG_DIR} ] || chown -R root:root {places.LOG_DIR}",
        f"! getent passwd {places.USER} >/dev/null || userdel {places.USER} || "
        f"say 'the user {places.USER} stays: something runs as it'",
    ]
