"""What a host says of its NVIDIA driver, and the commands that prove it, for the steps that change or boot
it."""

from collections.abc import Iterator

from pyinfra import host
from pyinfra.api import FunctionCommand
from pyinfra.api.command import PyinfraCommand

from ollama_fleet.driver.change import forget_before, steps_back
from ollama_fleet.driver.decision import decide
from ollama_fleet.driver.questions import questions
from ollama_fleet.driver.state import State, read_state
from ollama_fleet.host.answers import ask, no_answer
from ollama_fleet.host.scripts import Script, change_script, fail_host
from ollama_fleet.planner.plan import HostPlan


def asked(plan: HostPlan) -> dict[str, str]:
    """For preflight, which asks ahead."""
    return questions(plan.provision.driver)


def problems(plan: HostPlan, state: State) -> list[str]:
    """For preflight: what keeps the driver that is asked for from this host."""
    return list(decide(plan.provision.driver, state).problems)


def driver_state(plan: HostPlan) -> State | None:
    """The driver of the host that this operation runs on; None when it gave no answer."""
    wanted = asked(plan)
    answers = ask(wanted)
    return read_state(answers) if wanted.keys() <= answers.keys() else None


def proof_commands(plan: HostPlan) -> Iterator[PyinfraCommand]:
    """Commands that fail the host unless its driver is as asked for, and go back where there is a way."""
    state = driver_state(plan)
    if state is None:
        yield no_answer()
        return
    decision = decide(plan.provision.driver, state)
    # A driver that shows no GPU is loaded all the same, and no package would mend it: but the one before did.
    if decision.action == "leave" and (state.works or not state.kept):
        if state.kept:
            yield Script(change_script([forget_before()]))
        host.noop("; ".join(decision.why))
        return
    if state.kept:
        environment = plan.provision.environment
        yield Script(change_script(steps_back(plan, state), environment))
        return
    wrong = [*decision.problems, *(f"the driver is not ready: {why}" for why in decision.why)]
    yield FunctionCommand(fail_host, (wrong,), {})
