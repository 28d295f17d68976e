"""Keys that a gateway knows and the inventory does not: a file of keys that was lost or cut must not lock
everybody out without a word. Pure.
"""

from collections.abc import Sequence

from ollama_fleet.keys.rendering import KEYS_FILE
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.questions import Answers

KNOWN = "gateway.keys"
# As `keys.rendering` writes them: a hash, and the name of its key.
_NAMES = f"""sed -n 's/^    "[0-9a-f]\\{{64\\}}" "\\([a-z0-9-]*\\)";$/\\1/p' {KEYS_FILE} 2>/dev/null; true"""
_SHOWN = 10


def questions() -> dict[str, str]:
    """What to ask of a gateway's machine."""
    return {KNOWN: _NAMES}


def lost(plan: GatewayPlan, answers: Answers) -> list[str]:
    """Keys that work there now, and would no more though nobody has revoked them."""
    if not plan.needs_key:
        return []
    known = {*plan.revoked, *(key.name for key in plan.keys)}
    return [name for name in answers[KNOWN].lines if name not in known]


def locks_all_out(plan: GatewayPlan, answers: Answers) -> str | None:
    """Why the gateway stays as it is; None where it need not. A file that knows none of its keys, such as
    one that `fleet key add` has made anew, is not theirs."""
    names = lost(plan, answers)
    if not names or (plan.keys and len(names) < len(answers[KNOWN].lines)):
        return None
    return (
        f"the gateway knows {_some(names)}, and the inventory's file of keys does not: whoever calls it "
        "today could not any more. Put the file (such as prod.keys.yml) back beside the inventory, with "
        f"what was added since; if it is meant, `rm {KEYS_FILE}` on the gateway, and run again"
    )


def words(names: Sequence[str]) -> str:
    """What a person should know of lost keys."""
    return f"not in the inventory's file of keys, so they work no more: {_some(names)}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{'the key' if len(names) == 1 else 'the keys'} {shown}"
