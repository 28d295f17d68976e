"""What a person writes about a host that is to be given up: `state: absent`, and what goes with it.

Part of `spec`; imports only what its keys are made of.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StrictBool

from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Spec

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import HostSpec


class RemoveSpec(Spec):
    """What goes from a host with `state: absent` beside all that a deploy put there. Driver, container
    toolkit and the layout of its GPUs stay."""

    models: StrictBool = Field(
        False, description="true: the model store goes, too; false: it stays for the next deploy."
    )


State = Annotated[
    Literal["present", "absent"],
    Field(
        description="absent: a deploy takes away all that it put there, and the host serves nothing; "
        "its other keys may stay.",
    ),
]
Remove = Annotated[RemoveSpec, Field(description="What else goes, with `state: absent`.")]


def removal_rules(spec: "HostSpec") -> None:
    """Check that nothing is said of a removal that will not be."""
    if spec.state == "present" and "remove" in spec.model_fields_set:
        what = "says what goes with `state: absent`; this host is present, so drop `remove:`"
        raise rule_broken(("remove",), what)
