"""The decision tables of the source guides, held against the ranking.

A guide's answer is a fact of its time; nothing of it goes into the ranking. Tags that the library
lacks stand as the nearest one that it has (qwen2:14b as qwen2.5:14b).
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

from ollama_fleet.catalogue import find_gpu, find_model
from ollama_fleet.recommend.rank import Ranking, behind, recommend
from ollama_fleet.recommend.wish import Prefer, Stage, Task, Wish, make_wish

TABLE = Path(__file__).with_name("guides.csv")
# Every model that the guides name.
GUIDE_MODELS = (
    "tinyllama",
    "phi",
    "gemma:2b",
    "gemma:7b",
    "qwen:1.8b",
    "yi:6b",
    "yi:34b",
    "stablelm2:1.6b",
    "mistral:7b",
    "llama2:7b",
    "llama2:13b",
    "llama2:70b",
    "llama3:8b",
    "llama3:70b",
    "qwen2:7b",
    "qwen2.5:14b",
    "qwen2.5:32b",
    "qwen2:72b",
    "qwen3:30b",
    "codellama:7b",
    "codellama:13b",
    "codellama:34b",
    "codellama:70b",
    "deepseek-coder:6.7b",
    "deepseek-coder:33b",
    "deepseek-r1:14b",
    "deepseek-r1:32b",
    "deepseek-r1:70b",
    "vicuna:13b",
    "solar:10.7b",
    "mixtral:8x7b",
    "mixtral:8x22b",
)


@dataclass(frozen=True)
class Question:
    """A row of a decision table: what was asked, and the guide's answers, its first choice first."""

    text: str
    wish: Wish
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """A question with the ranking's answer among the guides' models, and among all of today."""

    question: Question
    then: Ranking
    today: Ranking

    @property
    def agrees(self) -> bool:
        """Whether the guides' answer is first among the models that the guides know."""
        return self.then.places[0].model.tag in self.question.answers

    @property
    def place(self) -> int | None:
        """The best place of a guide's answer among those models; None where it cannot serve."""
        places = enumerate(self.then.places, start=1)
        return next((n for n, place in places if place.model.tag in self.question.answers), None)

    @property
    def reason(self) -> str:
        """Where it does not agree: why the guide's first choice is not first."""
        return "" if self.agrees else _why_not(self.question.answers, self.then)


@cache
def questions() -> tuple[Question, ...]:
    """Every question of the guides that one model answers."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(_question(row) for row in csv.DictReader(file))


def compare(question: Question) -> Compared:
    """Rank a question twice: among the guides' models, and among all."""
    known = [find_model(tag) for tag in GUIDE_MODELS]
    return Compared(question, recommend(question.wish, known), recommend(question.wish))


def _question(row: dict[str, str]) -> Question:
    wish = make_wish(
        find_gpu(row["gpu"]),
        cast(Task, row["task"]),
        gpus=int(row["gpus"]),
        prefer=cast(Prefer, row["prefer"]) if row["prefer"] else None,
        stage=cast(Stage, row["stage"]) if row["stage"] else None,
        context=int(row["context"]) if row["context"] else None,
    )
    return Question(row["question"], wish, tuple(row["answers"].split()))


def _why_not(answers: Sequence[str], ranking: Ranking) -> str:
    first = ranking.places[0]
    for place in ranking.places:
        if place.model.tag in answers:
            return behind(place, first)
    for refused in ranking.refused:
        if refused.model.tag in answers:
            return f"{refused.model.tag}: {refused.why}"
    return f"{answers[0]} is not known for {ranking.wish.task}"
