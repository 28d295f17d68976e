"""What keeps an Ollama release from a host, said before anything is changed there. Pure."""

from collections.abc import Iterator

from ollama_fleet.catalogue.release import archive_bytes, unpacked_ratio
from ollama_fleet.planner.plan import PREFIX, HostPlan
from ollama_fleet.release.state import InstalledReleases

GIB = 2**30
_ELSEWHERE = "take it out of the inventory and use Ollama's own installer there"


def release_problems(plan: HostPlan, found: InstalledReleases, nvidia: bool) -> list[str]:
    """All of it, with what to do; `nvidia`: NVIDIA GPUs are on the host's PCI bus."""
    return [*_other_hosts(plan, found, nvidia), *_no_room(plan, found)]


def _other_hosts(plan: HostPlan, found: InstalledReleases, nvidia: bool) -> Iterator[str]:
    if found.jetpack:
        yield (
            "this is a JetPack host (/etc/nv_tegra_release), which needs CUDA libraries of its own that "
            f"Ollama's archive lacks; {_ELSEWHERE}"
        )
    if plan.slices and found.amd_gpus and not nvidia:
        yield (
            f"its only GPUs are AMD's ({', '.join(found.amd_gpus)}), which need ROCm libraries that "
            f"Ollama's archive lacks; {_ELSEWHERE}"
        )


def _no_room(plan: HostPlan, found: InstalledReleases) -> Iterator[str]:
    needed = needed_bytes(plan, found)
    if found.free_bytes is not None and found.free_bytes < needed:
        yield (
            f"installing Ollama {plan.ollama.version} takes up to {needed / GIB:.1f} GiB, and "
            f"{found.free_bytes / GIB:.1f} GiB are free at {PREFIX}; make room, or mount a larger disk there"
        )


def needed_bytes(plan: HostPlan, found: InstalledReleases) -> int:
    """What the release still takes on the host's disk until it is installed: archive and content."""
    digest = plan.ollama.sha256.get(found.arch)
    if digest is None or found.prefixes.get(plan.ollama.prefix) == digest:
        return 0
    archive = archive_bytes(found.arch)
    return archive * unpacked_ratio() + (0 if digest in found.archives else archive)
