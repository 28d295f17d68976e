"""What is asked of a host below Ollama: driver, container toolkit, GPU settings, reboots.

Frozen values, part of `HostPlan`; `provision_of` makes them of an inventory. They say what is asked
for, not how it is done.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ollama_fleet.sources import PUBLIC, sources_at

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet, HostSpec
    from ollama_fleet.spec.nvidia import GpuSettingsSpec


@dataclass(frozen=True)
class DriverRequest:
    """The NVIDIA driver that a host is to have.

    `manage` False: it is somebody else's matter and never touched. `branch` None: 580 for a new
    installation, and any working driver that serves is left alone. `flavour` is of the kernel
    modules: auto, open, proprietary. `secure_boot`: fail, enroll, ignore. `replace` purges a driver
    from another source first. `key_fingerprint` None: the one of the distribution's table. `key`: the
    repository's public key file, base64-coded; None: it is fetched from the repository.
    """

    manage: bool = True
    branch: int | None = None
    version: str | None = None
    flavour: str = "auto"
    secure_boot: str = "fail"
    replace: bool = False
    repository: str = PUBLIC.driver
    key_fingerprint: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class ToolkitRequest:
    """NVIDIA's container toolkit; `install` None: where a container runtime is there or asked for.

    `key`: the repository's public key file, base64-coded; None: it is fetched from the repository.
    """

    install: bool | None = None
    version: str = "1.20.0"
    repository: str = PUBLIC.container_toolkit
    key_fingerprint: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class GpuSettings:
    """Settings of some GPUs, in PCI order; `gpus` empty: all of them. None: left as found.

    `compute_mode`: default, exclusive_process, prohibited.
    """

    gpus: tuple[int, ...]
    power_limit_w: int | None = None
    graphics_clock_mhz: tuple[int, int] | None = None
    memory_clock_mhz: tuple[int, int] | None = None
    ecc: bool | None = None
    compute_mode: str | None = None


@dataclass(frozen=True)
class Provision:
    """Everything below Ollama that is asked of one host.

    `container_runtime` "docker" installs it; None uses what is there. `reboot`: auto, ask, never;
    None: auto where no slice of ours runs, never on a host that serves. `proxy` is for everything
    that the host fetches, but for what comes from `mirror`, the address of one.
    """

    driver: DriverRequest = DriverRequest()
    toolkit: ToolkitRequest = ToolkitRequest()
    container_runtime: str | None = None
    reboot: str | None = None
    proxy: str | None = None
    mirror: str | None = None
    settings: tuple[GpuSettings, ...] = ()
    drain_timeout_s: int = 120

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of everything on the host that fetches; empty without a proxy."""
        if self.proxy is None:
            return {}
        names = ("http_proxy", "https_proxy", "HTTPS_PROXY")
        mirror = (urlsplit(self.mirror).hostname,) if self.mirror else ()
        near = ",".join(("localhost", "127.0.0.1", "::1", *filter(None, mirror)))
        direct = dict.fromkeys(("no_proxy", "NO_PROXY"), near)
        return dict.fromkeys(names, self.proxy) | direct


def provision_of(fleet: "Fleet", spec: "HostSpec", mirror: str | None = None) -> Provision:
    """What an inventory asks of one host: the host's own keys over the fleet's, key by key, and both
    over what lies on the mirror at the address `mirror`."""
    both = (fleet, spec)
    near = sources_at(mirror) if mirror else None
    driver = [SimpleNamespace(repository=near.driver)] if near else []
    toolkit = [SimpleNamespace(repository=near.container_toolkit)] if near else []
    plain = ("container_runtime", "reboot", "proxy", "drain_timeout_s")
    return Provision(
        driver=DriverRequest(**_given([*driver, *(level.driver for level in both)])),
        toolkit=ToolkitRequest(**_given([*toolkit, *(level.container_toolkit for level in both)])),
        mirror=mirror,
        settings=tuple(map(_settings, spec.gpu_settings)),
        **{key: value for key, value in _given(both).items() if key in plain},
    )


def _given(levels: Any) -> dict[str, Any]:
    """What the levels say, the later ones over the earlier."""
    return {
        key: value for level in levels for key, value in vars(level).items() if value is not None
    }


def _settings(spec: "GpuSettingsSpec") -> GpuSettings:
    return GpuSettings(
        gpus=tuple(spec.gpus),
        power_limit_w=spec.power_limit_w,
        graphics_clock_mhz=_range(spec.graphics_clock_mhz),
        memory_clock_mhz=_range(spec.memory_clock_mhz),
        ecc=spec.ecc,
        compute_mode=spec.compute_mode,
    )


def _range(clocks: list[int] | None) -> tuple[int, int] | None:
    return (clocks[0], clocks[1]) if clocks else None
