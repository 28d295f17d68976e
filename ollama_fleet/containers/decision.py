"""What separates a host from a plan where containers and GPUs meet: the steps that end it."""

import hashlib
from dataclasses import replace

from ollama_fleet.containers import cdi, containerd, daemon_json, docker, packages, probe, sources
from ollama_fleet.containers.packages import BASE, PACKAGES, number
from ollama_fleet.containers.state import ContainerState, Docker
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.provision import ToolkitRequest
from ollama_fleet.templating import HostFile

# Shell, or a file to write.
Step = str | HostFile
# Docker reads CDI from the first on where it is told so, from the second on by itself.
DOCKER_CDI = (25,)
DOCKER_CDI_BY_DEFAULT = (28, 2)
PODMAN_CDI = (4, 1)


def managed(plan: HostPlan, state: ContainerState) -> bool:
    """Whether this host is to have the toolkit."""
    asked = plan.provision.toolkit.install
    if asked is None:
        runtime = state.has_runtime or plan.provision.container_runtime is not None
        return state.gpus > 0 and runtime
    return asked


def docker_steps(plan: HostPlan, state: ContainerState) -> list[Step]:
    """Installs the Docker engine that the plan asks for; empty when there is one. It would not start
    with a daemon.json that it cannot read, so that one is mended first."""
    package = state.docker_candidate
    if plan.provision.container_runtime != "docker" or state.docker or not package:
        return []
    parts = [*_proxy(plan)]
    if state.daemon_json.text is not None:
        merged = daemon_json.merge(state.daemon_json.text, cdi=False)
        parts += [docker.write_step(state.daemon_json, merged, ":")] if merged else []
    return [*parts, packages.docker_step(state.family or "", package)]


def steps(plan: HostPlan, state: ContainerState) -> list[Step]:
    """Everything to do on the host, in order; empty when it is as planned."""
    if not managed(plan, state):
        return []
    parts = [
        *_package_steps(plan, state),
        *_cdi_steps(plan, state),
        *_docker_config(state),
        *_containerd_config(state),
        *_images(state),
    ]
    return [*_proxy(plan), *parts] if parts else []


def installed(plan: HostPlan, state: ContainerState) -> str | None:
    """The one version that all wanted packages have, new enough for the plan; else None."""
    versions = {state.packages.get(name, "") for name in _wanted(plan, state)}
    version = versions.pop()
    is_enough = number(version) >= number(plan.provision.toolkit.version)
    return version if not versions and is_enough else None


def left_alone(plan: HostPlan, state: ContainerState) -> bool:
    """Whether the packages are somebody else's, of one piece and new enough."""
    ours = set(state.own) & {packages.APT_SOURCE, packages.RPM_SOURCE}
    return installed(plan, state) is not None and not ours


def _wanted(plan: HostPlan, state: ContainerState) -> tuple[str, ...]:
    """CDI needs no more than the base; Docker and containerd run their containers through the rest."""
    runs = state.docker or state.containerd is not None or plan.provision.container_runtime
    others = any(name in state.packages for name in PACKAGES if name != BASE)
    return PACKAGES if runs or others else (BASE,)


def _package_steps(plan: HostPlan, state: ContainerState) -> list[Step]:
    """What we brought is held at its version, too."""
    if left_alone(plan, state):
        return []
    request, kind = plan.provision.toolkit, state.family or ""
    found = installed(plan, state)
    if found:
        request = replace(request, version=found.removesuffix(packages.RELEASE))
    files = packages.source_files(kind, state.arch, request)
    wrong = [file for file in files if state.own.get(file.path) != _stamp(file)]
    key = packages.KEYRING if kind == "apt" else packages.RPM_KEY
    parts: list[Step] = [*sources.away_steps(state.sources)]
    if key not in state.own or files[0] in wrong:
        parts.append(packages.key_step(kind, request))
    parts += wrong
    if not found:
        parts.append(packages.install_step(kind, _wanted(plan, state), request))
    return parts + _lock(kind, state, request)


def _lock(kind: str, state: ContainerState, request: ToolkitRequest) -> list[Step]:
    version = f"{request.version}{packages.RELEASE}"
    found = state.own.get(packages.VERSIONLOCK)
    if kind != "dnf" or found == ("lock", packages.locked(version)):
        return []
    return [packages.unlock_step(), packages.lock_step(version)]


