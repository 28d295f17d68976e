"""Shell that proves slices: their models are loaded, and one of them answers from a GPU. Pure text."""

import shlex
from collections.abc import Sequence
from functools import lru_cache

from ollama_fleet.draining import unmark
from ollama_fleet.planner.plan import DEVICES_UNIT, HostPlan, SlicePlan
from ollama_fleet.store import parse_name
from ollama_fleet.templating import TEMPLATES

# Files as they were before a change; on /run, for it is over when the host boots.
KEPT_DIR = "/run/ollama-fleet/before"


def functions(plan: HostPlan) -> str:
    """The functions of templates/rollout.sh, and what they have to know."""
    values = {
        "STORE": plan.store.path,
        "LOAD_S": str(plan.verify_timeout_s),
        "KEPT": KEPT_DIR,
        "DEVICES_UNIT": DEVICES_UNIT,
    }
    return "\n".join(
        [*(f"{name}={shlex.quote(text)}" for name, text in values.items()), _library()]
    )


def prove(item: SlicePlan) -> str:
    """A command that fails, and says why, unless the slice serves."""
    model = item.models[0] if item.models else None
    words = [
        item.unit,
        str(item.port),
        item.warm_unit if item.preload else "-",
        parse_name(model).shortest if model else "-",
        parse_name(model).path if model else "-",
    ]
    return " ".join(["prove", *map(shlex.quote, words)])


def returned(plan: HostPlan, slices: Sequence[SlicePlan]) -> list[str]:
    """Steps after slices have come back by themselves, as after a boot: proved, and used again. One that
    does not serve fails the script."""
    if not slices:
        return []
    proofs = " && ".join(map(prove, slices))
    freed = unmark([item.name for item in slices], plan.notice_s)
    wrong = "fail 'it is not as it was before'"
    return [
        functions(plan),
        f"proved=yes\n{{ {proofs}; }} || proved=no\n{freed}\n[ $proved = yes ] || {wrong}",
    ]


@lru_cache
def _library() -> str:
    return (TEMPLATES / "rollout.sh").read_text(encoding="utf-8")
