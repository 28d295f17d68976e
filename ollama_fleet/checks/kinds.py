"""What each check is about: the same words in every report, and which of them are quick.

A result's `check` is a name of this table. `severity` says what its failure means: critical - requests
are lost or answered wrongly now; major - something will break, or protects nobody any more; minor - good
to know. `step` is the step of the deploy that it proves. Some names mean the same of several subjects: a
mirror has a `unit` as a slice has, a gateway proves `inference` through itself.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "major", "minor"]


@dataclass(frozen=True)
class Kind:
    """One check as people and machines read of it; `quick`: neither generates nor reads much."""

    name: str
    severity: Severity
    step: str
    what: str
    quick: bool = True


_HOST = (
    Kind("reachable", "critical", "preflight", "it lets us in, and answers in time"),
    Kind("plan", "critical", "hardware", "the host has the GPUs that its slices are planned on"),
    Kind("gpu count", "critical", "driver", "nvidia-smi lists every GPU of the PCI bus"),
    Kind("driver", "critical", "driver", "one version is loaded and in user space"),
    Kind("driver pin", "major", "driver", "the version asked for, kept from changing by itself"),
    Kind("driver flavour", "critical", "driver", "open or proprietary modules, as the GPUs need"),
    Kind("persistence", "major", "driver", "the driver keeps its state while nothing runs"),
    Kind("next boot", "major", "driver", "every installed kernel has the driver's module"),
    Kind("fabric", "critical", "driver", "NVSwitches are managed, every GPU is registered"),
    Kind("nvidia-uvm", "critical", "driver", "the module without which CUDA cannot start"),
    Kind("disk", "major", "preflight", "room and inodes where the store, state and logs lie"),
    Kind(
        "clock", "major", "preflight", "the clock is set by a server, and agrees with this machine"
    ),
    Kind("ports", "major", "slices", "what is ours listens where it was planned, and nowhere else"),
    Kind("metrics", "major", "metrics", "exporters run, and what monitors are shown is of now"),
    Kind(
        "certificate for monitors",
        "major",
        "metrics",
        "its key is its own, and it does not end soon",
    ),
    Kind("stock unit", "critical", "slices", "Ollama's own unit does not take every GPU"),
    Kind("deploy under way", "minor", "verify", "nobody changes the host while it is verified"),
    Kind("release files", "critical", "ollama", "Ollama's files are as they were unpacked"),
    Kind("self check", "minor", "verify", "the host's own look finds what was proved"),
    Kind("locked weights", "critical", "models", "locked models are the ones of the lock file"),
)
_GPU = (
    Kind("gpu health", "critical", "driver", "it answers, and wants no reset"),
    Kind("ecc", "critical", "driver", "its memory had no error that it could not correct"),
    Kind("row remapping", "major", "driver", "no memory row or page waits for a reset"),
    Kind("throttling", "major", "driver", "nothing slows it down"),
    Kind("pcie width", "minor", "driver", "its link has all of its lanes"),
    Kind("xid", "minor", "driver", "the kernel logged no fault since the driver was loaded"),
    Kind("mig layout", "critical", "gpus", "it is cut as planned, or not at all"),
    Kind("gpu settings", "major", "gpus", "power limit, clocks, ECC and compute mode as planned"),
)
_CONTAINERS = (
    Kind("container toolkit", "major", "container toolkit", "one safe version of its packages"),
    Kind("cdi specification", "major", "container toolkit", "it names the devices that exist"),
    Kind(
        "docker container", "major", "container toolkit", "a container sees all GPUs", quick=False
    ),
    Kind(
        "podman container", "major", "container toolkit", "a container sees all GPUs", quick=False
    ),
    Kind("containerd runtime", "major", "container toolkit", "containerd knows NVIDIA's runtime"),
)
_SLICE = (
    Kind("unit", "critical", "slices", "it runs, and will at boot"),
    Kind("restarts", "major", "slices", "systemd did not have to start it again and again"),
    Kind("hardening", "major", "slices", "the sandbox is in force, whatever the unit's file says"),
    Kind("environment", "critical", "slices", "the running process has the planned variables"),
    Kind("isolation", "major", "slices", "the kernel lets it open its own GPUs only"),
    Kind("gpu discovery", "critical", "slices", "its server found its GPUs when it started"),
    Kind("api", "critical", "ollama", "the planned version answers on its port"),
    Kind("models", "critical", "models", "its models are in the store"),
    Kind("warm", "major", "warm", "its models are in memory, with the planned context"),
    Kind("inference", "critical", "verify", "a real request is answered", quick=False),
    Kind("speed", "major", "verify", "tokens come as fast as the GPU must do it", quick=False),
    Kind("weights on gpu", "critical", "verify", "its memory lies on its own GPUs, by the driver"),
    Kind("in service", "minor", "hop", "nobody has taken it out of service"),
    Kind("quarantine", "critical", "watch", "the watchdog has not taken it out of service"),
)
_WATCH = (
    Kind("ollama-health", "major", "watch", "the host asks its slices whether they serve"),
    Kind("ollama-watchdog", "major", "watch", "slices that do not serve are repaired"),
)
_GATEWAY = (
    Kind("ollama-hop", "critical", "hop", "the host's nginx lets gateways in"),
    Kind("ollama-firewall", "major", "firewall", "the rules are loaded, and will be at boot"),
    Kind("certificate for gateways", "critical", "hop", "the host's certificate is good"),
    Kind("ollama-gateway", "critical", "gateway", "nginx runs the planned configuration"),
    Kind("ollama-balancer", "critical", "gateway", "HAProxy runs the planned configuration"),
    Kind("ollama-address", "major", "gateway", "keepalived runs the planned configuration"),
    Kind("ollama-address-check", "major", "gateway", "the shared address follows who serves"),
    Kind("certificate for clients", "critical", "gateway", "clients see a good certificate"),
    Kind("certificate for hosts", "critical", "gateway", "hosts see a good certificate"),
    Kind("keys", "critical", "gateway", "it knows the inventory's API keys, and no others"),
    Kind("slices", "critical", "gateway", "every slice is up behind the gateway"),
    Kind(
        "front", "critical", "gateway", "who has no key is refused, or let in where none is asked"
    ),
)
_MIRROR = (
    Kind("configuration", "major", "mirror", "nginx has the planned configuration in force"),
    Kind("answers", "critical", "mirror", "hosts are answered where they will ask"),
    Kind("cache disk", "major", "mirror", "the cache has room to grow as far as it may"),
)
_DRIFT = (
    Kind("files", "major", "slices", "nobody has changed, removed or copied a file of ours"),
    Kind("inventory", "minor", "slices", "the host has what the inventory says now"),
    Kind("firewall rules", "major", "firewall", "the rules that a deploy proved are in force"),
    Kind("drop-ins", "major", "slices", "nobody else's drop-in lies over a unit of ours"),
    Kind("in force", "major", "slices", "systemd runs units as their files say"),
    Kind("foreign processes", "major", "slices", "nobody else computes on the slices' GPUs"),
    Kind("strange units", "minor", "slices", "no units of Ollama that nobody asked for"),
    Kind("other servers", "minor", "slices", "no Ollama runs but the slices"),
    Kind("other stores", "minor", "models", "no second folder of models takes the disk"),
    Kind("unlisted models", "minor", "models", "the store holds what the inventory lists"),
)
_MONITOR = (
    Kind("ollama-prometheus", "major", "monitor", "Prometheus runs the planned configuration"),
    Kind("ollama-monitor-door", "major", "monitor", "nginx before it runs the planned one"),
    Kind("targets", "major", "monitor", "it sees the metrics of every machine"),
    Kind("alert rules", "major", "monitor", "every group of alert rules is loaded"),
    Kind("monitor door", "critical", "monitor", "who has no password is refused"),
    Kind("alerts", "minor", "monitor", "no alert fires"),
    Kind("certificate for looking at machines", "major", "monitor", "machines see a good one"),
    Kind("certificate for people", "major", "monitor", "people see a good one"),
)
KINDS = {
    kind.name: kind
    for kinds in (_HOST, _GPU, _CONTAINERS, _SLICE, _WATCH, _GATEWAY, _MIRROR, _MONITOR, _DRIFT)
    for kind in kinds
}
OTHER = Kind("", "major", "verify", "")


def kind_of(check: str) -> Kind:
    """The kind of a result's check."""
    return KINDS.get(check, OTHER)
