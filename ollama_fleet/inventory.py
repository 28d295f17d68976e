"""A validated fleet as pyinfra's host tuples; what `inventory/*.py` import.

    from ollama_fleet.inventory import load
    hosts = load(__file__)          # reads the .yml of the same name

Knows the names of pyinfra's host data, but does not import pyinfra.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from ollama_fleet.authority.inventory_folder import (
    gateways_with_authority,
    hosts_with_authority,
    monitoring_with_authority,
    monitors_with_authority,
)
from ollama_fleet.catalogue.release import default_archive
from ollama_fleet.file_digests import with_digests
from ollama_fleet.kept_plan import read_kept
from ollama_fleet.keys.kept import keys_in_force, revoked_keys
from ollama_fleet.load import load_fleet, validate
from ollama_fleet.model_lock import read_lock, with_lock
from ollama_fleet.planner.absent import absent_machine
from ollama_fleet.planner.firewall import firewall_of
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.gateway import GatewayPlan, gateways_of
from ollama_fleet.planner.mirror import MirrorPlan, mirror_url, mirrors_of
from ollama_fleet.planner.monitor import MonitorPlan, monitors_of
from ollama_fleet.planner.monitoring import monitored_machines
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.refusal import PlanRefusedError
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.reaching import missing_file, pyinfra_name, reached
from ollama_fleet.release.sums import archive_sums
from ollama_fleet.run_limits import refuse_unknown_limits
from ollama_fleet.sources import sources_at
from ollama_fleet.spec.fleet import (
    Fleet,
    GatewayMachineSpec,
    HostSpec,
    MirrorSpec,
    MonitorSpec,
    OllamaSpec,
)
from ollama_fleet.yamlfile import YamlFile

HostTuple = tuple[str, dict[str, Any]]
Plan = MirrorPlan | GatewayPlan | MonitorPlan
OwnMachine = MirrorSpec | GatewayMachineSpec | MonitorSpec


class WrongInventory(SystemExit):
    """An inventory that cannot be used, once that was said; `error` for who reads it in a program."""

    def __init__(self, error: InputError) -> None:
        super().__init__(3 if isinstance(error, PlanRefusedError) else 2)
        self.error = error


def load(inventory_py: str) -> list[HostTuple]:
    """Hosts of the YAML file beside `inventory_py`; bad input ends the run with exit code 2."""
    script = Path(inventory_py)
    try:
        hosts = fleet_hosts(load_fleet(script.with_suffix(".yml")), script)
        refuse_unknown_limits(script, [name for name, _ in hosts])
    except InputError as error:
        _stop(error)
    return hosts


def hosts_from(data: dict[str, Any], inventory_py: str) -> list[HostTuple]:
    """The same for an inventory in Python: `data` has the very shape of the YAML file."""
    script = Path(inventory_py)
    try:
        hosts = fleet_hosts(validate(YamlFile(str(script), data)), script)
        refuse_unknown_limits(script, [name for name, _ in hosts])
    except InputError as error:
        _stop(error)
    return hosts


def mirrors_among(hosts: list[HostTuple]) -> list[HostTuple]:
    """Those of `hosts` that run a mirror: pyinfra's group `mirrors`."""
    return [(name, data) for name, data in hosts if "mirror_plan" in data]


def gateways_among(hosts: list[HostTuple]) -> list[HostTuple]:
    """Those of `hosts` that run the gateway: pyinfra's group `gateways`."""
    return [(name, data) for name, data in hosts if "gateway_plan" in data]


def monitoring_among(hosts: list[HostTuple]) -> list[HostTuple]:
    """Those of `hosts` that run Prometheus: pyinfra's group `monitoring`."""
    return [(name, data) for name, data in hosts if "monitor_plan" in data]


