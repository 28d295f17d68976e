"""The end of a run, however it ends: the table of its checks, who failed where and why, and reports.

`config.py` calls `watch_run` before anything is connected to, so that machines that are away are known,
too. Nothing here ends a run or changes its exit code.
"""

import atexit
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pyinfra.api import Host, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import BaseStateCallback, StateStage
from pyinfra.context import ctx_state

from ollama_fleet.checks.machine import Machine
from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.host import results
from ollama_fleet.host.transport import why_unreached

DEPLOY = "deploy.py"


class Watch(BaseStateCallback):
    """Notes who cannot be reached, and at which step a host fails."""

    @staticmethod
    def host_connect(state: State, host: Host) -> None:
        results.note_reached(host.name)

    @staticmethod
    def host_connect_error(state: State, host: Host, error: Exception) -> None:
        results.note_unreached(host.name, why_unreached(str(error)))

    @staticmethod
    def operation_host_start(state: State, host: Host, op_hash: str) -> None:
        results.note_words(host.name, ())  # those of a step before are not this one's

    @staticmethod
    def operation_host_error(state: State, host: Host, op_hash: str, *tries: int) -> None:
        step = ", ".join(sorted(state.get_op_meta(op_hash).names))
        results.note_failure(host.name, step)


def watch_run() -> None:
    """Watch the run that begins, and say at its end how it went."""
    state: State | None = ctx_state.get()  # type: ignore[no-untyped-call]
    if state is None:  # pyinfra is used as a library
        return
    _note_options()
    begin = state.init

    def init(*arguments: Any, **options: Any) -> None:
        begin(*arguments, **options)  # which forgets handlers
        state.add_callback_handler(Watch())  # type: ignore[no-untyped-call]

    state.init = init  # type: ignore[method-assign]
    began = time.monotonic()
    started = datetime.now(UTC).isoformat(timespec="seconds")
    atexit.register(lambda: _close(state, started, time.monotonic() - began))


def _close(state: State, started: str, seconds: float) -> None:
    if not state.initialised:  # the inventory was wrong
        return
    inventory = _option("inventory") or "inventory"
    outcomes, failed = _outcomes(state)
    outcome = Outcome(str(inventory), started, seconds, "full", tuple(outcomes))
    _show(outcome, failed, len(list(_machines(state))))
    if unaware := _unaware_gateways(state):
        print(unaware, file=sys.stderr)
    if _is_deploy(state, bool(failed)) and outcome.hosts:
        _keep(Path(str(inventory)), outcome, _folder(state))


def _outcomes(state: State) -> tuple[list[HostOutcome], dict[str, str]]:
    """What is known of each machine, and why some failed, by the names of the inventory."""
    outcomes, failed = [], {}
    for machine, host in _machines(state):
        found = results.seen(machine.name)
        if host in state.failed_hosts:
            why = _checks(found) or results.why_failed(host.name)
            failed[machine.name] = why
            found = found or (HostOutcome(machine.name, machine.roles) if machine.roles else None)
            found = replace(found, error=why) if found and not _checks(found) else found
        if found:
            roles = found.roles or machine.roles
            outcomes.append(replace(found, roles=roles, address=machine.address))
    return outcomes, failed


def _checks(found: HostOutcome | None) -> str:
    """The checks that failed a machine, in words."""
    wrong = [f"{one.subject} {one.check}" for one in found.results if one.failed] if found else []
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return f"verification failed: {', '.join(wrong[:5])}{more}" if wrong else ""


def _machines(state: State) -> Iterator[tuple[Machine, Host]]:
    """Those that this run is for. An inventory in which a plan cannot be made has said so."""
    from ollama_fleet.host.machines import machine_of

    for host in state.inventory:
        if state.is_host_in_limit(host):
            try:
                yield machine_of(host), host
            except PyinfraError:
                yield Machine(host.name), host


def _unaware_gateways(state: State) -> str:
    """Gateways that --limit left out, where it changed hosts behind them."""
    out = [host for host in state.inventory if not state.is_host_in_limit(host)]
    gateways = [host.name for host in out if host.data.get("gateway_plan")]
    changed = [
        machine.name
        for machine, host in _machines(state)
        if machine.plan and machine.plan.hop and _was_changed(state, host)
    ]
    if not (gateways and changed):
        return ""
    limits = " ".join(f"--limit {name}" for name in gateways)
    what = f"the gateway on {', '.join(gateways)} is not in this run, and not told of changes on"
    return f"{what} {', '.join(changed)}; deploy with `{limits}`, or to all"


def _was_changed(state: State, host: Host) -> bool:
    metas = [data.operation_meta for data in state.ops[host].values()]
    return any(meta.is_complete() and meta.did_change() for meta in metas)


def _show(outcome: Outcome, failed: dict[str, str], asked: int) -> None:
    from ollama_fleet.report.closing import print_failed
    from ollama_fleet.report.table import print_results

    if found := list(outcome.results):
        print_results(found, sys.stderr)
    if failed:
        print_failed(failed, asked, sys.stderr)


def _keep(inventory: Path, outcome: Outcome, folder: Path | None) -> None:
    """Reports where they are asked for by `--data report=FOLDER`, and the run for later ones."""
    from ollama_fleet.report.files import OF_A_DEPLOY, write_reports
    from ollama_fleet.report.kept_runs import earlier_runs, keep_run

    try:
        if folder:
            files = {form: folder / name for form, name in OF_A_DEPLOY.items()}
            write_reports(outcome, files, earlier_runs(inventory))
            print(f"Reports are in {folder}", file=sys.stderr)
    except OSError as error:
        print(f"{folder}: no reports: {error.strerror}", file=sys.stderr)
    if wrong := keep_run(inventory, outcome):
        print(wrong, file=sys.stderr)


def _is_deploy(state: State, has_failed: bool) -> bool:
    """Whether the run was to change hosts, and came to it or to its failure before. One that brings
    gateways their keys proves nothing."""
    operations = [Path(str(name)).name for name in _option("operations") or ()]
    keys_alone = any(host.data.get("gateway_part") for host in state.inventory)
    meant = DEPLOY in operations and not _option("dry") and not keys_alone
    return meant and (state.current_stage >= StateStage.Execute or has_failed)


def _folder(state: State) -> Path | None:
    found = next((host.data.get("report") for host in state.inventory), None)
    return Path(str(found)).expanduser() if found else None


_options: dict[str, Any] = {}


def _option(name: str) -> Any:
    """An option of pyinfra's command line. At the end of the process click knows it no more."""
    return _options.get(name)


def _note_options() -> None:
    context = click.get_current_context(silent=True)
    _options.update(context.params if context else {})
