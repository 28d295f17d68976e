"""What keeps a driver from a host, or is worth saying, in words that name a way out. Pure."""

from ollama_fleet.catalogue.distribution import Distribution, source_of
from ollama_fleet.driver.state import State
from ollama_fleet.driver.target import Target
from ollama_fleet.planner.provision import DriverRequest

# Packages, DKMS's sources and build, and an initramfs per kernel.
NEEDED_MIB = {"/": 3000, "/var": 1500, "/boot": 150}
UNSIGNED = (
    "Secure Boot is on and the kernel modules will not be signed by a key that it knows "
    "(`secure_boot: ignore`); they may not load"
)


def foreign_source(request: DriverRequest, state: State) -> str | None:
    """A driver of another source than the one we would install from, in words; None when clean."""
    what = _foreign(request, state)
    if what is None:
        return None
    return (
        f"a driver from another source is installed ({what}); mixing sources breaks both. "
        "Remove it, or set `driver: {replace: true}` to have it purged first"
    )


def unowned_driver(state: State) -> str | None:
    """Driver files that no package and no uninstaller knows: nobody here could take them away."""
    if state.library is None or state.packages or state.runfile:
        return None
    return (
        f"a driver is there (libnvidia-ml.so.{state.library}) whose files belong to no package, and no "
        "uninstaller came with it. Remove it the way it came (an image, a copy), or set "
        "`driver: {manage: false}` to leave it alone"
    )


def _foreign(request: DriverRequest, state: State) -> str | None:
    if state.runfile:
        return "NVIDIA's .run installer: /usr/bin/nvidia-uninstall is there"
    theirs = [
        f"package {item.name} {item.version} of {whose}"
        for item in state.packages
        if (whose := source_of(item.name, item.version))
    ]
    if theirs:
        return theirs[0]
    ours = (request.repository.rstrip("/"), "/compute/cuda/repos")
    other = sorted(url for url in state.origins if not any(part in url for part in ours))
    return f"packages of {other[0]}" if other else None


def fabric_trouble(state: State, version: str | None = None) -> str | None:
    """Why CUDA would fail on a host with NVSwitches although nvidia-smi looks healthy."""
    if not state.switches:
        return None
    wanted = version or state.loaded
    package = state.fabric_package()
    unit = state.units.get("nvidia-fabricmanager.service")
    runs = unit is not None and unit.active == "active"
    if package is None:  # one that was installed otherwise starts only with its own driver
        return None if runs else "the host has NVSwitches and no fabric manager"
    if package.driver_version != wanted:
        return f"fabric manager {package.driver_version} is not of the driver's version {wanted}"
    if not runs:
        return "the fabric manager does not run"
    return None


def next_kernel_notes(state: State) -> tuple[str, ...]:
    """A driver that is not ours and will be gone after the next boot."""
    newest = state.newest_kernel
    if state.on_disk is None or newest is None or newest.module is not None:
        return ()
    return (
        f"kernel {newest.release} is installed and has no driver module: after the next reboot the "
        "GPUs are gone. Install its headers, or the module package for it",
    )


def install_problems(
    request: DriverRequest,
    target: Target,
    distribution: Distribution,
    state: State,
    builds: bool,
) -> list[str]:
    """Everything that keeps `target` from being installed here; empty when it can be."""
    found = []
    key = request.key or request.key_fingerprint or distribution.key_fingerprint
    if not target.signed and key is None:
        found.append(
            f"the fingerprint of {distribution.key_file}, the key of NVIDIA's {distribution.name} "
            "repository, is not known here; find it out from NVIDIA and set "
            "`driver: {key_fingerprint: <40 hex digits>}`, or give the key itself with "
            "`driver: {key: FILE}`"
        )
    if builds and state.secure_boot and not target.signed and request.secure_boot == "fail":
        found.append(
            "Secure Boot is on and would reject the driver's kernel modules. Switch it off in the "
            "firmware, or set `driver: {secure_boot: enroll}` to prepare a signing key that "
            "somebody confirms once at the console"
        )
    found += [
        f"{path} has NVIDIA's driver repository beside others, and apt or dnf would not know which of two "
        "to believe; take it out of there: the deploy brings it in a file of its own"
        for path in state.mixed_lists
        if not target.signed
    ]
    found += [
        f"{state.free_mib[place]} MiB are free on {place}; the driver needs {needed}. Make room there"
        for place, needed in NEEDED_MIB.items()
        if builds and state.free_mib.get(place, needed) < needed
    ]
    return found
