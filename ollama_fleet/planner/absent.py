"""Hosts that are to be absent: they offer no room, and nothing of theirs is planned or checked."""

from ollama_fleet.planner.plan import HostPlan, Removal
from ollama_fleet.spec.fleet import Fleet, HostSpec
from ollama_fleet.spec.rules import LOADER_PORT


def emptied(fleet: Fleet) -> Fleet:
    """The fleet as its plan sees it: absent hosts keep their place, and have nothing."""
    if all(spec.state == "present" for spec in fleet.hosts.values()):
        return fleet
    hosts = {
        name: spec if spec.state == "present" else _empty(spec)
        for name, spec in fleet.hosts.items()
    }
    return fleet.model_copy(update={"hosts": hosts})


def _empty(spec: HostSpec) -> HostSpec:
    lists = ("reserved", "mig", "gpu_settings", "neighbours", "slices", "wishes")
    nothing: dict[str, object] = {key: [] for key in lists}
    return spec.model_copy(update={**nothing, "gpus": [], "mig_parted": None})


def removal_of(spec: HostSpec) -> Removal | None:
    """What is to go from a host; None where it is to be present."""
    return None if spec.state == "present" else Removal(models=spec.remove.models)


def absent_machine(name: str) -> HostPlan:
    """The plan of a machine that was a gateway's own: whatever is found there goes."""
    return HostPlan(name, None, (), (), LOADER_PORT, removal=Removal())
