"""Changes of slices that serve behind a gateway: slice by slice on a host, and host after host in a run.

A step that takes slices out of service hands its commands to `InTurn`, which waits for the host's turn
and gives it back, whatever becomes of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import Host, State, StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.connectors.util import CommandOutput

from ollama_fleet.convergence import Difference
from ollama_fleet.draining import MARKS_DIR, unmark
from ollama_fleet.fetching import models_unit, wait_script
from ollama_fleet.gateway.hop import port_files
from ollama_fleet.gateway.machine import MACHINE_QUESTIONS, Machine, machine_of
from ollama_fleet.gateway.places import HOP_UNIT
from ollama_fleet.host.converge import converge_script, rolling_script
from ollama_fleet.host.scripts import Script, fail_host, put_file
from ollama_fleet.planner.plan import BoundSlice, HostPlan
from ollama_fleet.planner.rollout import away_words
from ollama_fleet.questions import Answers
from ollama_fleet.release.script import switch
from ollama_fleet.release.state import InstalledReleases, install_questions
from ollama_fleet.rollout import groups
from ollama_fleet.rollout.ports import at_ports
from ollama_fleet.rollout.proof import returned
from ollama_fleet.rollout.script import Change
from ollama_fleet.rollout.turns import Turns
from ollama_fleet.watching.places import HEALTH_UNIT

SLICES = "slices"
MARKED = "rollout.marked"
CURRENT = "current"

# Of this run; made when the first host asks.
_turns: list[Turns] = []
_said: set[str] = set()
LAST_WORDS = 200


def turns_of(plan: HostPlan) -> Turns | None:
    """The turns of this run; None where slices serve without a gateway."""
    if plan.rollout is None or plan.hop is None:
        return None
    if not _turns:
        _turns.append(Turns(plan.rollout))
    return _turns[0]


def needs_no_turn(plan: HostPlan, step: str) -> None:
    """Whoever waits for a turn in this step need not wait for this host."""
    turns = turns_of(plan)
    if turns and host.state.is_executing:
        turns.pass_by(step, plan.host, _expected(host.state))


def _expected(state: State) -> list[str]:
    """Hosts that may yet ask for a turn."""
    plans = [one.data.get("plan") for one in state.inventory.get_active_hosts()]
    return [plan.host for plan in plans if plan and plan.hop]


class InTurn(StringCommand):
    """Commands that take slices out of service and back, done when it is the host's turn.

    `commands` is called then, so that what it asks is of that moment. `comes_back` False: a later step
    brings the slices back.
    """

    def __init__(
        self,
        plan: HostPlan,
        step: str,
        slices: Sequence[str],
        commands: Callable[[], Iterable[PyinfraCommand]],
        comes_back: bool = True,
    ) -> None:
        super().__init__("sh", "-s")
        self.plan, self.step, self.commands, self.comes_back = plan, step, commands, comes_back
        self.slices = [f"{plan.host}.{name}" for name in slices]

    def execute(self, state: State, host: Host, connector_arguments: Any) -> Any:
        turns = turns_of(self.plan)
        name = self.plan.host
        if turns is None:
            return self._do(state, host, connector_arguments)
        refused = turns.take(self.step, name, self.slices, _expected(state))
        if refused:
            fail_host(state, host, [refused])
            return False, CommandOutput([])
        done, output, comes_back = False, CommandOutput([]), self.comes_back
        try:
            done, output = self._do(state, host, connector_arguments)
        finally:
            why = None if done else _last_words(output)
            turns.give(self.step, name, why, comes_back or not done)
        return done, output

    def _do(self, state: State, host: Host, arguments: Any) -> tuple[bool, CommandOutput]:
        lines: list[Any] = []
        for command in self.commands():
            result: Any = command.execute(state, host, arguments.copy())
            done, output = result if isinstance(result, tuple) else (result is not False, ())
            lines += output
            if not done:
                return False, CommandOutput(lines)
        return True, CommandOutput(lines)


def _last_words(output: CommandOutput) -> str:
    lines = [line for line in output.stderr_lines if line.strip()]
    return lines[-1].strip()[:LAST_WORDS] if lines else "see above"


def rolling_questions(plan: HostPlan) -> dict[str, str]:
    """What is asked beside the files and units where slices change one by one."""
    return {
        **groups.QUESTION,
        **MACHINE_QUESTIONS,
        MARKED: f"ls {MARKS_DIR} 2>/dev/null; true",
        CURRENT: install_questions(plan.ollama)[CURRENT],
    }


def slices_changed(
    plan: HostPlan,
    difference: Difference,
    bound: Sequence[BoundSlice],
    answers: Answers,
    devices: bool,
    left: Mapping[str, str],
) -> list[PyinfraCommand]:
    """Commands that bring the slices of a host to the plan; none where they are."""
    found, wanted = groups.read_places(answers), groups.wanted_places(bound)
    change = Change(plan, difference, found, wanted)
    last = _last_steps(plan, answers, change)
    hop = hop_states(change, machine_of(answers))
    if not change.away:
        last += [hop[-1]] if hop[-1] != hop[0] else []
        text = converge_script(difference, devices, left, last)
        marked = [item.name for item in plan.slices if item.name in answers[MARKED].lines]
        if marked:  # by an earlier step, which leaves it to this one to bring them back
            return [InTurn(plan, SLICES, marked, lambda: [Script(text)])]
        needs_no_turn(plan, SLICES)
        return [Script(text)] if difference or devices or left or last else []
    _warn(plan, change)
    text = rolling_script(change, devices, left, last, hop)
    return [
        Script(_downloads_ended(plan)),
        InTurn(plan, SLICES, change.away, lambda: [Script(text)]),
    ]


def _warn(plan: HostPlan, change: Change) -> None:
    """Once in a run: when the change is shown, or else when it is made."""
    lines = [line for s in plan.slices if s.name in change.away for line in away_words(plan, s)]
    for line in lines:
        if line not in _said:
            host.log_styled(line, fg="yellow")
    _said.update(lines)


def _last_steps(plan: HostPlan, answers: Answers, change: Change) -> list[str]:
    """When all of them serve: the release that they run is the current one, and no mark of a run is left
    that was killed."""
    marked = [name for name in answers[MARKED].lines if name not in change.away]
    again = [item for item in plan.slices if item.name in marked]
    gone = [name for name in marked if name not in {item.name for item in again}]
    current = answers[CURRENT].text.strip()
    found = InstalledReleases(arch="", machine="", prefixes={}, current=current)
    return [
        *switch(plan.ollama, found),
        *([unmark(gone, plan.notice_s)] if gone else []),
        *returned(plan, again),
    ]


def hop_states(change: Change, machine: Machine) -> list[str]:
    """Shell that tells the hop where slices listen: before the first group, after each, and at the end."""
    changed: list[str] = []
    plans = [at_ports(change.plan, change.found, ())]
    for group in change.groups:
        changed += group
        plans.append(at_ports(change.plan, change.found, changed))
    return [_tell_hop(plan, machine) for plan in [*plans, change.plan]]


def _tell_hop(plan: HostPlan, machine: Machine) -> str:
    puts = [f"{put_file(file)} || return 1" for file in port_files(plan, machine)]
    return "\n".join(
        [
            *puts,
            f"systemctl reload-or-restart {HOP_UNIT} || return 1",
            f"systemctl restart {HEALTH_UNIT} || return 1",
        ]
    )


def _downloads_ended(plan: HostPlan) -> str:
    """A slice that had to wait for its model would be away for as long."""
    unit = models_unit(plan)
    return f"systemctl is-active --quiet {unit.unit} || exit 0\n{wait_script(unit)}"
