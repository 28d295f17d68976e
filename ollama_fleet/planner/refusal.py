"""Why something cannot be served as written: the arithmetic, and the nearest thing that can.

Values only; `nearest` fills them. Imports the problems of an input.
"""

from dataclasses import dataclass

from ollama_fleet.problems import InputError, Problem


@dataclass(frozen=True)
class Refusal:
    """One slice or wish that the plan has no place for.

    `where` is its place in the inventory, `arithmetic` the sum that does not come out, `nearest`
    what would fit instead, best first.
    """

    where: str
    what: str
    arithmetic: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()

    def problem(self, source: str) -> Problem:
        """On one line, as every other problem of an input."""
        sums = "; ".join(self.arithmetic)
        text = self.what + (f" ({sums})" if sums else "")
        if self.nearest:
            text += f"; what fits: {'; or '.join(self.nearest)}"
        return Problem(source, self.where, text)


class PlanRefusedError(InputError):
    """A fleet that cannot serve what its inventory asks for."""

    def __init__(self, refusals: tuple[Refusal, ...], source: str = "") -> None:
        self.refusals = refusals
        super().__init__([refusal.problem(source) for refusal in refusals])
