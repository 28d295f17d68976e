"""The host's driver: one version, the one asked for, of the right flavour, and there after the next
boot as well.

Asks what the driver step asks and reads it with the driver's own reader, so that both mean the same.
A driver that is not ours to manage is looked at with the same eyes, but what only threatens is a
warning there.
"""

import re
from collections.abc import Callable, Iterable, Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.driver import questions as driver_questions
from ollama_fleet.driver.decision import is_managed
from ollama_fleet.driver.files import DNF_SOURCE, PREFERENCES, UNATTENDED
from ollama_fleet.driver.flavour import NoFlavourError, needs_of, version_key
from ollama_fleet.driver.problems import fabric_trouble
from ollama_fleet.driver.state import KernelState, State, read_state
from ollama_fleet.planner.plan import HostPlan

HOST = "host"
DEPLOY = "deploy again: slices are drained, the driver is reloaded"

# Values of fabric.state with which CUDA fails; and the one with which fabric.status says how it went.
UNREGISTERED = {"Not Started", "In Progress"}
REGISTERED, WELL = "Completed", "Success"
_FABRIC = f"""switches() {{
{driver_questions.SWITCHES}
}}
[ -n "$(switches)" ] || exit 0
nvidia-smi --query-gpu=fabric.state,fabric.status --format=csv,noheader; true"""

OnState = Callable[[Subject, State], Iterable[CheckResult]]


def asked(plan: HostPlan) -> dict[str, str]:
    """What the driver step asks."""
    return driver_questions.questions(plan.provision.driver)


def _with_state(judge: OnState) -> Callable[[Subject], Iterable[CheckResult]]:
    def judged(subject: Subject) -> Iterable[CheckResult]:
        known = asked(subject.plan).keys() <= subject.answers.keys()
        return judge(subject, read_state(subject.answers)) if known else ()

    return judged


def _one_version(subject: Subject, state: State) -> Iterator[CheckResult]:
    """User space that was changed under a loaded module ends every CUDA program on the host."""
    versions = {gpu.driver_version for gpu in subject.hardware.gpus}
    user_space = sorted(versions | {state.library or ""} - {""})
    loaded = subject.hardware.loaded_driver
    yield subject.result(
        HOST,
        "driver",
        good=user_space == [loaded] and bool(versions),
        expected="one version, loaded and in user space",
        found=f"{loaded or 'none'} loaded, {', '.join(user_space) or 'none'} in user space"
        + ("; nouveau holds GPUs" if state.nouveau else ""),
        remedy=DEPLOY if subject.plan.provision.driver.manage else "reload it or reboot the host",
    )


def _as_asked(subject: Subject, state: State) -> Iterator[CheckResult]:
    request = subject.plan.provision.driver
    wanted = request.version or (f"branch {request.branch}" if request.branch else "")
    loaded = state.loaded or "0"
    missing = _unpinned(state, loaded) if is_managed(state) else []
    if not request.manage or not (wanted or is_managed(state)):
        return
    right = request.version in (None, loaded) and request.branch in (None, version_key(loaded)[0])
    yield subject.result(
        HOST,
        "driver pin",
        good=right and not missing,
        expected=f"{wanted or 'the installed version'}, kept from changing by itself",
        found=", ".join([state.loaded or "none", *(f"without {item}" for item in missing)]),
        remedy="deploy again",
    )


def _unpinned(state: State, loaded: str) -> list[str]:
    """What would let an upgrade change a driver that we installed. A module stream keeps dnf in the
    branch only, so every package of the driver needs its lock."""
    if DNF_SOURCE in state.files:
        if state.pinned != loaded:
            return ["a lock of the kernel modules"]
        return [f"a lock of {name}" for name in state.unlocked(loaded)]
    return [path for path in (PREFERENCES, UNATTENDED) if path not in state.files]


