"""The machines that run Prometheus: what each will be.

Frozen values; `monitors_of` makes them of an inventory. They say what is asked for, not how it is done.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ollama_fleet.planner.monitoring import monitor_addresses, monitored_machines
from ollama_fleet.planner.provision import Provision

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet


@dataclass(frozen=True)
class Target:
    """A machine that is looked at: it shows its metrics at `port` of `address`.

    `has_dcgm`: for certain; where its host decides that itself, nobody asks for it.
    """

    machine: str
    address: str
    port: int
    is_gateway: bool = False
    has_dcgm: bool = False


@dataclass(frozen=True)
class MonitorPlan:
    """Everything that one monitor will be; travels to pyinfra as one value of host data.

    `host` is the machine's name, for people, `on_host` whether that is one of the fleet's own hosts.
    Prometheus listens on `port`; `listen` is where others may look, with a name and a password of
    `users` (name to bcrypt hash), loopback for nobody. It scrapes `targets` every `interval_s` seconds
    and keeps at most `retention_days` and `retention_gib`. `alertmanagers` are URLs.
    `environment`: what installing its packages sees. `authority`: folder of who signs its certificate,
    on the deploying machine.
    """

    name: str
    host: str
    on_host: bool
    address: str
    listen: str
    port: int
    interval_s: int = 15
    retention_days: int = 30
    retention_gib: int | None = None
    targets: tuple[Target, ...] = ()
    alertmanagers: tuple[str, ...] = ()
    users: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    authority: str = ""

    @property
    def is_loopback(self) -> bool:
        """Whether only the machine itself can look at it."""
        return ipaddress.ip_address(self.listen).is_loopback

    @property
    def url(self) -> str:
        """How people open it; on loopback through a tunnel (`ssh -L`)."""
        scheme = "http" if self.is_loopback else "https"
        return f"{scheme}://{_bracketed(self.listen)}:{self.port}"


def monitors_of(fleet: "Fleet") -> dict[str, MonitorPlan]:
    """The monitors that we set up, by name."""
    spec = fleet.monitoring
    if spec is None:
        return {}
    targets = targets_of(fleet)
    return {
        name: MonitorPlan(
            name=name,
            host=host,
            on_host=fleet.monitors[name].host is not None,
            address=address,
            listen=fleet.monitors[name].listen,
            port=fleet.monitors[name].port,
            interval_s=spec.interval_s,
            retention_days=spec.retention_days,
            retention_gib=spec.retention_gib,
            targets=targets,
            alertmanagers=tuple(spec.alertmanagers),
            users=dict(fleet.monitors[name].users),
            environment=Provision(proxy=fleet.proxy).environment,
        )
        for name, (host, address) in monitor_addresses(fleet).items()
        if fleet.monitors[name].manage
    }


def targets_of(fleet: "Fleet") -> tuple[Target, ...]:
    """Every machine that shows metrics."""
    return tuple(
        Target(
            machine=name,
            address=shown.address,
            port=shown.port,
            is_gateway=shown.is_gateway,
            has_dcgm=shown.gpu == "dcgm",
        )
        for name, shown in monitored_machines(fleet).items()
    )


def runs_monitor(fleet: "Fleet", host: str) -> bool:
    """Whether a host runs Prometheus beside its slices."""
    return any(one.host == host and one.manage for one in fleet.monitors.values())


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
