"""What a person writes about Ollama itself: the release, its pin, where it comes from, how it gets to a host.

Part of `spec`, which says the rest; imports the catalogue's rules on releases. Defaults are in
group_data and `release.wanted`: None means "not said", so that a host's keys go over the fleet's.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from ollama_fleet.catalogue.release import archive_problem, read_version, version_problems
from ollama_fleet.spec.rules import rule_broken
from ollama_fleet.spec.servers import Spec

if TYPE_CHECKING:
    from ollama_fleet.spec.fleet import Fleet

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s'\"]+$")]


class OllamaSpec(Spec):
    """Which Ollama is installed, and where it and the models come from. Defaults: group_data."""

    version: str | None = Field(
        None,
        description="Release to install, such as 0.32.15; never 'latest'. Default: `ollama_version` of "
        "group_data, which `fleet pin ollama` sets.",
    )
    sha256: dict[Literal["amd64", "arm64"], Sha256] | None = Field(
        None,
        description="Checksum of the release archive per architecture; default: what `fleet pin ollama` "
        "has pinned for the version.",
    )
    sha256_file: str | None = Field(
        None,
        description="A release's sha256sum.txt on this machine, used instead of `sha256`; "
        "relative to this inventory.",
    )
    release_url: Url | None = Field(
        None,
        description="Where releases lie as v<version>/<archive>: GitHub's address or a mirror's.",
    )
    archive: str | None = Field(
        None,
        description="Name of the archive there; {arch} stands for amd64 or arm64. Default: "
        "ollama-linux-{arch}.tar.zst; a .tgz does as well.",
    )
    delivery: Literal["host", "controller"] | None = Field(
        None,
        description="Who fetches the archive: the host (the default), or the controller, which is this "
        "machine: it fetches it once and sends it over SSH, to hosts that reach no release.",
    )
    keep_versions: Annotated[StrictInt, Field(ge=0, le=20)] | None = Field(
        None,
        description="How many other releases stay on a host beside the current one, the last ones used; "
        "going back to one of them downloads nothing. Default 2.",
    )
    registry: Url | None = Field(
        None, description="Model registry to pull from instead of the public one."
    )

    @model_validator(mode="after")
    def _rules(self) -> "OllamaSpec":
        if self.version is not None:
            try:
                read_version(self.version)
            except ValueError as error:
                raise rule_broken(("version",), str(error)) from None
        wrong = archive_problem(self.archive) if self.archive is not None else None
        if wrong:
            raise rule_broken(("archive",), wrong)
        return self

    def over(self, base: "OllamaSpec") -> "OllamaSpec":
        """`base` with everything that this sets; a checksum goes with its own version only."""
        said = self.model_dump(exclude_none=True)
        other = self.version is not None and self.version != base.version
        if other or "sha256" in said or "sha256_file" in said:
            base = base.model_copy(update={"sha256": None, "sha256_file": None})
        return base.model_copy(update=said)


def fleet_ollama_rules(fleet: "Fleet") -> Iterator[PydanticCustomError]:
    """Each host's release, where the inventory names it, against what is known of releases."""
    for name, host in fleet.hosts.items():
        version = host.ollama.version or fleet.ollama.version
        if version is None:
            continue
        wrong = version_problems(version, mig=bool(host.mig or host.mig_parted))
        if wrong:
            at = ("hosts", name, "ollama", "version") if host.ollama.version else ()
            yield rule_broken(at or ("ollama", "version"), f"{name}: {'; '.join(wrong)}")
