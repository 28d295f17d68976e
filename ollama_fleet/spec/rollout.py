"""What a person writes about changes: how they go over the hosts of a fleet that has a gateway.

Part of `spec`, which says the rest.
"""

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictBool, StrictInt
from pydantic_core import PydanticCustomError

from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Spec

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet


class RolloutSpec(Spec):
    """How a change that takes slices out of service goes over the hosts."""

    batch: (
        Annotated[StrictInt, Field(ge=1)] | Annotated[str, Field(pattern=r"^([1-9][0-9]?|100)%$")]
    ) = Field(
        1,
        description="How many hosts at once: a number, or a part of them such as '25%' (at least one).",
    )
    pause_on_failure: StrictBool = Field(
        True, description="Leave all further hosts as they are when one fails its check."
    )
    canary: StrictBool | str = Field(
        True,
        description="Change one host alone first, and the others only when it passes: the first of "
        "them that has to change, or the host named here; false: none.",
    )


def fleet_rollout_rules(fleet: "Fleet") -> None:
    """Check the rollout against the fleet's hosts."""
    for error in _rules(fleet):
        raise error


def _rules(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    if "rollout" not in fleet.model_fields_set:
        return
    if fleet.gateway is None:
        what = (
            "says how slices leave the gateway for a change, and there is none; add `gateway: {}`"
        )
        yield rule_broken(("rollout",), what)
    canary = fleet.rollout.canary
    if isinstance(canary, str) and canary not in fleet.hosts:
        near = difflib.get_close_matches(canary, fleet.hosts, n=3, cutoff=0.4)
        has = ", ".join(near or list(fleet.hosts)[:5])
        yield rule_broken(("rollout", "canary"), f"no host is named '{canary}'; nearest: {has}")
