"""The machines of an inventory, read the very way a deploy reads it: hosts, gateways, mirrors.

Importing this makes pyinfra's own patches for parallel work (gevent): import it before other things.
"""

import pyinfra_cli.inventory  # before paramiko is imported

# isort: split

import difflib
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

from pyinfra.api import Host, Inventory, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_state

from ollama_fleet.checks.machine import Machine
from ollama_fleet.host.session import what_it_is
from ollama_fleet.problems import InputError, Problem

PROJECT = Path(__file__).parents[2]
# Of pyinfra's host data: how a machine is reached.
REACH = ("ssh_hostname", "ssh_user", "ssh_port", "ssh_key", "ssh_known_hosts_file", "_sudo")
LOADER = "from ollama_fleet.inventory import load\n\nhosts = load(__file__)"


def read_inventory(described: Path) -> Inventory:
    """pyinfra's inventory of a file (the `.py`, or the `.yml` beside it), its group_data filled in.

    Raises InputError; an inventory that is wrong in itself ends in `inventory.WrongInventory`.
    """
    script = described.with_suffix(".py")
    if not script.is_file():
        what = f"is missing, by which pyinfra reads {described}; it holds:\n{LOADER}"
        raise InputError([Problem(str(script), "", what)])
    with ctx_state.use(State()):
        try:
            made: Inventory = pyinfra_cli.inventory.make_inventory(
                str(script.resolve()), cwd=str(PROJECT)
            )
        except PyinfraError as error:
            raise InputError([Problem(str(script), "", str(error))]) from None
    return made


def machines_of(inventory: Inventory) -> Iterator[tuple[Machine, Host]]:
    """Every machine with pyinfra's own host, in the order of the inventory. Raises InputError."""
    for host in inventory:
        try:
            yield machine_of(host), host
        except PyinfraError as error:
            raise InputError([Problem("inventory", "", str(error))]) from None


def machine_of(host: Host) -> Machine:
    """What pyinfra's host is in the fleet. Raises BadInventoryError."""
    mirror, gateway, plan = what_it_is(host)
    monitor = host.data.get("monitor_plan")
    shown = None if plan else host.data.get("monitoring_plan")
    names = [part.host for part in (plan, gateway, mirror, monitor) if part]
    reach = tuple((key, value) for key in REACH if (value := host.data.get(key)) is not None)
    local = host.name.startswith("@")
    name = names[0] if names else host.name
    return Machine(name, plan, gateway, mirror, reach, local, monitor, shown)


def main() -> None:
    """Machines of the inventory that is named, pickled on standard output: for programs that keep out of
    pyinfra's patches."""
    described = Path(sys.argv[1])
    try:
        with redirect_stdout(sys.stderr):  # an inventory in Python may print
            machines = [machine for machine, _ in machines_of(read_inventory(described))]
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    sys.stdout.buffer.write(pickle.dumps(machines))


def named(machines: Sequence[str], limit: Sequence[str], groups: Sequence[str] = ()) -> None:
    """Refuse names that no machine has. Raises InputError, with the nearest that exist."""
    known = [*machines, *groups]
    problems = []
    for name in limit:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:5]
            problems.append(Problem("--host", name, f"no such machine; nearest: {', '.join(near)}"))
    if problems:
        raise InputError(problems)


if __name__ == "__main__":
    main()
