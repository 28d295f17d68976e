"""What has to be done about a host's driver, and why, in words. Pure: a request meets a state.

A working driver that satisfies the request is left alone, whoever installed it.
"""

from dataclasses import dataclass, replace

from ollama_fleet.catalogue.distribution import Distribution, packager_of
from ollama_fleet.driver import problems as words
from ollama_fleet.driver.files import BLACKLIST, digest, settings
from ollama_fleet.driver.flavour import Needs, NoFlavourError, needs_of, version_key
from ollama_fleet.driver.state import State
from ollama_fleet.driver.target import Target, choose_target, distribution_of
from ollama_fleet.planner.provision import DriverRequest


@dataclass(frozen=True)
class Decision:
    """`action`: leave, install, upgrade, finish (repair what is there), reload, refuse.

    `why` are its reasons, `problems` what to tell when it is refuse, `notes` worth saying anyway.
    `packages`: the driver's own are installed, and everything of ours around them; `fabric`: the
    fabric manager is. `replace`: another source's driver is purged first. `enroll`: the signing key
    goes to the firmware first, and the run stops there.
    """

    action: str
    why: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    target: Target | None = None
    distribution: Distribution | None = None
    packages: bool = False
    replace: bool = False
    enroll: bool = False
    fabric: bool = False

    @property
    def changes(self) -> bool:
        """Whether a script has to run."""
        return self.action in ("install", "upgrade", "finish", "reload")


def decide(request: DriverRequest, state: State) -> Decision:
    """What follows from what is asked for and what is there."""
    if reason := not_ours(request, state):
        return Decision("leave", (reason,))
    try:
        needs = needs_of(state.gpu_ids, request.flavour)
    except NoFlavourError as error:
        return Decision("refuse", problems=(str(error),))
    unmet = _unmet(request, needs, state, state.loaded, state.loaded_flavour)
    if state.works and not unmet and state.library in (None, state.loaded):
        return _kept(request, needs, state)
    if _only_not_loaded(request, needs, state):
        return _reload(request, needs, state)
    return _replaced(request, needs, state, unmet)


def not_ours(request: DriverRequest, state: State) -> str | None:
    """Why a driver is none of our business here; None when it is."""
    if not request.manage:
        return "`driver: {manage: false}`: the driver is somebody else's matter"
    if not state.gpu_ids:
        return "no NVIDIA GPU on the PCI bus"
    if state.dgx:
        return "DGX OS brings its own driver stack; it is left alone"
    return None


def _unmet(
    request: DriverRequest, needs: Needs, state: State, version: str | None, flavour: str | None
) -> list[str]:
    """What of the request and of the GPUs' needs a driver of this version does not meet."""
    if version is None:
        return ["no driver is loaded"]
    found = []
    branch = version_key(version)[0]
    if request.version and version != request.version:
        found.append(f"driver {version} is there, the inventory asks for {request.version}")
    elif request.branch and branch != request.branch:
        found.append(f"driver {version} is there, the inventory asks for branch {request.branch}")
    if version_key(version) < version_key(needs.floor):
        found.append(f"driver {version} is older than {needs.floor}, which the GPUs or Ollama need")
    if needs.last_branch and branch > needs.last_branch:
        found.append(f"driver {version} has dropped these GPUs; {needs.last_branch} is their last")
    if flavour and flavour not in needs.flavours:
        found.append(f"the kernel modules are the {flavour} ones; {needs.flavour} ones are needed")
    return found


def _kept(request: DriverRequest, needs: Needs, state: State) -> Decision:
    """The driver works and satisfies; what is around it may still need a hand."""
    version = state.loaded or ""
    here = f"driver {version} works and satisfies the inventory"
    fabric = words.fabric_trouble(state)
    managed = is_managed(state)
    why = ([fabric] if fabric else []) + (_unfinished(state, version) if managed else [])
    notes = () if managed else words.next_kernel_notes(state)
    if not why:
        return Decision("leave", (here,), notes=notes)
    target = Target(version_key(version)[0], version, state.loaded_flavour or needs.flavour)
    decision = Decision("finish", tuple(why), notes=notes, packages=managed, fabric=bool(fabric))
    return _checked(decision, target, request, state)


def is_managed(state: State) -> bool:
    """Whether an earlier run of ours installed this driver."""
    return BLACKLIST in state.files


def _unfinished(state: State, version: str) -> list[str]:
    """What a run of ours that was cut off, or somebody since, left undone."""
    found = [f"dpkg has not finished with {item.name}" for item in state.packages if item.broken]
    found += [
        f"kernel {item.release} has no driver module"
        for item in state.kernels
        if item.module != version and _will_run(item.release, state)
    ]
    packager = packager_of(state.os_id) or "dnf"
    found += [
        f"{file.path} is not as it should be"
        for file in settings(packager, state.gpu_ids)
        if state.files.get(file.path) != digest(file)
    ]
    if state.pinned != version:
        found.append(f"driver {version} is not pinned")
    elif packager == "dnf":
        found += [f"{name} is not locked" for name in state.unlocked(version)]
    if state.stale_initramfs:
        found.append("the initramfs is older than the settings that keep nouveau out")
    persistence = state.units.get("nvidia-persistenced.service")
    if (
        persistence
        and persistence.load == "loaded"
        and (
            state.persistence_off
            or persistence.active != "active"
            or persistence.enabled == "disabled"
        )
    ):
        found.append("the persistence daemon is off")
    return found


