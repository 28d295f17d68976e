"""The script that makes a host's files and units what they are to be; pure text."""

import shlex
from collections.abc import Mapping, Sequence

from ollama_fleet.convergence import MANIFEST, STOCK_UNIT, Difference
from ollama_fleet.draining import PENDING_DIR
from ollama_fleet.host.models import MAKE_ACCOUNT
from ollama_fleet.host.scripts import change_script, put_file
from ollama_fleet.mig.leftovers import remove_leftovers
from ollama_fleet.planner.plan import DEVICES_UNIT
from ollama_fleet.rollout.script import Change, rolling_steps
from ollama_fleet.selfcheck import places as selfcheck
from ollama_fleet.templating import UNIT_DIR, HostFile

NOTHING_LEFT: Mapping[str, str] = {}


def converge_script(
    difference: Difference,
    devices: bool = False,
    left: Mapping[str, str] = NOTHING_LEFT,
    last: Sequence[str] = (),
) -> str:
    """Shell that does what `difference` says, in the order that disturbs least; `devices`: the boot
    script of the devices has something to put right, though no slice starts; `left`: drop-ins of
    units that are not on an instance any more; `last`: steps after all that."""
    restart = list(difference.restart)
    begun = [*restart, *difference.start]
    asks_devices = any(unit.endswith(".service") for unit in begun)  # the target alone does not
    steps = [
        *announce(begun),
        *remove(difference),
        *remove_leftovers(left),
        *map(put_file, difference.write),
        *([MAKE_ACCOUNT] if difference.make_account else []),
        "systemctl daemon-reload",
        *([f"systemctl enable --quiet {_words(difference.enable)}"] if difference.enable else []),
        *start(restart, begun),
        *([f"systemctl start {DEVICES_UNIT} || :"] if devices and not asks_devices else []),
        *last,
        *_manifest(difference),
    ]
    return change_script(steps)


def rolling_script(
    change: Change,
    devices: bool = False,
    left: Mapping[str, str] = NOTHING_LEFT,
    last: Sequence[str] = (),
    hop: Sequence[str] = (),
) -> str:
    """The same for a host whose slices serve behind a gateway: one after the other, each proved, and all
    as it was before when one does not serve. `hop`: see `rolling_steps`."""
    difference = change.difference
    new = list(difference.start)
    begin = [*remove_leftovers(left), *([MAKE_ACCOUNT] if difference.make_account else [])]
    end = [
        *announce(new),
        *remove(difference),
        "systemctl daemon-reload",
        *([f"systemctl enable --quiet {_words(difference.enable)}"] if difference.enable else []),
        *start([], new),
        *([f"systemctl start {DEVICES_UNIT} || :"] if devices else []),
        *last,
        *_manifest(difference),
    ]
    return change_script(rolling_steps(change, put_file, begin, end, hop))


def _manifest(difference: Difference) -> list[str]:
    if difference.manifest is None:
        return []
    return [put_file(HostFile(MANIFEST, difference.manifest))]


def announce(units: list[str]) -> list[str]:
    """Steps: whatever happens, these are started by this run or by a later one."""
    if not units:
        return []
    return [f"mkdir -p {PENDING_DIR} && (cd {PENDING_DIR} && touch {_words(units)})"]


def remove(difference: Difference) -> list[str]:
    """Steps: the units and files that are not wanted any more go."""
    steps = []
    if difference.stop_stock:
        steps.append(f"say 'stopping the stock {STOCK_UNIT}'")
        steps.append(f"systemctl disable --now --quiet {STOCK_UNIT}")
    if difference.remove_units:
        steps.append(f"say 'removing {_words(difference.remove_units)}'")
        steps.append(f"systemctl disable --now --quiet {_words(difference.remove_units)} || :")
        announced = [f"{PENDING_DIR}/{unit}" for unit in difference.remove_units]
        steps.append(f"rm -f {_words(announced)}")
    if difference.delete:
        steps.append(f"rm -f {_words(difference.delete)}")
        if selfcheck.SCRIPT in difference.delete:
            # Else the last look would be told for ever, where there is monitoring.
            steps.append(f"rm -rf {selfcheck.METRICS} {selfcheck.KEPT_DIR} {selfcheck.RUN_DIR}")
        directories = {path.rpartition("/")[0] for path in difference.delete}
        droppins = sorted(path for path in directories if path.endswith(".d"))
        own = [path for path in droppins if path.startswith(f"{UNIT_DIR}/")]
        steps += [f"rmdir --ignore-fail-on-non-empty {shlex.quote(path)}" for path in own]
    return steps


def start(restart: list[str], begun: list[str]) -> list[str]:
    """Steps: stop all that changed before any of it starts: two slices may have swapped GPU or port."""
    steps = []
    if restart:
        steps += [f"say 'restarting {_words(restart)}'", f"systemctl stop {_words(restart)}"]
    new = [unit for unit in begun if unit not in restart]
    if new:
        steps.append(f"say 'starting {_words(new)}'")
    if begun:
        steps.append(f"""
systemctl reset-failed {_words(begun)} 2>/dev/null || :
if ! systemctl start {_words(begun)} 2>/dev/null; then
    for unit in {DEVICES_UNIT} {_words(begun)}; do
        case $unit in
        {DEVICES_UNIT}) systemctl is-failed --quiet "$unit" || continue ;;
        *) ! systemctl is-active --quiet "$unit" || continue ;;
        esac
        echo "$unit does not start; its last words:" >&2
        journalctl --unit "$unit" --lines 15 --no-pager --output cat >&2 || :
    done
    exit 1
fi
(cd {PENDING_DIR} && rm -f {_words(begun)})""")
    return steps


def _words(values: list[str] | tuple[str, ...]) -> str:
    return " ".join(map(shlex.quote, values))
