"""What a person writes about a host's NVIDIA side: driver, container toolkit, GPU settings.

Part of `spec`, which says the rest; imports only the rules. Defaults that are not None here are in
`planner.provision`: None means "not said", so that a host's keys go over the fleet's one by one.
"""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from ollama_fleet.spec.nvidia_rules import driver_rules, settings_rules, toolkit_rules
from ollama_fleet.spec.servers import Index, Spec

Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{40}$")]
KeyFile = Annotated[str, Field(min_length=1)]
_KEY = (
    "File with the repository's public key, relative to this inventory: trusted as it is and sent to the "
    "host, which then fetches none."
)
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s'\"/][^\s'\"]*$")]
Mhz = Annotated[StrictInt, Field(ge=100, le=10_000)]
ClockRange = Annotated[list[Mhz], Field(min_length=2, max_length=2)]


class DriverSpec(Spec):
    """The NVIDIA driver of a host. Without any of this a host without one gets a fitting one, and one
    that serves is left alone."""

    manage: StrictBool | None = Field(
        None, description="false: never touch the driver; default true."
    )
    branch: Annotated[StrictInt, Field(ge=450, le=999)] | None = Field(
        None,
        description="Release branch to install and stay on, such as 580 or 595; default: 580 for a "
        "new installation, and a driver that serves is left alone.",
    )
    version: Annotated[str, Field(pattern=r"^\d{3}\.\d{1,3}(\.\d{1,3})?$")] | None = Field(
        None, description="Exact version to install and pin, such as 580.95.05 (in quotes)."
    )
    flavour: Literal["auto", "open", "proprietary"] | None = Field(
        None,
        description="Kernel modules; auto (the default): open from Turing on, else proprietary.",
    )
    secure_boot: Literal["fail", "enroll", "ignore"] | None = Field(
        None,
        description="Where Secure Boot would reject the modules: fail (the default) before anything "
        "is changed; enroll the key, which a person confirms at the console; or ignore it.",
    )
    replace: StrictBool | None = Field(
        None,
        description="Purge a driver that came from another source (distribution, .run file) first; "
        "default false: such a host is refused.",
    )
    repository: HttpUrl | None = Field(
        None, description="Where NVIDIA's driver repositories lie: their address or a mirror's."
    )
    key_fingerprint: Fingerprint | None = Field(
        None,
        description="Fingerprint of the repository's key; default: NVIDIA's, per distribution.",
    )
    key: KeyFile | None = Field(None, description=_KEY)

    @model_validator(mode="after")
    def _rules(self) -> "DriverSpec":
        driver_rules(self)
        return self


class ToolkitSpec(Spec):
    """NVIDIA's container toolkit of a host: all of its packages at one version."""

    install: StrictBool | None = Field(
        None, description="Install it; default: where a container runtime is there or asked for."
    )
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")] | None = Field(
        None, description="Version to install and pin, such as 1.20.0; 1.17.8 or newer."
    )
    repository: HttpUrl | None = Field(
        None, description="Where its repositories lie: NVIDIA's address or a mirror's."
    )
    key_fingerprint: Fingerprint | None = Field(
        None, description="Fingerprint of the repository's key; default: NVIDIA's."
    )
    key: KeyFile | None = Field(None, description=_KEY)

    @model_validator(mode="after")
    def _rules(self) -> "ToolkitSpec":
        toolkit_rules(self)
        return self


# What a fleet and a host may say alike; the host's keys go over the fleet's, one by one.
Driver = Annotated[DriverSpec, Field(description="The NVIDIA driver.")]
Toolkit = Annotated[ToolkitSpec, Field(description="NVIDIA's container toolkit.")]
Runtime = Annotated[
    Literal["docker"] | None,
    Field(description="Container runtime to install; default: use one that is there."),
]
Reboot = Annotated[
    Literal["auto", "ask", "never"] | None,
    Field(
        description="When the driver needs a reboot: auto does it, ask asks at the terminal, never "
        "stops there. Default: auto where no slice runs yet, never on a host that serves."
    ),
]
Proxy = Annotated[
    HttpUrl | None,
    Field(description="HTTP proxy for everything that a host fetches, without a password."),
]
DrainTimeout = Annotated[
    Annotated[StrictInt, Field(ge=0, le=86_400)] | None,
    Field(
        description="Seconds that running requests get to end before slices stop for a change of "
        "driver or MIG; default 120."
    ),
]


class GpuSettingsSpec(Spec):
    """Settings of some GPUs of a host, kept over reboots; what is not said stays as found."""

    gpus: list[Index] = Field(
        default=[], description="Indexes of the GPUs, in PCI order; default: all."
    )
    power_limit_w: Annotated[StrictInt, Field(ge=10, le=2000)] | None = Field(
        None, description="Power limit in W."
    )
    graphics_clock_mhz: ClockRange | None = Field(
        None, description="Lock the graphics clock: lowest and highest, in MHz."
    )
    memory_clock_mhz: ClockRange | None = Field(
        None, description="Lock the memory clock: lowest and highest, in MHz."
    )
    ecc: StrictBool | None = Field(None, description="ECC memory on or off; needs a reboot.")
    compute_mode: Literal["default", "exclusive_process", "prohibited"] | None = Field(
        None, description="Which processes may use the GPU, as nvidia-smi names it."
    )

    @model_validator(mode="after")
    def _rules(self) -> "GpuSettingsSpec":
        settings_rules(self)
        return self


class MigPartedSpec(Spec):
    """A file of mig-parted that says how GPUs are cut, used instead of `mig`."""

    file: Annotated[str, Field(min_length=1)] = Field(
        description="mig-parted's own YAML file, relative to this inventory."
    )
    config: Annotated[str, Field(min_length=1)] = Field(
        description="Name of one of its `mig-configs`."
    )
