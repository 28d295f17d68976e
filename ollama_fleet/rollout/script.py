"""The script that changes a host slice by slice: out of service, changed, proved, back in service.

The host does all of it alone. When a slice does not serve with what was written, everything that this
script wrote is put back, and the host fails. Pure text; `host.rolling` says what differs.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ollama_fleet.convergence import MANIFEST, Difference
from ollama_fleet.draining import PENDING_DIR, drain, unmark
from ollama_fleet.planner.plan import WARM_UNITS, HostPlan
from ollama_fleet.rollout.groups import Place, groups_of
from ollama_fleet.rollout.proof import KEPT_DIR, functions, prove
from ollama_fleet.templating import UNIT_DIR, HostFile


@dataclass(frozen=True)
class Change:
    """What differs on a host whose slices serve, and the places that its slices have now and are to have,
    by unit."""

    plan: HostPlan
    difference: Difference
    found: Mapping[str, Place]
    wanted: Mapping[str, Place]

    @property
    def removed(self) -> list[str]:
        """Slices that go for good."""
        return [unit for unit in self.difference.remove_units if unit in self.found]

    @property
    def restarted(self) -> list[str]:
        """Slices that serve now and start anew, in the host's order."""
        return [item.unit for item in self.plan.slices if item.unit in self.difference.restart]

    @property
    def away(self) -> list[str]:
        """Names of all slices that leave service for a while, or for good."""
        return [name_of(unit) for unit in (*self.restarted, *self.removed)]

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Units that change together, in their order; some may be removed ones."""
        return groups_of(self.restarted, self.removed, self.wanted, self.found)

    def ports_of(self, units: Iterable[str]) -> list[int]:
        """Where these listen, before and after."""
        places = [places.get(unit) for unit in units for places in (self.found, self.wanted)]
        return sorted({place.port for place in places if place})


def name_of(unit: str) -> str:
    """The slice of a unit."""
    return unit.removeprefix("ollama-").removesuffix(".service")


def rolling_steps(
    change: Change,
    put: Callable[[HostFile], str],
    begin: Sequence[str],
    end: Sequence[str],
    hop: Sequence[str],
) -> list[str]:
    """Steps of the change script. `put` gives the shell that writes a file; `begin` comes when common
    files are written, `end` when every slice serves. `hop`: shell that tells the hop where slices listen,
    before the first group, after each of them, and at the end."""
    files = change.difference.write
    common = [file for file in files if file.restarts not in change.restarted]
    numbered = list(enumerate(change.groups, start=1))
    return [
        functions(change.plan),
        f"UNITS={UNIT_DIR} COMMON={shlex.quote(' '.join(file.path for file in common))}",
        f"rm -rf {KEPT_DIR}",
        f"keep {_words([MANIFEST, *(file.path for file in files)])}",
        *(_function(f"hop_{number}", [":", text]) for number, text in enumerate(hop)),
        *(
            _functions_of(number, group, change, put, hop[number] != hop[number - 1])
            for number, group in numbered
        ),
        *map(put, common),
        *begin,
        "systemctl daemon-reload",
        *(f"change_{number} || back {number}" for number, _ in numbered),
        *end,
        *([f"hop_{len(hop) - 1}"] if hop[-1] != hop[-2] else []),
        f"rm -rf {KEPT_DIR}",
    ]


def _functions_of(
    number: int,
    group: Sequence[str],
    change: Change,
    put: Callable[[HostFile], str],
    moves: bool,
) -> str:
    """Of one group: out of service, changed, and back to what was before."""
    plan = change.plan
    items = [item for item in plan.slices if item.unit in group]
    units = [item.unit for item in items]
    own = [file for file in change.difference.write if file.restarts in units]
    out = drain(group, change.ports_of(group), plan.provision.drain_timeout_s, plan.notice_s)
    started = [
        *(f"{put(file)} || return 1" for file in own),
        "systemctl daemon-reload || return 1",
        *([f"begin {_words(units)} || return 1"] if units else []),
        *(f"failed={item.name}\n{prove(item)} || return 1" for item in items),
        *([f"hop_{number} || return 1"] if moves else []),
    ]
    served = [unmark([item.name for item in items], plan.notice_s), _forget(units)] if items else []
    failed = shlex.quote(", ".join(map(name_of, units or group)))
    return "\n".join(
        [
            _function(f"out_{number}", [":", out]),
            _function(f"in_{number}", [f"failed={failed}", *started]),
            _function(
                f"change_{number}",
                [f"out_{number}", f"in_{number} || {{ refused=$failed; return 1; }}", *served],
            ),
            _function(f"undo_{number}", _undo(number, group, own, change, moves)),
        ]
    )


def _undo(
    number: int, group: Sequence[str], own: Sequence[HostFile], change: Change, moves: bool
) -> Sequence[str]:
    """What was there before serves again, whatever becomes of its proof: health is the gateways' matter."""
    proofs = [
        f"failed={shlex.quote(name_of(unit))}\n"
        f"prove_as_before {shlex.quote(unit)} {change.found[unit].port} "
        f"{shlex.quote(f'{WARM_UNITS}{name_of(unit)}.service')} || well=no"
        for unit in group
        if unit in change.found
    ]
    return [
        f"well=yes\nout_{number}",
        f"put_back {_words(file.path for file in own)}" if own else ":",
        "systemctl daemon-reload",
        f"begin {_words(group)} || well=no",
        *proofs,
        *([f"hop_{number - 1} || well=no"] if moves else []),
        unmark(list(map(name_of, group)), change.plan.notice_s),
        _forget(group),
        "[ $well = yes ]",
    ]


def _forget(units: Iterable[str]) -> str:
    """Their restart is over, and no later run has to do it."""
    return f"rm -f {_words(f'{PENDING_DIR}/{unit}' for unit in units)}"


def _function(name: str, steps: Iterable[str]) -> str:
    return "\n".join([f"{name}() {{", *steps, "}"])


def _words(values: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, values))
