"""Which models a host keeps beside those that are served, where, and how it downloads.

Part of `spec`, which says the rest.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Model, Spec

# Places that a service sees differently than a person does, or that are gone after a boot.
HIDDEN = ("/home/", "/root/", "/tmp/", "/var/tmp/", "/run/", "/proc/", "/sys/", "/dev/", "/boot/")
# Folders that are somebody's already: the store belongs to the service user.
TAKEN = ("/etc/", "/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/ollama/")
ITS_OWN = "choose a folder of its own, such as /data/ollama"


def _visible(path: str) -> str:
    if f"{path}/".startswith(HIDDEN):
        raise rule_broken((), f"services do not see {path} as you do; {ITS_OWN}")
    if f"{path}/".startswith(TAKEN) or path.count("/") < 2 or path == "/var/lib/ollama":
        raise rule_broken((), f"{path} is not for models alone; {ITS_OWN}")
    return path


Folder = Annotated[
    str, Field(pattern=r"^(/[A-Za-z0-9._-]*[A-Za-z0-9_-])+$"), AfterValidator(_visible)
]


class ModelsSpec(Spec):
    """The model store: what it holds beside the models that slices name, and where it lies."""

    extra: list[Model] | None = Field(None, description="Also keep these in the store.")
    absent: list[Model] | None = Field(
        None, description="Remove these; data that another model uses stays."
    )
    keep_unlisted: bool | None = Field(
        None,
        description="false: remove every model that neither a slice nor `extra` names. Default true.",
    )
    scrub: bool | None = Field(
        None,
        description="Hash every model that the inventory names once a week, when the disk is idle, and "
        "fetch what is broken anew. Default true.",
    )
    path: Folder | None = Field(
        None,
        description="Folder of the store, on a disk that is large enough, not below /home, /root, /tmp "
        "or /run. Default /var/lib/ollama/models.",
    )


class DownloadsSpec(Spec):
    """How a host downloads models and releases."""

    parallel: Annotated[int, Field(ge=1, le=16)] | None = Field(
        None, description="Models that are fetched at the same time; default 3."
    )
    rate_mib_s: Annotated[float, Field(ge=0.1, le=100_000)] | None = Field(
        None, description="Most MiB per second that a host downloads; default: no limit."
    )