def _stamp(file: HostFile) -> tuple[str, str]:
    return file.mode.lstrip("0"), hashlib.sha256(file.text.encode()).hexdigest()


def _cdi_steps(plan: HostPlan, state: ContainerState) -> list[Step]:
    """The specification exists, and the runtimes here can read it. A package that is new or newer
    writes it by itself, but before it knows of the flag."""
    found = installed(plan, state)
    version = number(found or plan.provision.toolkit.version)
    parts: list[Step] = []
    flags = cdi.with_flag(state.cdi_flags)
    if version >= cdi.FLAG_SINCE and cdi.needs_old_specification(_cdi_readers(state)) and flags:
        parts.append(cdi.flag_step(flags))
    refreshes = "cdi-refresh" in state.commands or version >= (1, 18)
    unit = cdi.own_unit()
    if not refreshes and state.own.get(unit.path) != _stamp(unit):
        parts += [unit, cdi.enable_step()]
    if refreshes and unit.path in state.own:
        parts.append(cdi.retire_step())
    if refreshes and cdi.SPEC in state.cdi_specs:
        parts.append(cdi.aside_step())
    if parts or not found or (state.driver and not state.cdi_specs):
        parts.append(cdi.refresh_step())
    return parts


def _cdi_readers(state: ContainerState) -> dict[str, tuple[int, ...]]:
    engine = state.docker.version if state.docker and state.docker.version >= DOCKER_CDI else ()
    found = {"podman": state.podman, "docker": engine, "containerd": state.containerd}
    return {name: version for name, version in found.items() if version}


def _docker_config(state: ContainerState) -> list[Step]:
    engine, text = state.docker, state.daemon_json.text
    if engine is None:
        return []
    merged = None if given_by_flag(engine) else daemon_json.merge(text, _says_cdi(engine))
    parts: list[Step] = []
    if merged is not None:
        parts.append(docker.write_step(state.daemon_json, merged, docker.DOCKER_VALID))
    reads_cdi = _will_read_cdi(engine, merged or text)
    can_restart = engine.live_restore or not engine.containers
    lacks_cdi = reads_cdi and not engine.reads_cdi and can_restart
    fresh = PACKAGES[0] not in state.packages
    if engine.running and (parts or fresh or "nvidia" not in engine.runtimes or lacks_cdi):
        parts.append(docker.take_up_step(reads_cdi, fresh))
    return parts


def given_by_flag(engine: Docker, flag: str = "--add-runtime") -> bool:
    """Whether dockerd's command line names runtimes (or what `flag` is for); then the file must not."""
    return any(argument.startswith(flag) for argument in engine.arguments)


def _says_cdi(engine: Docker) -> bool:
    """Whether the file has to switch CDI on."""
    able = DOCKER_CDI <= engine.version < DOCKER_CDI_BY_DEFAULT
    return able and not given_by_flag(engine, "--feature")


def _will_read_cdi(engine: Docker, text: str | None) -> bool:
    """Whether Docker reads CDI once it has restarted with this daemon.json. A person may have switched it
    off, or the file is not ours to change: a restart would be of no use, today and in every deploy."""
    if any(given_by_flag(engine, flag) for flag in ("--feature", "--cdi-spec-dir")):
        return engine.reads_cdi
    by_default = engine.version >= DOCKER_CDI_BY_DEFAULT
    return engine.version >= DOCKER_CDI and daemon_json.reads_cdi(text, by_default)


def _containerd_config(state: ContainerState) -> list[Step]:
    if state.containerd is None:
        return []
    merged = containerd.merge(state.containerd_config.text, state.containerd)
    if merged is None:
        return []
    write = docker.write_step(state.containerd_config, merged, docker.CONTAINERD_VALID)
    return [write, docker.containerd_restart_step()]


def _images(state: ContainerState) -> list[Step]:
    able = [
        *(["docker"] if state.docker and state.docker.running else []),
        *(["podman"] if state.podman and state.podman >= PODMAN_CDI else []),
    ]
    return [probe.image_step(name) for name in able if name not in state.images]


def _proxy(plan: HostPlan) -> list[Step]:
    environment = plan.provision.environment
    return [packages.proxy_step(environment)] if environment else []
