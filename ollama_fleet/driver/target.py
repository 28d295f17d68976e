"""Which driver a host is to get: branch, version, flavour. Pure."""

from dataclasses import dataclass

from ollama_fleet.catalogue.distribution import Distribution, find_distribution
from ollama_fleet.driver.flavour import Needs, version_key
from ollama_fleet.driver.state import State
from ollama_fleet.planner.provision import DriverRequest


@dataclass(frozen=True)
class Target:
    """The driver that a host is to get. `version` None: the newest of the branch. `signed`: as
    modules that the distribution built and signed, without DKMS and NVIDIA's repository. `otherwise`:
    the branch to take where the repository does not have `branch`, which nobody asked for."""

    branch: int
    version: str | None
    flavour: str
    signed: bool = False
    otherwise: int | None = None

    def __str__(self) -> str:
        signed = ", signed by the distribution" if self.signed else ""
        return f"{self.version or self.branch} ({self.flavour} kernel modules{signed})"


def choose_target(request: DriverRequest, needs: Needs, distribution: Distribution) -> Target:
    """The driver to install. Raises ValueError with words when the request cannot be met."""
    last, floor = needs.last_branch, version_key(needs.floor)[0]
    asked = request.branch or (version_key(request.version)[0] if request.version else None)
    fitting = [one for one in distribution.branches if one >= floor and one <= (last or one)]
    branch, *others = [asked] if asked else fitting or [floor]
    if last and branch > last:
        raise ValueError(
            f"branch {branch} has dropped GPUs before Turing; set `driver: {{branch: {last}}}`"
        )
    too_old = request.version and version_key(request.version) < version_key(needs.floor)
    if branch < floor or too_old:
        raise ValueError(
            f"driver {request.version or branch} is too old: these GPUs and Ollama need "
            f"{needs.floor} or newer"
        )
    return Target(branch, request.version, needs.flavour, otherwise=others[0] if others else None)


def distribution_of(state: State) -> Distribution:
    """The table's row for a host. Raises UnsupportedDistributionError."""
    return find_distribution(state.os_id, state.os_version, state.machine)
