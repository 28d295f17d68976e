"""The start of a run on one machine: its connection, and what it is to be, with the release filled in."""

from dataclasses import replace
from typing import Any

from pyinfra.api import Host
from pyinfra.api.exceptions import PyinfraError

from ollama_fleet.host.call_stack import show_as_module
from ollama_fleet.host.transport import tune_connection
from ollama_fleet.load import validate
from ollama_fleet.planner.firewall import FirewallPlan
from ollama_fleet.planner.fleet import plan_host
from ollama_fleet.planner.gateway import GatewayPlan
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.planner.monitor import MonitorPlan
from ollama_fleet.planner.plan import HostPlan, Release, Removal
from ollama_fleet.problems import InputError
from ollama_fleet.release.wanted import ReleaseRefusedError, wanted_release
from ollama_fleet.yamlfile import YamlFile

HOST_KEYS = (
    *("gpus", "reserved", "mig", "mig_parted", "gpu_settings", "neighbours"),
    *("slices", "wishes", "models", "downloads", "state", "remove"),
    *("driver", "container_toolkit", "container_runtime", "reboot", "proxy", "drain_timeout_s"),
    *("firewall", "selfcheck", "watchdog"),
)


class BadInventoryError(PyinfraError):
    """Host data that no plan can be made of; pyinfra prints it without a traceback."""


def begin(host: Host) -> tuple[MirrorPlan | None, GatewayPlan | None, HostPlan | None]:
    """Tune the connection and return what the machine is to be: a mirror, a gateway, a host with slices,
    or several of them.

    Raises BadInventoryError for all hosts.
    """
    tune_connection(host)
    show_as_module(host.state.current_deploy_filename)
    if keys_alone(host):
        return None, host.data.get("gateway_plan"), None
    return what_it_is(host)


def what_it_is(host: Host) -> tuple[MirrorPlan | None, GatewayPlan | None, HostPlan | None]:
    """What the inventory says a machine is to be, the release filled in. Raises BadInventoryError."""
    mirror, gateway = host.data.get("mirror_plan"), host.data.get("gateway_plan")
    if (mirror or gateway or host.data.get("monitor_plan")) and not host.data.get("plan"):
        return mirror, gateway, None
    return mirror, gateway, _host_plan(host)


def own_monitor(host: Host) -> MonitorPlan | None:
    """What the machine is to be as a monitor; nothing where it is none, or where only keys are given."""
    found: MonitorPlan | None = host.data.get("monitor_plan")
    return None if keys_alone(host) else found


def own_firewall(host: Host, plan: HostPlan | None) -> FirewallPlan | None:
    """The firewall of a machine that is no host; a host's is in its plan."""
    found: FirewallPlan | None = host.data.get("firewall_plan")
    return None if plan or keys_alone(host) else found


def keys_alone(host: Host) -> bool:
    """Whether gateways are to get their keys and nothing else is to be done or proved: a key goes to a
    gateway whatever becomes of the slices behind it."""
    part = host.data.get("gateway_part")
    if part not in (None, "keys"):
        raise BadInventoryError(f"{host.name}: gateway_part is keys or not given, not '{part}'")
    return bool(part)


def _host_plan(host: Host) -> HostPlan:
    plan = host.data.get("plan") or _plan_from_data(host)
    if removal := _removal(host, plan):
        return replace(plan, removal=removal)
    timeout_s = int(host.data.get("verify_timeout_s") or plan.verify_timeout_s)
    return replace(plan, release=_release(host, plan), verify_timeout_s=timeout_s)


def _plan_from_data(host: Host) -> HostPlan:
    """An inventory in plain Python may give the YAML's host keys as host data."""
    data: dict[str, Any] = {
        key: host.data.get(key) for key in HOST_KEYS if host.data.get(key) is not None
    }
    # The same path as a file takes, so that errors read the same.
    document = {"version": 1, "hosts": {host.name.lstrip("@"): data}}
    try:
        fleet = validate(YamlFile("inventory", document))
        ((_, spec),) = fleet.hosts.items()
        return plan_host(host.name, spec)
    except InputError as error:
        raise BadInventoryError(str(error)) from None


def _removal(host: Host, plan: HostPlan) -> Removal | None:
    """What the plan says, or `--data state=absent` and `--data remove_models=true` over it."""
    state = host.data.get("state") or ("absent" if plan.removal else "present")
    if state not in ("present", "absent"):
        raise BadInventoryError(f"{host.name}: state is present or absent, not '{state}'")
    if state == "present" and plan.removal:
        what = "the inventory says `state: absent`, and has no plan for it; correct it there"
        raise BadInventoryError(f"{host.name}: {what}")
    if state == "present":
        return None
    asked = plan.removal or Removal()
    return replace(asked, models=asked.models or host.data.get("remove_models") is True)


def _release(host: Host, plan: HostPlan) -> Release:
    try:
        return wanted_release(host.data.get, mig=bool(plan.mig))
    except ReleaseRefusedError as error:
        raise BadInventoryError(f"{host.name}: {error}") from None
