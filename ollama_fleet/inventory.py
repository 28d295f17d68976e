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
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.refusal import PlanRefusedError
from ollama_fleet.problems import InputError, Problem
from ollama_fleet.release.sums import archive_sums
from ollama_fleet.run_limits import refuse_unknown_limits
from ollama_fleet.sources import sources_at
from ollama_fleet.spec import Fleet, GatewayMachineSpec, HostSpec, MirrorSpec, OllamaSpec, SshSpec
from ollama_fleet.yamlfile import YamlFile

HostTuple = tuple[str, dict[str, Any]]
Machine = HostSpec | MirrorSpec | GatewayMachineSpec

# A connection may be refused when many start at once (sshd's MaxStartups 10:30:100): tried again after
# a moment. Few tries, because a dead host costs the whole time limit at each.
CONNECT_RETRIES = 2
RETRY_WITHIN_S = 3


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
    hosts = [
        (
            _pyinfra_name(name, spec),
            on_hosts[name] | _host_data(plans[name], spec, fleet, inventory.parent),
        )
        for name, spec in fleet.hosts.items()
    ]
    return own_mirrors + hosts + own_gateways


def _with_api_keys(gateways: dict[str, GatewayPlan], inventory: Path) -> dict[str, GatewayPlan]:
    if not gateways:
        return {}
    keys, revoked = keys_in_force(inventory), revoked_keys(inventory)
    return {
        name: replace(gateway, keys=keys, revoked=revoked) for name, gateway in gateways.items()
    }


def _pyinfra_name(name: str, spec: Machine) -> str:
    return "@local" if spec.connection == "local" else name


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
        **_reached(plan.host, spec, fleet, directory, f"hosts.{plan.host}"),
    }


def _machine(
    kind: str,
    name: str,
    plan: MirrorPlan | GatewayPlan | None,
    spec: MirrorSpec | GatewayMachineSpec,
    fleet: Fleet,
    directory: Path,
) -> HostTuple:
    """A machine that is no host: a mirror's or a gateway's own; without a plan it is given up."""
    reached = _reached(name, spec, fleet, directory, f"{kind}s.{name}")
    planned = (
        {f"{kind}_plan": plan, "firewall_plan": firewall_of(fleet, name)}
        if plan
        else {"plan": absent_machine(name)}
    )
    return _pyinfra_name(name, spec), {**planned, **reached}


def _reached(name: str, spec: Machine, fleet: Fleet, directory: Path, where: str) -> dict[str, Any]:
    """How pyinfra gets to a machine, and to root there."""
    ssh = _over(fleet.ssh, spec.ssh)
    data = _ssh_data(name, spec, ssh, directory, where) if spec.connection == "ssh" else {}
    return data | ({"_sudo": True} if ssh.sudo else {})


def _over(base: SshSpec, over: SshSpec) -> SshSpec:
    """`base` with everything that `over` sets."""
    return base.model_copy(update=over.model_dump(exclude_none=True))


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
        problem = _missing(path, "ollama.sha256_file", error)
        hint = (
            f"{problem.what}; it is the release's sha256sum.txt: fetch it, look at it, keep it here"
        )
        raise InputError([replace(problem, what=hint)]) from None
    try:
        return archive_sums(text, archive)
    except ValueError as error:
        raise InputError([Problem(str(path), "", str(error))]) from None


def _ssh_data(
    name: str, spec: Machine, ssh: SshSpec, directory: Path, where: str
) -> dict[str, Any]:
    data: dict[str, Any] = {
        "ssh_hostname": spec.address or name,
        "ssh_connect_retries": CONNECT_RETRIES,
        "ssh_connect_retry_max_delay": RETRY_WITHIN_S,
    }
    if ssh.user:
        data["ssh_user"] = ssh.user
    if ssh.port:
        data["ssh_port"] = ssh.port
    if ssh.key:
        data["ssh_key"] = _existing(directory, ssh.key, f"{where}.ssh.key")
    if ssh.known_hosts:
        data["ssh_known_hosts_file"] = _existing(
            directory, ssh.known_hosts, f"{where}.ssh.known_hosts"
        )
    return data


def _existing(directory: Path, text: str, where: str) -> str:
    path = (directory / Path(text).expanduser()).resolve()
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError([_missing(path, where, error)]) from None
    return str(path)


def _missing(path: Path, where: str, error: OSError) -> Problem:
    lab = (
        "; for the lab: run `make demo` or `.venv/bin/lab up` first" if ".lab" in path.parts else ""
    )
    return Problem(str(path), where, f"cannot be read: {error.strerror}{lab}")


def _stop(error: InputError) -> NoReturn:
    print(error, file=sys.stderr)
    print("Nothing was touched. `fleet schema` describes every key.", file=sys.stderr)
    raise SystemExit(3 if isinstance(error, PlanRefusedError) else 2)
