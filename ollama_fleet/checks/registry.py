"""All checks, and how a host is asked and judged: the same for every runner."""

from ollama_fleet.checks import (
    certificates,
    clock,
    containers,
    disk,
    drained,
    files,
    gpus,
    isolation,
    metrics,
    mig,
    ports,
    processes,
    programs,
    quarantine,
    release_files,
    selfcheck,
    serving,
    strangers,
    unit_files,
    units,
    ways,
)
from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS, read_hardware
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers

CHECKS: tuple[Check, ...] = (
    serving.START,
    clock.CHECK,
    programs.CHECK,
    disk.CHECK,
    *gpus.CHECKS,
    *mig.CHECKS,
    *containers.CHECKS,
    *units.CHECKS,
    isolation.CHECK,
    ports.CHECK,
    ways.CHECK,
    *certificates.CHECKS,
    metrics.CHECK,
    drained.CHECK,
    release_files.CHECK,
    selfcheck.CHECK,
    *files.CHECKS,
    *unit_files.CHECKS,
    processes.CHECK,
    *strangers.CHECKS,
    quarantine.CHECK,
    *serving.CHECKS,
    serving.TIDY,
    clock.END,
)


def verification_questions(plan: HostPlan) -> dict[str, str]:
    """Everything that the checks ask, in order: generations start first, who holds memory comes last."""
    first = serving.START.ask(plan)
    asked = {name: text for check in CHECKS for name, text in check.ask(plan).items()}
    return {**first, **HARDWARE_QUESTIONS, **asked}


def judge(plan: HostPlan, answers: Answers) -> list[CheckResult]:
    """Results of every check, in the order of CHECKS."""
    hardware = read_hardware(answers)
    try:
        slices = bind(plan, hardware)
    except CannotBindError as error:
        subject = Subject(plan, hardware, (), answers)
        broken = subject.result(
            "host", "plan", False, "every slice has its GPUs", error, "see above"
        )
        return [*(result for check in gpus.CHECKS for result in check.judge(subject)), broken]
    subject = Subject(plan, hardware, slices, answers)
    return [result for check in CHECKS for result in check.judge(subject)]
