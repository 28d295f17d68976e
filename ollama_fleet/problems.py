"""Input errors as a person reads them: where, what is wrong, what to do. Imports none of ours."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong in an input file.

    `where` is a path such as `hosts.gpu01.slices[2].gpus`, `line` and `column` count from 1.
    """

    source: str
    where: str
    what: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        position = "".join(f":{number}" for number in (self.line, self.column) if number)
        return " ".join(part for part in (f"{self.source}{position}", self.where) if part) + (
            f": {self.what}"
        )


class InputError(Exception):
    """An input file cannot be used; says every problem found, one line each."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))
