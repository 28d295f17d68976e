"""How a machine is reached, as a person writes it: the same for hosts and mirrors. Part of `spec`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ollama_fleet.spec.addresses import address_of_machine
from ollama_fleet.spec.servers import Port, Spec


class SshSpec(Spec):
    """How a host is reached."""

    user: str | None = Field(None, description="Login name; default: what ssh itself would use.")
    port: Port | None = Field(None, description="SSH port; default 22.")
    key: str | None = Field(
        None, description="Private key file, relative to this inventory; default: agent and ~/.ssh."
    )
    known_hosts: str | None = Field(
        None, description="File of known host keys, relative to this inventory."
    )
    sudo: bool | None = Field(
        None, description="Become root with passwordless sudo after logging in as another user."
    )


Address = Annotated[
    Annotated[str, AfterValidator(address_of_machine)] | None,
    Field(description="Name or address; default: the host's own key."),
]
Connection = Annotated[
    Literal["ssh", "local"],
    Field(description="'local' deploys to the machine that pyinfra runs on."),
]
Ssh = Annotated[SshSpec, Field(description="How it is reached; over the fleet's ssh.")]
