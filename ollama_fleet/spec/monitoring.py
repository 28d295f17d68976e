"""What a person writes about monitoring: what machines show, and the machines that look.

Part of `spec`, which says the rest. Much of it ends in configurations of nginx and Prometheus, so the forms
are strict.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from ollama_fleet.spec.addresses import read_ip
from ollama_fleet.spec.firewall import Firewall
from ollama_fleet.spec.machines import names_of_others, on_hosts
from ollama_fleet.spec.monitoring_ports import LAST_PORT, monitoring_ports_differ
from ollama_fleet.spec.removal import State
from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Port, Spec
from ollama_fleet.spec.ssh import Address, Connection, Ssh, SshSpec

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet

# Of a name, what a certificate has room for: by it machines know who may look.
LONGEST_NAME = 64

_HOST = r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?"
AlertmanagerUrl = Annotated[str, Field(pattern=rf"^https?://{_HOST}(/[A-Za-z0-9._~/-]*)?$")]
UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
PasswordHash = Annotated[str, Field(pattern=r"^\$2[aby]\$[0-9]{2}\$[A-Za-z0-9./]{53}$")]
GpuMetrics = Literal["auto", "dcgm", "textfile"]
NodeExporter = Literal["own", "site"]
_GPU = (
    "Who reads the GPUs beside the fleet's own few metrics. dcgm: NVIDIA's DCGM exporter, which has to "
    "be installable (datacenter GPUs); textfile: nobody else; auto: DCGM's where it runs already."
)
_NODE_EXPORTER = (
    "own: a node exporter of the fleet's, on loopback; site: the machine has one of its own, and the "
    "fleet's shows nothing but its own metrics."
)


class HostMonitoringSpec(Spec):
    """What one host says otherwise about its metrics."""

    manage: StrictBool = Field(True, description="False: nothing for monitoring is put there.")
    gpu: GpuMetrics | None = Field(None, description=_GPU)
    node_exporter: NodeExporter | None = Field(None, description=_NODE_EXPORTER)


class MonitoringSpec(Spec):
    """Metrics of every host and gateway, at one port of each, for `monitors` only."""

    port: Annotated[StrictInt, Field(ge=1024, le=LAST_PORT)] = Field(
        19100,
        description="Where machines show their metrics, with client certificates; the next six ports "
        "are taken on loopback, too.",
    )
    interval_s: Annotated[StrictInt, Field(ge=5, le=300)] = Field(
        15, description="Seconds between two looks at the GPUs and slices, and between two scrapes."
    )
    gpu: GpuMetrics = Field("auto", description=_GPU)
    node_exporter: NodeExporter = Field("own", description=_NODE_EXPORTER)
    retention_days: Annotated[StrictInt, Field(ge=1, le=3650)] = Field(
        30, description="How long monitors keep what they have seen."
    )
    retention_gib: Annotated[StrictInt, Field(ge=1, le=100_000)] | None = Field(
        None, description="Most that they keep, in GiB; default: what the days take."
    )
    alertmanagers: list[AlertmanagerUrl] = Field(
        default=[], description="Alertmanagers that get the alerts, such as http://10.0.0.9:9093."
    )


class MonitorSpec(Spec):
    """A machine that runs Prometheus: one of its own, or one of the hosts."""

    host: str | None = Field(
        None, description="Run it on this one of `hosts`, instead of on a machine of its own."
    )
    manage: StrictBool = Field(
        True,
        description="False: a Prometheus of your own, which machines let in by its certificate and "
        "which is never touched.",
    )
    listen: str = Field(
        "127.0.0.1",
        description="The IP address at which people and Grafana reach Prometheus; on any but loopback "
        "with TLS and a password (`users`).",
    )
    port: Port = Field(9090, description="Where it listens.")
    users: dict[UserName, PasswordHash] = Field(
        default={},
        description="Who may look where `listen` is not loopback: name to the bcrypt hash of a password, "
        "as `htpasswd -nB NAME` prints it.",
    )
    address: Address = None
    connection: Connection = "ssh"
    state: State = "present"
    ssh: Ssh = SshSpec()
    firewall: Firewall = None

    @model_validator(mode="after")
    def _rules(self) -> "MonitorSpec":
        try:
            read_ip(self.listen)
        except ValueError:
            what = f"'{self.listen}' is no IP address; name one of the machine's"
            raise rule_broken(("listen",), what) from None
        for error in _door_rules(self):
            raise error
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only the machine itself can look at it."""
        return read_ip(self.listen).is_loopback


def _door_rules(spec: MonitorSpec) -> Iterator[PydanticCustomError]:
    """Prometheus itself stays on loopback; before it, where others may look, is a door with a lock."""
    listen = read_ip(spec.listen)
    if listen.is_unspecified:
        what = f"{spec.listen} means every address; name the one at which it is to be reached"
        yield rule_broken(("listen",), what)
    if not listen.is_loopback and spec.manage and not spec.users:
        what = (
            f"{spec.listen} lets others look; say who: `users: {{NAME: HASH}}` with a line of "
            "`htpasswd -nB NAME`, or leave `listen` out and use `ssh -L`"
        )
        yield rule_broken(("users",), what)
    if spec.users and listen.is_loopback:
        yield rule_broken(
            ("users",), "is for a `listen` that is not loopback; add that, or drop it"
        )


def fleet_monitoring_rules(fleet: "Fleet") -> None:
    """Check monitoring against the fleet's hosts, gateways and mirrors."""
    for rule in (_has_settings, _names, _machines, monitoring_ports_differ):
        for error in rule(fleet):
            raise error


def _has_settings(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    if fleet.monitoring is not None:
        return
    if fleet.monitors:
        yield rule_broken(("monitors",), "need to know what to be; add `monitoring: {}`")
    for name, spec in fleet.hosts.items():
        if spec.monitoring is not None:
            what = "is for a fleet that is monitored; add `monitoring: {}` at the top, or drop it"
            yield rule_broken(("hosts", name, "monitoring"), what)


def _names(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """A gateway of the same name would get in where only monitors may, and the other way round."""
    gateways = {name[:LONGEST_NAME]: name for name in fleet.gateways}
    seen: dict[str, str] = {}
    for name in fleet.monitors:
        at, short = ("monitors", name), name[:LONGEST_NAME]
        if short in gateways:
            what = f"is, as far as certificates tell, the name of gateway {gateways[short]}, too"
            yield rule_broken(at, f"{what}; rename it")
        if short in seen:
            what = f"is, as far as certificates tell, the name of {seen[short]}, too; shorten it"
            yield rule_broken(at, what)
        seen[short] = name


def _machines(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    yield from names_of_others(fleet, "monitors", fleet.monitors)
    yield from on_hosts(fleet, "monitors", fleet.monitors)
