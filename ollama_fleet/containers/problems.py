"""What keeps the container toolkit from a host, each with what to do; and what a person should know."""

from collections.abc import Iterator

from ollama_fleet.containers import containerd, daemon_json, packages, sources
from ollama_fleet.containers.decision import PODMAN_CDI, given_by_flag, left_alone, managed
from ollama_fleet.containers.packages import OLDEST, number
from ollama_fleet.containers.state import ContainerState
from ollama_fleet.planner.plan import HostPlan


def problems(plan: HostPlan, state: ContainerState) -> list[str]:
    """Everything that keeps the toolkit from this host, each with what to do."""
    return [*_problems(plan, state)] if managed(plan, state) else []


def _problems(plan: HostPlan, state: ContainerState) -> Iterator[str]:
    version = plan.provision.toolkit.version
    if number(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        yield (
            f"container toolkit {version} lets a container take over its host (CVE-2025-23266, "
            f"NVIDIAScape); ask for {oldest} or newer"
        )
    if state.family is None or state.arch not in packages.DEB_ARCHITECTURES:
        yield (
            "NVIDIA has no container toolkit for this distribution or architecture; "
            "set `container_toolkit: {install: false}`"
        )
    if not left_alone(plan, state):
        yield from sources.problems(state.sources)
    yield from _docker_missing(plan, state)
    if state.docker or plan.provision.container_runtime == "docker":
        yield from _daemon_json_problems(state)
    if state.containerd is not None:
        yield from _containerd_problems(state)


def _docker_missing(plan: HostPlan, state: ContainerState) -> Iterator[str]:
    if plan.provision.container_runtime != "docker" or state.docker:
        return
    if "docker-snap" in state.commands:
        yield "Docker is a snap here, which cannot use the toolkit; `snap remove docker`, run again"
    elif state.docker_candidate is None:
        names = " or ".join(packages.DOCKER_PACKAGES.get(state.family or "", ("docker",)))
        yield (
            f"no enabled repository of this host has {names}; enable one that has, or install Docker "
            "by other means"
        )


def _daemon_json_problems(state: ContainerState) -> Iterator[str]:
    engine = state.docker
    if engine and given_by_flag(engine) and "nvidia" not in engine.runtimes:
        yield (
            "dockerd is started with --add-runtime, which forbids runtimes in daemon.json; move "
            "them from `systemctl cat docker` into the file"
        )
    try:
        daemon_json.merge(state.daemon_json.text, cdi=False)
    except daemon_json.BadDaemonJsonError as error:
        yield f"{state.daemon_json.path} cannot be understood: {error}; mend it, nothing was changed"


def _containerd_problems(state: ContainerState) -> Iterator[str]:
    try:
        containerd.merge(state.containerd_config.text, state.containerd or ())
    except containerd.BadContainerdConfigError as error:
        yield f"{state.containerd_config.path} cannot be used: {error}"


def advice(plan: HostPlan, state: ContainerState) -> list[str]:
    """What is worth saying though the deploy goes on."""
    return [*_advice(state)] if managed(plan, state) else []


def _advice(state: ContainerState) -> Iterator[str]:
    if "docker-snap" in state.commands:
        yield "Docker from a snap cannot use the NVIDIA toolkit; its containers get no GPU"
    if "docker-rootless" in state.commands:
        yield "a rootless Docker runs here; it is not set up for GPUs, only the system's engine is"
    if state.podman and state.podman < PODMAN_CDI:
        yield f"Podman {_dotted(state.podman)} cannot use CDI (4.1 or newer can); it gets no GPU"
    if "selinux" in state.commands:
        yield "SELinux is enforcing: containers with a GPU need --security-opt label=disable"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