def fleet_hosts(fleet: Fleet, inventory: Path) -> list[HostTuple]:
    """One pyinfra host tuple per machine of `inventory`, beside which relative paths, the kept plan, the
    lock file and the API keys lie; those of mirrors come first."""
    planned = plan_fleet(fleet, previous=read_kept(inventory)).required()
    locked = with_lock(planned.hosts, read_lock(inventory))
    plans = hosts_with_authority(
        {name: with_digests(plan, str(inventory)) for name, plan in locked.items()}, inventory
    )
    gateways = gateways_with_authority(gateways_of(fleet, plans), inventory)
    mirrors, gateways = mirrors_of(fleet), _with_api_keys(gateways, inventory)
    on_hosts: dict[str, dict[str, Any]] = {name: {} for name in plans}
    for mirror in mirrors.values():
        on_hosts.get(mirror.host, {})["mirror_plan"] = mirror
    for gateway in gateways.values():
        on_hosts.get(gateway.host, {})["gateway_plan"] = gateway
    monitors = monitors_with_authority(monitors_of(fleet), inventory)
    for monitor in monitors.values():
        on_hosts.get(monitor.host, {})["monitor_plan"] = monitor
    own_mirrors = [
        _machine("mirror", name, mirrors[name], spec, fleet, inventory.parent)
        for name, spec in fleet.mirrors.items()
        if name in mirrors and spec.host is None
    ]
    own_gateways = [
        _machine("gateway", name, gateways.get(name), spec, fleet, inventory.parent)
        for name, spec in fleet.gateways.items()
        if spec.manage and spec.host is None
    ]
    own_monitors = [
        _machine("monitor", name, monitors.get(name), spec, fleet, inventory.parent)
        for name, spec in fleet.monitors.items()
        if spec.manage and spec.host is None
    ]
    hosts = [
        (
            pyinfra_name(name, spec),
            on_hosts[name] | _host_data(plans[name], spec, fleet, inventory.parent),
        )
        for name, spec in fleet.hosts.items()
    ]
    return own_mirrors + hosts + _watched(own_gateways, fleet, inventory) + own_monitors


def _watched(gateways: list[HostTuple], fleet: Fleet, inventory: Path) -> list[HostTuple]:
    """Gateways' own machines, with what they show to monitors."""
    shown = monitored_machines(fleet)
    return [
        (name, data | {"monitoring_plan": monitoring_with_authority(shown[plan.name], inventory)})
        if (plan := data.get("gateway_plan")) and plan.name in shown
        else (name, data)
        for name, data in gateways
    ]


def _with_api_keys(gateways: dict[str, GatewayPlan], inventory: Path) -> dict[str, GatewayPlan]:
    if not gateways:
        return {}
    keys, revoked = keys_in_force(inventory), revoked_keys(inventory)
    return {
        name: replace(gateway, keys=keys, revoked=revoked) for name, gateway in gateways.items()
    }


def ollama_settings(fleet: Fleet, spec: HostSpec, directory: Path) -> dict[str, Any]:
    """What the inventory says of a host's Ollama, by the names that group_data/all.py uses."""
    said = spec.ollama.over(fleet.ollama)
    if url := mirror_url(fleet, spec):
        near = sources_at(url)
        said = said.over(OllamaSpec(release_url=near.releases, registry=near.models))
    return _ollama_data(said, directory)


def _host_data(plan: HostPlan, spec: HostSpec, fleet: Fleet, directory: Path) -> dict[str, Any]:
    return {
        "plan": plan,
        **(ollama_settings(fleet, spec, directory) if plan.removal is None else {}),
        **reached(plan.host, spec, fleet, directory, f"hosts.{plan.host}"),
    }


def _machine(
    kind: str,
    name: str,
    plan: Plan | None,
    spec: OwnMachine,
    fleet: Fleet,
    directory: Path,
) -> HostTuple:
    """A machine that is no host: a mirror's, gateway's or monitor's own; without a plan it is given up."""
    how = reached(name, spec, fleet, directory, f"{kind}s.{name}")
    planned = (
        {f"{kind}_plan": plan, "firewall_plan": firewall_of(fleet, name)}
        if plan
        else {"plan": absent_machine(name)}
    )
    return pyinfra_name(name, spec), {**planned, **how}


def _ollama_data(ollama: OllamaSpec, directory: Path) -> dict[str, Any]:
    """What the inventory says of Ollama, by the names that group_data/all.py uses."""
    data = ollama.model_dump(exclude_none=True, exclude={"sha256_file"})
    if ollama.sha256_file:
        path = directory / Path(ollama.sha256_file).expanduser()
        data["sha256"] = _sums(path, ollama.archive or default_archive())
    return {f"ollama_{key}": value for key, value in data.items()}


def _sums(path: Path, archive: str) -> dict[str, str]:
    """Checksums per architecture out of a release's sha256sum.txt."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        problem = missing_file(path, "ollama.sha256_file", error)
        hint = (
            f"{problem.what}; it is the release's sha256sum.txt: fetch it, look at it, keep it here"
        )
        raise InputError([replace(problem, what=hint)]) from None
    try:
        return archive_sums(text, archive)
    except ValueError as error:
        raise InputError([Problem(str(path), "", str(error))]) from None


def _stop(error: InputError) -> NoReturn:
    print(error, file=sys.stderr)
    print("Nothing was touched. `fleet schema` describes every key.", file=sys.stderr)
    raise WrongInventory(error)