def _lacks_module(state: State) -> bool:
    """A kernel that runs, or will, has no module of this driver."""
    return any(item.module is None and _will_run(item.release, state) for item in state.kernels)


def _will_run(release: str, state: State) -> bool:
    newest = state.newest_kernel
    return release == state.kernel or bool(newest and release == newest.release)


def _only_not_loaded(request: DriverRequest, needs: Needs, state: State) -> bool:
    """Everything that is wanted lies on the disk, whole; it is not what is loaded."""
    disk = state.on_disk
    return (
        disk is not None
        and disk == state.library
        and state.loaded != disk
        and not any(item.broken for item in state.packages)
        and not _unmet(request, needs, state, disk, state.disk_flavour)
    )


def _reload(request: DriverRequest, needs: Needs, state: State) -> Decision:
    disk = state.on_disk or ""
    loaded = f"driver {state.loaded} is loaded" if state.loaded else "no driver is loaded"
    why = f"{loaded}, but {disk} is installed"
    if state.nouveau:
        why += "; nouveau holds the GPUs"
    fabric = words.fabric_trouble(state, disk)
    target = Target(version_key(disk)[0], disk, needs.flavour)
    undone = bool(is_managed(state) and _unfinished(state, disk))
    decision = Decision("reload", (why,), target=target, packages=undone, fabric=bool(fabric))
    # An installed driver can be loaded on a distribution that we know nothing about.
    known = fabric or undone or state.nouveau
    return _checked(decision, target, request, state) if known else decision


def _replaced(request: DriverRequest, needs: Needs, state: State, unmet: list[str]) -> Decision:
    """Packages have to be installed, replaced or repaired."""
    if not unmet and state.library in (None, state.loaded):
        # The driver is as asked; a GPU that it does not show is no matter of packages.
        return Decision("leave", (f"driver {state.loaded} satisfies",), notes=(_trouble(state),))
    present = state.library or state.on_disk or state.loaded
    flavour = state.disk_flavour or state.loaded_flavour
    same = present if present and not _unmet(request, needs, state, present, flavour) else None
    why = tuple(unmet) or (_trouble(state),)
    try:
        distribution = distribution_of(state)
        if unowned := words.unowned_driver(state):
            return Decision("refuse", why, problems=(unowned,))
        foreign = words.foreign_source(request, state)
        if foreign and _is_signed(request, needs, distribution, state):
            foreign = None  # the distribution's archive is the very source that we would take
        if foreign and not request.replace:
            return Decision("refuse", why, problems=(foreign,))
        target = choose_target(request, needs, distribution)
    except (LookupError, ValueError) as error:
        return Decision("refuse", why, problems=(str(error),))
    if same and not foreign:
        target = replace(target, branch=version_key(same)[0], version=same)
    action = "install" if present is None else "finish" if same else "upgrade"
    decision = Decision(action, why, packages=True, replace=bool(foreign), fabric=state.switches)
    return _checked(decision, target, request, state)


def _is_signed(
    request: DriverRequest, needs: Needs, distribution: Distribution, state: State
) -> bool:
    """Whether this host gets modules that the distribution signed."""
    has = needs.flavour in distribution.signed
    return has and state.secure_boot and not state.runfile and request.secure_boot != "enroll"


def _trouble(state: State) -> str:
    if state.library and state.library != state.loaded:
        return f"driver {state.loaded} is loaded, but the user space is {state.library}"
    shown, there = len(state.hardware.gpus), len(state.hardware.pci_gpus)
    return f"nvidia-smi shows {shown} of {there} GPUs: {state.hardware.smi_message or 'no reason'}"


def _checked(decision: Decision, target: Target, request: DriverRequest, state: State) -> Decision:
    """The same decision with its distribution, or a refusal when this host cannot carry it out."""
    try:
        distribution = distribution_of(state)
    except LookupError as error:
        return Decision("refuse", decision.why, problems=(str(error),))
    decision = replace(decision, target=target, distribution=distribution)
    builds = decision.packages
    notes = list(decision.notes)
    if builds and state.secure_boot:
        if target.flavour in distribution.signed and request.secure_boot != "enroll":
            target = replace(target, signed=True)
            if decision.action == "finish" and _lacks_module(state):
                # The archive keeps only the newest: a module for a new kernel brings its user space.
                target = replace(target, version=request.version)
                decision = replace(decision, action="upgrade")
            decision = replace(decision, target=target)
        elif request.secure_boot == "enroll":
            decision = replace(decision, enroll=True)
        elif request.secure_boot == "ignore":
            notes.append(words.UNSIGNED)
    found = words.install_problems(request, target, distribution, state, builds)
    if found:
        return Decision("refuse", decision.why, problems=tuple(found))
    return replace(decision, notes=tuple(notes))
