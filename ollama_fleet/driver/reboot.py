"""Whether a host has to be rebooted for its driver, why, and whether it may be. Pure."""

from ollama_fleet.driver.decision import not_ours
from ollama_fleet.driver.state import State
from ollama_fleet.planner.plan import HostPlan

POLICIES = ("auto", "ask", "never")


def reboot_reasons(plan: HostPlan, state: State) -> list[str]:
    """Why only a reboot brings the installed driver into use; empty when none is needed."""
    if not_ours(plan.provision.driver, state):
        return []
    found = []
    if state.nouveau:
        found.append("nouveau holds the GPUs, and the initramfs now keeps it out")
    if state.loaded and state.on_disk and state.loaded != state.on_disk:
        found.append(f"driver {state.loaded} is loaded, but {state.on_disk} is installed")
    elif state.loaded and state.library and state.loaded != state.library:
        found.append(f"driver {state.loaded} is loaded, but the user space is {state.library}")
    newest = state.newest_kernel
    if state.on_disk is None and newest and newest.module and newest.release != state.kernel:
        found.append(
            f"the running kernel {state.kernel} has no driver module, {newest.release} has one"
        )
    return found


def unsafe(state: State) -> str | None:
    """Why a reboot would leave the host without its GPUs; None when it would not."""
    newest = state.newest_kernel
    if state.on_disk is None or newest is None or newest.module is not None:
        return None
    return (
        f"kernel {newest.release}, which boots next, has no driver module: a reboot would leave the "
        "host without GPUs. Install its headers, or remove that kernel, then run again"
    )


def policy(plan: HostPlan, state: State) -> str:
    """auto, ask or never: what the inventory says, or never on a host whose slices run."""
    return plan.provision.reboot or ("never" if state.slices else "auto")


def refusal(reasons: list[str], state: State, asked: str | None) -> list[str]:
    """What to tell when a reboot is needed and not allowed."""
    why = "; ".join(reasons)
    if asked == "ask":
        because = "`reboot: ask` needs somebody at a terminal who agrees"
    elif asked == "never":
        because = "the inventory says `reboot: never`"
    else:
        because = f"slices run here ({', '.join(state.slices)}), and a reboot would end them"
    return [
        f"a reboot is needed: {why}",
        f"it is not done, because {because}; set `reboot: auto` for this host, or reboot it "
        "yourself, then run again",
    ]
