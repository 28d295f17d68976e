"""What a person writes about a fleet: the pydantic models of the inventory YAML.

Every key has its description here or in one of `spec_*`, once: validation, the JSON Schema and the
reference page are made from these classes. Imports the catalogue, but no planner and
no pyinfra; touches no host.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ollama_fleet import catalogue
from ollama_fleet.spec.custom import CustomModelSpec
from ollama_fleet.spec.delivery import DownloadsSpec, ModelsSpec
from ollama_fleet.spec.firewall import Firewall
from ollama_fleet.spec.fleet_rules import fleet_rules
from ollama_fleet.spec.gateway import GatewayMachineSpec, GatewaySpec, fleet_gateway_rules
from ollama_fleet.spec.mirrors import MirrorChoice, MirrorSpec, fleet_mirror_rules
from ollama_fleet.spec.monitoring import (
    HostMonitoringSpec,
    MonitoringSpec,
    MonitorSpec,
    fleet_monitoring_rules,
)
from ollama_fleet.spec.nvidia import (
    DrainTimeout,
    Driver,
    DriverSpec,
    GpuSettingsSpec,
    MigPartedSpec,
    Proxy,
    Reboot,
    Runtime,
    Toolkit,
    ToolkitSpec,
)
from ollama_fleet.spec.nvidia_rules import host_nvidia_rules
from ollama_fleet.spec.ollama import OllamaSpec
from ollama_fleet.spec.removal import Remove, RemoveSpec, State, removal_rules
from ollama_fleet.spec.rollout import RolloutSpec, fleet_rollout_rules
from ollama_fleet.spec.rules import FIRST_RESERVED_PORT, FIRST_SLICE_PORT, host_rules
from ollama_fleet.spec.selfcheck import Selfcheck, SelfcheckSpec
from ollama_fleet.spec.servers import (
    Index,
    MigSpec,
    Model,
    ServerSpec,
    SliceSpec,
    Spec,
    WishSpec,
)
from ollama_fleet.spec.ssh import Address, Connection, Ssh, SshSpec
from ollama_fleet.spec.watching import HealthSpec, Watchdog, WatchdogSpec

__all__ = [
    "FIRST_RESERVED_PORT",
    "FIRST_SLICE_PORT",
    "CatalogueSpec",
    "Fleet",
    "GatewayMachineSpec",
    "GatewaySpec",
    "GpuSpec",
    "HostSpec",
    "MigSpec",
    "MirrorSpec",
    "ModelsSpec",
    "MonitorSpec",
    "OllamaSpec",
    "RemoveSpec",
    "ServerSpec",
    "SliceSpec",
    "SshSpec",
    "WishSpec",
    "fleet_schema",
]

HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class GpuSpec(Spec):
    """GPUs of one kind that a host is expected to have; preflight compares."""

    model: str = Field(description="Name as nvidia-smi prints it, or its end ('RTX 3090').")
    count: Annotated[int, Field(ge=1, le=64)] = Field(1, description="How many of them.")


class HostSpec(Spec):
    """One host: how to reach it, what it has, what it serves."""

    address: Address = None
    connection: Connection = "ssh"
    state: State = "present"
    remove: Remove = RemoveSpec()
    ssh: Ssh = SshSpec()
    gpus: list[GpuSpec] | None = Field(
        None, description="The GPUs it should have, in PCI order; default: whatever is found."
    )
    reserved: list[Index] = Field(
        default=[],
        description="Indexes of GPUs kept for something else, such as training: never used.",
    )
    mig: list[MigSpec] = Field(default=[], description="GPUs that are cut into MIG instances.")
    mig_parted: MigPartedSpec | None = Field(
        None, description="The same by a file of mig-parted that you have already."
    )
    gpu_settings: list[GpuSettingsSpec] = Field(
        default=[], description="Power limits, clocks, ECC and compute mode of its GPUs."
    )
    neighbours: list[Annotated[list[Index], Field(min_length=2)]] = Field(
        default=[],
        description="Groups of GPUs joined by NVLink or on one NUMA node, the tightest first: one "
        "model's GPUs are taken from one group where possible. Default: adjacent indexes.",
    )
    slices: list[SliceSpec] = Field(default=[], description="Its Ollama servers, on these GPUs.")
    wishes: list[WishSpec] = Field(
        default=[], description="What it shall serve beside them; the planner finds the GPUs."
    )
    models: ModelsSpec = Field(
        default=ModelsSpec(), description="Its model store; lists are added to the fleet's."
    )
    downloads: DownloadsSpec = Field(
        default=DownloadsSpec(), description="Differs from the fleet's here."
    )
    ollama: OllamaSpec = Field(default=OllamaSpec(), description="Differs from the fleet's here.")
    mirror: MirrorChoice = None
    driver: Driver = DriverSpec()
    container_toolkit: Toolkit = ToolkitSpec()
    container_runtime: Runtime = None
    reboot: Reboot = None
    proxy: Proxy = None
    drain_timeout_s: DrainTimeout = None
    firewall: Firewall = None
    selfcheck: Selfcheck = SelfcheckSpec()
    watchdog: Watchdog = WatchdogSpec()
    monitoring: HostMonitoringSpec | None = Field(
        None, description="Differs from the fleet's here."
    )

    @model_validator(mode="after")
    def _rules(self) -> "HostSpec":
        host_rules(self)
        host_nvidia_rules(self)
        removal_rules(self)
        return self

    @property
    def gpu_count(self) -> int | None:
        """How many GPUs it says it has; None when it does not say."""
        return None if self.gpus is None else sum(gpu.count for gpu in self.gpus)


class OwnModelSpec(catalogue.Model):
    """A model that the catalogue does not have, by what its file says of itself."""


class OwnGpuSpec(catalogue.Gpu):
    """A GPU that the catalogue does not have, by the name that nvidia-smi prints."""


class CatalogueSpec(Spec):
    """Models and GPUs that the catalogue does not have; an entry of the same name wins."""

    models: list[OwnModelSpec] = Field(default=[], description="Models of your own.")
    gpus: list[OwnGpuSpec] = Field(default=[], description="GPUs of your own.")


class Fleet(Spec):
    """A whole inventory file."""

    version: Literal[1] = Field(description="Version of this file's format.")
    ssh: SshSpec = Field(default=SshSpec(), description="Defaults for every host.")
    ollama: OllamaSpec = Field(default=OllamaSpec(), description="Ollama on every host.")
    models: ModelsSpec = Field(default=ModelsSpec(), description="The model store of every host.")
    custom_models: dict[Model, CustomModelSpec] = Field(
        default={}, description="Models of your own by name; hosts make those that they serve."
    )
    downloads: DownloadsSpec = Field(
        default=DownloadsSpec(), description="How every host downloads."
    )
    mirrors: dict[HostName, MirrorSpec] = Field(
        default={}, description="Machines through which the hosts fetch everything, by name."
    )
    mirror: MirrorChoice = None
    gateway: GatewaySpec | None = Field(
        None, description="One address for the whole fleet; default: slices stay on loopback."
    )
    gateways: dict[HostName, GatewayMachineSpec] = Field(
        default={}, description="Machines that run it, by name; default: the only host."
    )
    monitoring: MonitoringSpec | None = Field(
        None, description="Metrics of all machines for Prometheus; default: none."
    )
    monitors: dict[HostName, MonitorSpec] = Field(
        default={}, description="Machines that run Prometheus, by name."
    )
    firewall: Firewall = None
    rollout: RolloutSpec = Field(
        default=RolloutSpec(), description="How changes go over the hosts behind a gateway."
    )
    driver: Driver = DriverSpec()
    container_toolkit: Toolkit = ToolkitSpec()
    container_runtime: Runtime = None
    reboot: Reboot = None
    proxy: Proxy = None
    drain_timeout_s: DrainTimeout = None
    selfcheck: Selfcheck = SelfcheckSpec()
    health: HealthSpec = Field(
        default=HealthSpec(), description="How every host watches its slices."
    )
    watchdog: Watchdog = WatchdogSpec()
    catalogue: CatalogueSpec = Field(
        default=CatalogueSpec(), description="Models and GPUs beside the known ones."
    )
    packing: Literal["spread", "tight"] = Field(
        "spread",
        description="spread: wishes stay where they are and replicas are on different hosts; tight: "
        "the fewest GPUs, by the solver if it is installed, at the cost of moving slices.",
    )
    wishes: list[WishSpec] = Field(
        default=[], description="What the fleet shall serve, on whichever hosts have room."
    )
    hosts: Annotated[dict[HostName, HostSpec], Field(min_length=1)] = Field(
        description="Every host by its name."
    )

    @model_validator(mode="after")
    def _rules(self) -> "Fleet":
        fleet_rules(self)
        fleet_mirror_rules(self)
        fleet_gateway_rules(self)
        fleet_monitoring_rules(self)
        fleet_rollout_rules(self)
        return self


def fleet_schema() -> dict[str, Any]:
    """JSON Schema of an inventory file, for editors that complete and check YAML."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Fleet.model_json_schema(),
        "title": "Ollama Fleet inventory",
    }
