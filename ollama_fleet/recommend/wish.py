"""What is asked of a recommendation, and what each answer to a question means in figures.

Values only; imports the catalogue.
"""

from dataclasses import dataclass
from typing import Literal

from ollama_fleet.catalogue import Gpu

Task = Literal["chinese", "code", "reasoning", "chat", "translation", "long-documents"]
Prefer = Literal["speed", "quality", "balance"]
Stage = Literal["prototype", "test", "production"]

# Tokens that a request needs when nothing is said: an inventory's default, and for long documents
# what the guides call long.
CONTEXTS: dict[Task, int] = {"long-documents": 32768}
DEFAULT_CONTEXT = 4096
TASKS: tuple[Task, ...] = (
    "chinese",
    "code",
    "reasoning",
    "chat",
    "translation",
    "long-documents",
)


class WishError(ValueError):
    """A question that cannot be meant like this; says what can."""


@dataclass(frozen=True)
class Preference:
    """Tokens/s that are comfortable: slower costs points, faster wins none."""

    comfortable_tokens_per_s: float
    meaning: str


# The guides' speed classes on an RTX 3090: a 7B model, a 13-14B model, a 70B model over two cards.
PREFERENCES: dict[Prefer, Preference] = {
    "speed": Preference(120, "answers at once; where 7-8B models run on an RTX 3090"),
    "balance": Preference(60, "fluent; where 13-14B models run on an RTX 3090"),
    "quality": Preference(15, "faster than reading; where 70B models run on two RTX 3090"),
}


@dataclass(frozen=True)
class StageRules:
    """What a stage of development stands for."""

    prefer: Prefer
    parallel: int
    meaning: str


STAGES: dict[Stage, StageRules] = {
    "prototype": StageRules("speed", 1, "quick turns for one developer"),
    "test": StageRules("balance", 1, "speed and quality that production could live with"),
    "production": StageRules("quality", 2, "two requests at once, and dimensions that are sure"),
}


@dataclass(frozen=True)
class Wish:
    """A question, complete: for which task, on which GPUs, how long, how many, how fast.

    `parallel` requests of `context` tokens each have to fit at the same time.
    """

    gpu: Gpu
    gpus: int
    task: Task
    prefer: Prefer
    stage: Stage | None
    context: int
    parallel: int

    @property
    def preference(self) -> Preference:
        """What its preference means in figures."""
        return PREFERENCES[self.prefer]


def make_wish(
    gpu: Gpu,
    task: Task,
    *,
    gpus: int = 1,
    prefer: Prefer | None = None,
    stage: Stage | None = None,
    context: int | None = None,
) -> Wish:
    """Completes a question; WishError where its numbers cannot be meant.

    + prefer: default: what the stage stands for, else balance
    + context: default: 4096, and 32768 for long documents
    """
    if not 1 <= gpus <= 64:
        raise WishError(f"gpus is 1 to 64, not {gpus}")
    if context is not None and not 1 <= context <= 10_485_760:
        raise WishError(f"context is 1 to 10485760 tokens, not {context}")
    rules = STAGES[stage] if stage else None
    return Wish(
        gpu=gpu,
        gpus=gpus,
        task=task,
        prefer=prefer or (rules.prefer if rules else "balance"),
        stage=stage,
        context=context or CONTEXTS.get(task, DEFAULT_CONTEXT),
        parallel=rules.parallel if rules else 1,
    )
