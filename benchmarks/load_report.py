"""What a load was told and had to wait for: one sample per request, and what they say together."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SLOW_S = 2.0  # waiting longer than usual by this is being hurt by a fault
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Sample:
    """One request. Times are seconds of time.monotonic(); `meant_s` is when it should have started.

    `outcome`: ok; refused (4xx); busy (503 with Retry-After); failed (5xx); error (said in the stream);
    cut (ended early); reset, closed, unreachable, timeout (the connection).
    """

    meant_s: float
    first_byte_s: float | None
    end_s: float
    longest_gap_s: float
    status: int
    outcome: str
    tokens: int = 0
    retry_after: str = ""

    @property
    def is_lost(self) -> bool:
        """Whether somebody who asked got no whole answer; a refusal is an answer."""
        return self.outcome not in ("ok", "refused")

    @property
    def first_byte_after_s(self) -> float:
        """From when it should have started, so that a stalled server can't hide its stall."""
        return (self.end_s if self.first_byte_s is None else self.first_byte_s) - self.meant_s


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest-rank percentile; nan of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass
class Report:
    """All samples of a load, in the order in which they ended."""

    samples: list[Sample] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def lost(self) -> list[Sample]:
        """The requests that nobody answered as a whole."""
        return [sample for sample in self.samples if sample.is_lost]

    @property
    def answered(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.outcome == "ok"]

    @property
    def outcomes(self) -> dict[str, int]:
        """Number of requests by outcome."""
        return dict(Counter(sample.outcome for sample in self.samples))

    @property
    def longest_gap_s(self) -> float:
        """Longest silence inside of an answer that came."""
        return max((sample.longest_gap_s for sample in self.answered), default=0.0)

    def first_byte_s(self, percent: float) -> float:
        """A percentile of the time to the first byte."""
        return percentile((sample.first_byte_after_s for sample in self.answered), percent)

    def between(self, begin_s: float, end_s: float) -> "Report":
        """The requests that should have started in that time, of time.monotonic()."""
        found = [s for s in self.samples if begin_s <= s.meant_s < end_s]
        return Report(found, end_s - begin_s)

    def hurt_for_s(self, event_s: float, usual_s: float) -> float:
        """How long after an event requests were still started that got lost or waited long.

        0 when none was hurt. `usual_s`: time to the first byte without the event.
        """
        limit_s = usual_s + SLOW_S
        hurt = [s for s in self.samples if s.is_lost or s.first_byte_after_s > limit_s]
        return max((s.meant_s - event_s for s in hurt if s.meant_s >= event_s), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """The figures, for machines; times in seconds."""
        return {
            "seconds": round(self.seconds, 3),
            "requests": len(self.samples),
            "lost": len(self.lost),
            "outcomes": self.outcomes,
            "tokens": sum(sample.tokens for sample in self.samples),
            "first_byte_s": {f"p{p}": _rounded(self.first_byte_s(p)) for p in PERCENTILES},
            "longest_gap_s": _rounded(self.longest_gap_s),
        }

    def table(self) -> str:
        """The figures, for people."""
        figures = self.as_json()
        rate = figures["requests"] / self.seconds if self.seconds else 0.0
        outcomes = ", ".join(f"{n} {kind}" for kind, n in sorted(self.outcomes.items()))
        times = ", ".join(f"{name} {_ms(value)}" for name, value in figures["first_byte_s"].items())
        return (
            f"requests        {figures['requests']} in {self.seconds:.1f} s ({rate:.1f}/s): {outcomes}\n"
            f"lost            {figures['lost']}\n"
            f"first byte      {times}\n"
            f"longest silence {_ms(figures['longest_gap_s'])} inside of an answer\n"
            f"tokens          {figures['tokens']}"
        )

    def __str__(self) -> str:
        return json.dumps(self.as_json())


def _rounded(seconds: float) -> float | None:
    return None if math.isnan(seconds) else round(seconds, 6)


def _ms(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
