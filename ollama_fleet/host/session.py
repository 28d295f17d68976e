"""The start of a run on one machine: its connection, and what it is to be, with the release filled in."""

from dataclasses import replace
from typing import Any

from pyinfra.api import Host
from pyinfra.api.exceptions import PyinfraError

from ollama_fleet.host.transport import tune_connection
from ollama_fleet.load import validate
from ollama_fleet.planner.fleet import plan_host
from ollama_fleet.planner.mirror import MirrorPlan
from ollama_fleet.planner.plan import HostPlan, Release
from ollama_fleet.problems import InputError
from ollama_fleet.yamlfile import YamlFile

# Older releases have known holes: CVE-2026-7482 up to 0.17.0, hardening of GGUF import in 0.31.2.
OLDEST_RELEASE = (0, 31, 2)
HOST_KEYS = (
    *("gpus", "reserved", "mig", "mig_parted", "gpu_settings", "neighbours"),
    *("slices", "wishes", "models", "downloads"),
    *("driver", "container_toolkit", "container_runtime", "reboot", "proxy", "drain_timeout_s"),
)


class BadInventoryError(PyinfraError):
    """Host data that no plan can be made of; pyinfra prints it without a traceback."""


def begin(host: Host) -> tuple[MirrorPlan | None, HostPlan | None]:
    """Tune the connection and return what the machine is to be: a mirror, a host with slices, or both.

    Raises BadInventoryError for all hosts.
    """
    tune_connection(host)
    mirror = host.data.get("mirror_plan")
    if mirror and not host.data.get("plan"):
        return mirror, None
    return mirror, _host_plan(host)


def _host_plan(host: Host) -> HostPlan:
    plan = host.data.get("plan") or _plan_from_data(host)
    timeout_s = int(host.data.get("verify_timeout_s") or plan.verify_timeout_s)
    return replace(plan, release=_release(host), verify_timeout_s=timeout_s)


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


def _release(host: Host) -> Release:
    version = str(host.data.get("ollama_version"))
    try:
        parts = tuple(map(int, version.split(".")))
    except ValueError:
        raise BadInventoryError(f"{host.name}: ollama version '{version}' is no x.y.z") from None
    if parts < OLDEST_RELEASE:
        oldest = ".".join(map(str, OLDEST_RELEASE))
        raise BadInventoryError(
            f"{host.name}: Ollama {version} has known security holes; use {oldest} or newer"
        )
    sums = host.data.get("ollama_sha256")
    if not sums:
        raise BadInventoryError(
            f"{host.name}: no checksum is pinned for Ollama {version}; set `ollama: {{sha256: …}}` "
            "or `sha256_file:` in the inventory, from the release's sha256sum.txt"
        )
    return Release(version, sums, host.data.ollama_release_url, host.data.get("ollama_registry"))
