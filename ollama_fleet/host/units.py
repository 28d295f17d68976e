"""The files and units of a host: one fact to compare them, one script to change what differs."""

import difflib
import shlex
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, operation

from ollama_fleet.convergence import (
    MANIFEST,
    STOCK_UNIT,
    Difference,
    FilesAndUnits,
    UnitState,
    compare,
)
from ollama_fleet.draining import PENDING_DIR
from ollama_fleet.fetching import FETCH_SCRIPT, MODELS_JOB
from ollama_fleet.hardware import HARDWARE_QUESTIONS, read_hardware
from ollama_fleet.host.answers import HostAnswers, ask, no_answer
from ollama_fleet.host.models import MAKE_ACCOUNT
from ollama_fleet.host.scripts import Script, change_script, fail_host, put_file
from ollama_fleet.mig.layout import GPUS_SCRIPT, LAYOUT_FILE
from ollama_fleet.mig.leftovers import LEFTOVER_QUESTION, leftovers, remove_leftovers
from ollama_fleet.mig.parted import PARTED_FILE
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.plan import DEVICES_UNIT, LOADER_UNIT, SCRUB_TIMER, USER, HostPlan
from ollama_fleet.questions import Answers
from ollama_fleet.render import DEVICES_SCRIPT, render_host
from ollama_fleet.templating import MARKER, UNIT_DIR, HostFile

OWNED = (
    f"{UNIT_DIR}/ollama-*.service",
    f"{UNIT_DIR}/ollama-*.service.d/*.conf",
    f"{UNIT_DIR}/ollama.target",
    f"{UNIT_DIR}/{SCRUB_TIMER}",
    "/etc/sysusers.d/ollama.conf",
    "/etc/tmpfiles.d/ollama.conf",
    FETCH_SCRIPT,
    MODELS_JOB,
    DEVICES_SCRIPT,
    GPUS_SCRIPT,
    LAYOUT_FILE,
    PARTED_FILE,
)
NOTHING_LEFT: Mapping[str, str] = {}
UNIT_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")


def asked(plan: HostPlan) -> dict[str, str]:
    """What to ask a host about our files and units."""
    units = ("ollama.target", SCRUB_TIMER, *(item.unit for item in plan.slices))
    paths = " ".join(path for path, _ in plan.directories)
    owned = "\n".join(f"{USER} {mode.lstrip('0')} {path}" for path, mode in plan.directories)
    return {
        **HARDWARE_QUESTIONS,
        "files": f"""set -- $(grep -lsF '{MARKER}' {" ".join(OWNED)})
[ $# -eq 0 ] || {{ stat -c '%a %n' "$@" && sha256sum "$@"; }}""",
        "units": f"systemctl show -p {','.join(UNIT_PROPERTIES)} "
        f"{' '.join((*units, DEVICES_UNIT, LOADER_UNIT, STOCK_UNIT))}",
        "pending": f"ls {PENDING_DIR} 2>/dev/null; true",
        "account": f"getent passwd {USER} >/dev/null && [ \"$(stat -c '%U %a %n' "
        f"{paths})\" = '{owned}' ]",
        "manifest": f"cat {MANIFEST} 2>/dev/null; true",
        **LEFTOVER_QUESTION,
    }


def read_found(answers: Answers) -> FilesAndUnits:
    """Answers to `asked` (but for the hardware)."""
    return FilesAndUnits(
        files=_files(answers["files"].lines),
        units=_units(answers["units"].text),
        interrupted=frozenset(answers["pending"].lines),
        has_account=answers["account"].code == 0,
        manifest=answers["manifest"].text and answers["manifest"].text.rstrip("\n") + "\n",
    )


def _files(lines: list[str]) -> dict[str, tuple[str, str]]:
    """`644 /path` lines, then `<sha256>  /path` lines."""
    rows = [line.split(maxsplit=1) for line in lines]
    modes = {path: first for first, path in rows if len(first) != 64}
    return {path: (modes[path], first) for first, path in rows if len(first) == 64}


