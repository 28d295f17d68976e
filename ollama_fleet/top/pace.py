"""How often a machine is asked: as wished, and so seldom that it costs at most BUDGET of all its CPUs.

The program on the machine counts its own CPU time; a dear frame stretches the interval. Pure.
"""

from collections import deque
from dataclasses import dataclass, field

from ollama_fleet.top.frame import Frame
from ollama_fleet.top.model import Cost
from ollama_fleet.top.program import QUIET_S

BUDGET = 0.01
DEFAULT_S = 2.0
# Longer, and the program takes itself for forgotten.
LONGEST_S = QUIET_S / 2
# Every so often a full frame. CPU time is counted in clock ticks: a mean over several frames is told.
FULL_EVERY_S = 30.0
FRAMES = 16


@dataclass
class Pace:
    """The pace of one machine. `wished_s` is what the user asked for."""

    wished_s: float
    spent: deque[float] = field(default_factory=lambda: deque(maxlen=FRAMES + 1))
    cpus: int | None = None
    full_at: float | None = None

    def take(self, frame: Frame) -> None:
        """Note what a frame cost. The first one's is unknown before there is a second; it counts whole."""
        self.cpus = frame.cpus or self.cpus
        if frame.spent_s is not None:
            if not self.spent or frame.spent_s < self.spent[-1]:
                self.spent.clear()
                self.spent.append(0.0)
            self.spent.append(frame.spent_s)

    @property
    def frame_s(self) -> float:
        """CPU seconds of a frame, as a mean of the last ones."""
        if len(self.spent) < 2:
            return 0.0
        return (self.spent[-1] - self.spent[0]) / (len(self.spent) - 1)

    @property
    def every_s(self) -> float:
        """Seconds from the start of one frame to that of the next."""
        least = self.frame_s / (BUDGET * (self.cpus or 1))
        return min(LONGEST_S, max(self.wished_s, least))

    @property
    def cost(self) -> Cost:
        """For people and programs."""
        share = self.frame_s / self.every_s / self.cpus * 100 if self.cpus else None
        return Cost(self.frame_s, self.every_s, share)

    def wants_full(self, now: float) -> bool:
        """Whether the frame that is asked for at `now` (a steady clock) is to be a full one."""
        if self.full_at is None or now - self.full_at >= FULL_EVERY_S:
            self.full_at = now
            return True
        return False

    def begin_anew(self) -> None:
        """The program was started again: its first frame is a full one, and it counts from zero."""
        self.full_at = None
        self.spent.clear()
