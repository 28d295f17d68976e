"""What a person writes about the watch over slices: how they are asked, and who repairs them.

Part of `spec`, which says the rest.
"""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from ollama_fleet.spec.servers import Spec

WatchSeconds = Annotated[StrictInt, Field(ge=1, le=86_400)]


class HealthSpec(Spec):
    """How a host finds out that a slice does not serve: a short generation, again and again."""

    every_s: WatchSeconds = Field(10, description="Seconds between two generations of one slice.")
    timeout_s: WatchSeconds = Field(30, description="Longest that one may take on an idle slice.")
    busy_timeout_s: WatchSeconds = Field(
        300, description="The same on a slice that is serving others, behind which it waits."
    )


class WatchdogSpec(Spec):
    """Who repairs a slice that does not serve: unload, restart, reset the GPU, else quarantine."""

    enabled: StrictBool | None = Field(
        None, description="false: slices are repaired by people only; default: true."
    )
    repairs_per_hour: Annotated[StrictInt, Field(ge=1, le=60)] | None = Field(
        None,
        description="Most repairs of one slice in an hour, each rung counts; then it is quarantined. "
        "Default: 3.",
    )
    reset_gpu: Literal["auto", "never"] | None = Field(
        None,
        description="auto (the default): a GPU that nobody else uses may be reset; never: the slice "
        "is quarantined instead.",
    )
    load_timeout_s: WatchSeconds | None = Field(
        None,
        description="Longest that loading a slice's models may take before it counts as hung. "
        "Default: 600.",
    )
    most_load: Annotated[StrictInt, Field(ge=1, le=10_000)] | None = Field(
        None,
        description="Load average per CPU above which a slow slice is no reason to repair anything. "
        "Default: 8.",
    )


Watchdog = Annotated[
    WatchdogSpec,
    Field(description="Who repairs slices that do not serve; a host's keys win over the fleet's."),
]