def _units(text: str) -> dict[str, UnitState]:
    """Blocks of `Key=value` lines, one block per unit."""
    states = {}
    for block in text.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in values:
            states[values["Id"]] = UnitState(
                values.get("LoadState", ""),
                values.get("ActiveState", ""),
                values.get("UnitFileState", ""),
                values.get("NeedDaemonReload") == "yes",
            )
    return states


def converge_script(
    difference: Difference, devices: bool = False, left: Mapping[str, str] = NOTHING_LEFT
) -> str:
    """Shell that does what `difference` says, in the order that disturbs least; `devices`: the boot
    script of the devices has something to put right, though no slice starts; `left`: drop-ins of
    units that are not on an instance any more."""
    restart = list(difference.restart)
    begun = [*restart, *difference.start]
    asks_devices = any(unit.endswith(".service") for unit in begun)  # the target alone does not
    steps = [
        *_announce(begun),
        *_remove(difference),
        *remove_leftovers(left),
        *map(put_file, difference.write),
        *([MAKE_ACCOUNT] if difference.make_account else []),
        "systemctl daemon-reload",
        *([f"systemctl enable --quiet {_words(difference.enable)}"] if difference.enable else []),
        *_begin(restart, begun),
        *([f"systemctl start {DEVICES_UNIT} || :"] if devices and not asks_devices else []),
    ]
    if difference.manifest is not None:
        steps.append(put_file(HostFile(MANIFEST, difference.manifest)))
    return change_script(steps)


def _announce(units: list[str]) -> list[str]:
    if not units:
        return []
    return [f"mkdir -p {PENDING_DIR} && (cd {PENDING_DIR} && touch {_words(units)})"]


def _remove(difference: Difference) -> list[str]:
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
        directories = {path.rpartition("/")[0] for path in difference.delete}
        droppins = sorted(path for path in directories if path.endswith(".d"))
        own = [path for path in droppins if path.startswith(f"{UNIT_DIR}/")]
        steps += [f"rmdir --ignore-fail-on-non-empty {shlex.quote(path)}" for path in own]
    return steps


def _begin(restart: list[str], begun: list[str]) -> list[str]:
    """Stop all that changed before any of it starts: two slices may have swapped GPU or port."""
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


@operation()
def units_converged(plan: HostPlan) -> Generator[Any, None, None]:
    """
    Ensure a host has exactly the planned slices: their units, running, and no others of ours.

    Only a slice whose own unit changed restarts. One exec to compare, one script to change.

    + plan: what the host is to become; its GPUs are found when this executes

    **Example:**

    .. code:: python

        units_converged(name="Run the slices", plan=plan)
    """
    questions = asked(plan)
    answers = ask(questions)
    if not questions.keys() <= answers.keys():
        yield no_answer()
        return
    try:
        hardware = read_hardware(answers)
        bound = bind(plan, hardware)
    except CannotBindError as error:
        yield FunctionCommand(fail_host, (str(error).splitlines(),), {})
        return
    found, left = read_found(answers), leftovers(answers, bound)
    # Who was handed what is not its own starts anew, as if a run had not got so far.
    found = replace(found, interrupted=found.interrupted | left.keys())
    difference = compare(render_host(plan, bound, hardware), found)
    devices = plan.provision.driver.manage and any(
        gpu.persistence is False for gpu in hardware.gpus
    )
    if difference or devices or left:
        _show(difference)
        yield Script(converge_script(difference, devices, left))
    else:
        host.noop(f"{len(plan.slices)} slices are as planned")


def _show(difference: Difference) -> None:
    """With --diff: every file that changes, as text. Only then are the old texts fetched."""
    if not host.state.config.DIFF:
        return
    paths = [*(file.path for file in difference.write), *difference.delete]
    texts = {path: f"cat {shlex.quote(path)} 2>/dev/null; true" for path in paths}
    old = host.get_fact(HostAnswers, questions=texts)
    new = {file.path: file.text for file in difference.write}
    for path in paths:
        before = old[path].text.splitlines() if path in old else []
        lines = difflib.unified_diff(
            before, new.get(path, "").splitlines(), f"{path} (is)", f"{path} (will be)", lineterm=""
        )
        for line in lines:
            logger.info(f"{host.print_prefix}{line}")
