"""What `fleet drain` and `fleet undrain` have in common: who is meant, and a small deploy that does it."""

import difflib
import json as jsonlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ollama_fleet.cli.deploying import PROJECT, script_of
from ollama_fleet.cli.ending import WELL, BadOptionError, HostError

if TYPE_CHECKING:
    from ollama_fleet.planner.plan import HostPlan
    from ollama_fleet.spec.fleet import Fleet


@dataclass(frozen=True)
class Order:
    """What is asked of hosts (names of the inventory); no slices: all of them. `away`: models that no other
    slice serves."""

    script: Path
    hosts: tuple[str, ...]
    names: tuple[str, ...]
    verb: str = "look"
    slices: tuple[str, ...] = ()
    reason: str = ""
    wait_s: int = 0
    away: tuple[str, ...] = ()


def order_of(
    inventory: Path, target: str | None, verb: str, reason: str = "", wait_s: int = 0
) -> Order:
    """What to ask of whom. Raises BadOptionError and InputError."""
    from ollama_fleet.load import load_fleet

    described = inventory.with_suffix(".yml")
    fleet = load_fleet(described)
    if fleet.gateway is None:
        what = f"{described} has no gateway, so nobody would notice; `gateway: {{}}` makes one"
        raise BadOptionError(what)
    plans = _plans(fleet, described) if target else {}
    host, slices = _named(fleet, plans, described, target)
    hosts = [host] if host else [n for n, spec in fleet.hosts.items() if spec.state == "present"]
    names = ["@local" if fleet.hosts[name].connection == "local" else name for name in hosts]
    script, away = script_of(described), _away(plans.get(host), slices)
    return Order(script, tuple(hosts), tuple(names), verb, slices, reason, wait_s, away)


def _plans(fleet: "Fleet", inventory: Path) -> "dict[str, HostPlan]":
    from ollama_fleet.kept_plan import read_kept
    from ollama_fleet.planner.fleet import plan_fleet

    return dict(plan_fleet(fleet, previous=read_kept(inventory)).required(inventory.name).hosts)


def _away(plan: "HostPlan | None", slices: Sequence[str]) -> tuple[str, ...]:
    """Models that only these slices of a host serve; none named: all of them."""
    if plan is None or plan.rollout is None:
        return ()
    taken = {f"{plan.host}.{name}" for name in slices or [item.name for item in plan.slices]}
    return tuple(model for model, found in plan.rollout.pools.items() if taken.issuperset(found))


def _named(
    fleet: "Fleet", plans: "Mapping[str, HostPlan]", inventory: Path, target: str | None
) -> tuple[str, tuple[str, ...]]:
    """Host and slices that a person names. Host names may have dots, names of slices have none."""
    if target is None:
        return "", ()
    if target in fleet.hosts:
        return target, ()
    if target in fleet.gateways:
        what = (
            f"'{target}' is a gateway; hosts and slices are drained, a shared address is moved by"
        )
        raise BadOptionError(f"{what} `systemctl stop ollama-address` there")
    known = [f"{plan.host}.{item.name}" for plan in plans.values() for item in plan.slices]
    if target in known:
        host, _, name = target.rpartition(".")
        return host, (name,)
    every = [*fleet.hosts, *known]
    near = difflib.get_close_matches(target, every, n=3, cutoff=0.4) or every[:5]
    what = f"no host or slice is named '{target}' in {inventory}; nearest: {', '.join(near)}"
    raise BadOptionError(what)


def carry_out(order: Order) -> dict[str, Any]:
    """What hosts say when it is done. Raises HostError where some did not."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        done = subprocess.run(
            [*_command(order), "--data", f"drain_report={report}"],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        found = jsonlib.loads(report.read_text("utf-8")) if report.exists() else {}
    missing = [name for name in order.hosts if name not in found]
    if done.returncode != WELL or missing:
        print(done.stdout, file=sys.stderr)
        raise HostError(f"{', '.join(missing or order.hosts)}: not done; see above")
    return dict(found)


def _command(order: Order) -> Sequence[str]:
    data = {
        "drain_verb": order.verb,
        "drain_slices": " ".join(order.slices),
        "drain_reason": order.reason,
        "drain_wait_s": str(order.wait_s),
    }
    command = [sys.executable, "-m", "pyinfra", str(order.script), "tasks/drain.py", "-y"]
    command += [word for name in order.names for word in ("--limit", name)]
    return command + [word for key, text in data.items() for word in ("--data", f"{key}={text}")]


def rows_of(found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every slice, as <host>.<slice>."""
    return [
        (f"{host}.{name}", item) for host, slices in found.items() for name, item in slices.items()
    ]


def print_marks(rows: list[tuple[str, dict[str, Any]]], otherwise: str) -> None:
    """Those that are drained; `otherwise` where none is."""
    for name, item in rows:
        why = f": {item['reason']}" if item.get("reason") else ""
        running = (
            f"{item['requests'] or 'no'} request{'' if item['requests'] == 1 else 's'} running"
        )
        typer.echo(f"{name} is drained since {item['since']} by {item['by']}{why}; {running}")
    if not rows:
        typer.echo(otherwise)
