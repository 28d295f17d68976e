"""Rules between keys of a host's NVIDIA side: versions, ranges, and which GPU is set by what.

Each rule raises `rule_broken` with the place at fault. Imports only the other rules.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from ollama_fleet.spec.rules import SECRET_URL, rule_broken

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet, HostSpec
    from ollama_fleet.spec.nvidia import DriverSpec, GpuSettingsSpec, ToolkitSpec

# Below it a container can take over its host (CVE-2025-23266).
OLDEST_TOOLKIT = (1, 17, 8)
CLOCKS = ("graphics_clock_mhz", "memory_clock_mhz")
SETTINGS = ("power_limit_w", *CLOCKS, "ecc", "compute_mode")


def driver_rules(spec: "DriverSpec") -> None:
    """Check one driver request by itself."""
    if spec.branch and spec.version and _branch(spec.version) != spec.branch:
        what = f"{spec.version} is not of branch {spec.branch}; drop `branch:` or correct it"
        raise rule_broken(("version",), what)


def toolkit_rules(spec: "ToolkitSpec") -> None:
    """Check one toolkit request by itself."""
    if spec.version and tuple(map(int, spec.version.split("."))) < OLDEST_TOOLKIT:
        oldest = ".".join(map(str, OLDEST_TOOLKIT))
        what = f"{spec.version} lets a container take over its host; use {oldest} or newer"
        raise rule_broken(("version",), what)


def proxy_rules(proxy: str | None) -> None:
    """Check a proxy's address."""
    if proxy and SECRET_URL.search(proxy):
        what = (
            "holds a password, which files on the host would show to everyone; name a proxy that "
            "knows the host by its address"
        )
        raise rule_broken(("proxy",), what)


def settings_rules(spec: "GpuSettingsSpec") -> None:
    """Check one entry of `gpu_settings` by itself."""
    if len(set(spec.gpus)) < len(spec.gpus):
        raise rule_broken(("gpus",), f"{spec.gpus} names a GPU twice; list each once")
    if all(getattr(spec, key) is None for key in SETTINGS):
        raise rule_broken((), f"sets nothing; give one of {', '.join(SETTINGS)}")
    for key in CLOCKS:
        clocks = getattr(spec, key)
        if clocks and clocks[0] > clocks[1]:
            what = f"{clocks} goes down; write the lower clock first"
            raise rule_broken((key,), what)


def host_nvidia_rules(spec: "HostSpec") -> None:
    """Check a host's GPU settings against each other, its slices and its MIG layouts."""
    proxy_rules(spec.proxy)
    if spec.mig and spec.mig_parted:
        raise rule_broken(("mig_parted",), "`mig:` says how GPUs are cut, too; keep one of them")
    for rule in (_set_once, _modes_fit):
        for error in rule(spec):
            raise error


def _set_once(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    seen: dict[int, int] = {}
    every = [index for index, item in enumerate(spec.gpu_settings) if not item.gpus]
    if every and len(spec.gpu_settings) > 1:
        what = "is for all GPUs, and another entry is for some of them; name the GPUs of each"
        yield rule_broken(("gpu_settings", every[0]), what)
    for index, item in enumerate(spec.gpu_settings):
        for gpu in item.gpus:
            if gpu in seen:
                what = f"GPU {gpu} is in gpu_settings[{seen[gpu]}] too; set each once"
                yield rule_broken(("gpu_settings", index, "gpus"), what)
            seen[gpu] = index


def _modes_fit(spec: "HostSpec") -> Iterator[PydanticCustomError]:
    """Instances cannot be exclusive, and a GPU that no process may use serves no slice."""
    cut = {gpu for mig in spec.mig for gpu in mig.gpus}
    serves = {gpu for item in spec.slices for gpu in item.gpus if isinstance(gpu, int)}
    for index, item in enumerate(spec.gpu_settings):
        at = ("gpu_settings", index, "compute_mode")
        of_item = set(item.gpus) or cut | serves
        if item.compute_mode == "exclusive_process" and of_item & cut:
            gpu = min(of_item & cut)
            yield rule_broken(at, f"GPU {gpu} is cut by `mig:`, which takes no exclusive_process")
        if item.compute_mode == "prohibited" and of_item & (serves | cut):
            gpu = min(of_item & (serves | cut))
            yield rule_broken(at, f"GPU {gpu} is to serve, and no process could use it; drop it")


def fleet_nvidia_rules(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """A host's driver version over the fleet's branch, or the other way round, has to agree."""
    proxy_rules(fleet.proxy)
    for name, host in fleet.hosts.items():
        branch = host.driver.branch or fleet.driver.branch
        version = host.driver.version or fleet.driver.version
        if branch and version and _branch(version) != branch:
            key, other = ("version", "branch") if host.driver.version else ("branch", "version")
            said = branch if key == "version" else version
            what = f"the fleet's `driver:` says {other} {said}; give this host both, in agreement"
            yield rule_broken(("hosts", name, "driver", key), what)


def _branch(version: str) -> int:
    return int(version.partition(".")[0])