def _flavour(subject: Subject, state: State) -> Iterator[CheckResult]:
    """Wrong kernel modules load, and then find no GPU."""
    if state.loaded_flavour is None:
        return
    try:
        fitting: tuple[str, ...] = needs_of(state.gpu_ids).flavours
        why = f"{' or '.join(fitting)} kernel modules, by the GPUs' device ids"
    except NoFlavourError as error:
        fitting, why = (), str(error)
    yield subject.result(
        HOST,
        "driver flavour",
        good=state.loaded_flavour in fitting,
        expected=why,
        found=state.loaded_flavour,
        remedy="drop `driver: {flavour: …}` and deploy again",
    )


def _persistence(subject: Subject, state: State) -> Iterator[CheckResult]:
    off = [gpu.pci_bus_id for gpu in subject.hardware.gpus if gpu.persistence is False]
    if not subject.hardware.gpus:
        return
    yield subject.result(
        HOST,
        "persistence",
        good=not off,
        expected="on: the driver keeps its state while nothing runs",
        found=f"off on {', '.join(off)}" if off else "on",
        remedy="`systemctl enable --now nvidia-persistenced`",
        warns=not is_managed(state),
    )


def _next_boot(subject: Subject, state: State) -> Iterator[CheckResult]:
    """A kernel without a module of the driver takes the GPUs away at the next boot."""
    if state.on_disk is None and not is_managed(state):
        return  # nobody can tell where this driver's module lies
    bad = [kernel for kernel in state.kernels if _trouble(kernel, state)]
    newest = state.newest_kernel
    yield subject.result(
        HOST,
        "next boot",
        good=not bad,
        expected=f"driver {state.library or state.loaded} for every installed kernel",
        found="; ".join(f"{kernel.release}: {_trouble(kernel, state)}" for kernel in bad)
        or f"{len(state.kernels)} kernels have it",
        remedy="deploy again, or install the kernel's headers and run `dkms autoinstall`; until "
        "then a reboot may lose the GPUs",
        # An older kernel is only booted by hand; another's driver is another's matter.
        warns=not is_managed(state) or newest not in bad,
    )


def _trouble(kernel: KernelState, state: State) -> str:
    if kernel.module is None:
        return "no module" + ("" if kernel.has_headers else ", no headers to build one")
    if state.library and kernel.module != state.library:
        return f"module {kernel.module}"
    return ""


def _fabric(subject: Subject, state: State) -> Iterator[CheckResult]:
    """Without it nvidia-smi looks healthy and CUDA fails with error 802."""
    if not state.has_fabric:
        return
    wrong = fabric_trouble(state) or _unregistered(subject.text("health.fabric"))
    yield subject.result(
        HOST,
        "fabric",
        good=not wrong,
        expected="a fabric manager of the driver's version, every GPU registered",
        found=wrong or "registered",
        remedy="`journalctl -u nvidia-fabricmanager`; deploy again",
    )


def _unregistered(text: str) -> str:
    """What keeps GPUs off the fabric, by lines `<state>, <status>`; of a status that nobody knows nothing."""
    # A value may have an odd prefix: `state  Completed`.
    rows = [re.sub(r"(^|, *)stat(e|us)\s+", r"\1", line).split(",") for line in text.splitlines()]
    said = [(row[0].strip(), row[1].strip() if len(row) > 1 else "") for row in rows]
    waiting = {state for state, _ in said if state in UNREGISTERED}
    failed = {status for state, status in said if state == REGISTERED and _is_error(status)}
    words = [f"fabric.state {', '.join(sorted(waiting))}"] if waiting else []
    words += [f"fabric.status {', '.join(sorted(failed))}"] if failed else []
    return "; ".join(words)


def _is_error(status: str) -> bool:
    return status not in (WELL, "", "N/A", "[N/A]", "Not Supported", "[Not Supported]")


def _fabric_questions(plan: HostPlan) -> dict[str, str]:
    """Drivers that do not know the fields fail the whole query, so they stand alone."""
    return {"health.fabric": _FABRIC}


CHECKS = (
    Check("driver", _with_state(_one_version), asked),
    Check("driver pin", _with_state(_as_asked)),
    Check("driver flavour", _with_state(_flavour)),
    Check("persistence", _with_state(_persistence)),
    Check("next boot", _with_state(_next_boot)),
    Check("fabric", _with_state(_fabric), _fabric_questions),
)
