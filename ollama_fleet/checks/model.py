"""The nouns of verification: `Check`, the `Subject` that it looks at, the `CheckResult` it gives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ollama_fleet.hardware.found import Hardware
from ollama_fleet.planner.plan import BoundSlice, HostPlan
from ollama_fleet.questions import Answers

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class CheckResult:
    """What one check found on one host or slice; `remedy` is empty when all is well.

    `alike`: (what, value) of things that hosts of one fleet should have alike, though each may be well
    by itself.
    """

    host: str
    subject: str
    check: str
    status: Status
    expected: str
    found: str
    remedy: str = ""
    alike: tuple[tuple[str, str], ...] = ()

    @property
    def failed(self) -> bool:
        """Whether this has to be mended; a warning only wants to be known."""
        return self.status == "failed"


@dataclass(frozen=True)
class Asked:
    """A machine that was asked something, whatever it is to be: its name, and its answers."""

    host: str
    answers: Answers

    def text(self, question: str) -> str:
        """What a question printed; empty when it was not asked."""
        return self.answers[question].text if question in self.answers else ""

    def result(
        self,
        subject: str,
        check: str,
        good: bool,
        expected: object,
        found: object,
        remedy: str,
        warns: bool = False,
    ) -> CheckResult:
        """A result for this machine; the remedy is dropped when it is good. `warns`: it is no failure."""
        status: Status = "ok" if good else "warning" if warns else "failed"
        words = (str(expected), str(found), "" if good else remedy)
        return CheckResult(self.host, subject, check, status, *words)


@dataclass(frozen=True)
class Subject:
    """A host under verification: its plan, what it has, which slice got which GPU, its answers."""

    plan: HostPlan
    hardware: Hardware
    slices: tuple[BoundSlice, ...]
    answers: Answers

    @property
    def asked(self) -> Asked:
        """The host without its plan."""
        return Asked(self.plan.host, self.answers)

    def text(self, question: str) -> str:
        """What a question printed; empty when it was not asked."""
        return self.asked.text(question)

    def result(
        self,
        subject: str,
        check: str,
        good: bool,
        expected: object,
        found: object,
        remedy: str,
        warns: bool = False,
    ) -> CheckResult:
        """A result for this host; the remedy is dropped when it is good. `warns`: it is no failure."""
        words = (expected, found, remedy)
        return self.asked.result(subject, check, good, *words, warns=warns)


Judge = Callable[[Subject], Iterable[CheckResult]]


@dataclass(frozen=True)
class Check:
    """One thing to prove: `ask` gives questions by name, `judge` the results of their answers."""

    name: str
    judge: Judge
    ask: Callable[[HostPlan], dict[str, str]] = lambda plan: {}
