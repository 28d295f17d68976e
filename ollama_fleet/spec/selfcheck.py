"""How often a host looks at itself, as a person writes it. Part of `spec`, which says the rest."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictBool, StrictInt

from ollama_fleet.spec.servers import Spec

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet, HostSpec

EVERY_MIN = 15


class SelfcheckSpec(Spec):
    """A timer on the host: is all as it was when it was proved? Nothing is generated for it."""

    enabled: StrictBool | None = Field(None, description="Whether hosts do so. Default true.")
    every_min: Annotated[StrictInt, Field(ge=1, le=1440)] | None = Field(
        None, description=f"Minutes from one look to the next. Default {EVERY_MIN}."
    )


Selfcheck = Annotated[
    SelfcheckSpec, Field(description="The host's own look at itself, by a timer.")
]


def selfcheck_min(fleet: "Fleet", spec: "HostSpec") -> int:
    """Minutes between two looks of one host, its own word over the fleet's; 0: none."""
    levels = (spec.selfcheck, fleet.selfcheck)
    enabled = next((level.enabled for level in levels if level.enabled is not None), True)
    every = next((level.every_min for level in levels if level.every_min is not None), EVERY_MIN)
    return every if enabled else 0
