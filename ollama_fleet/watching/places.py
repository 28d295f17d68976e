"""Where the watch over slices lies on a host, by name."""

from ollama_fleet.claim import REPAIRING
from ollama_fleet.planner.plan import PREFIX, STATE_DIR, HostPlan
from ollama_fleet.templating import UNIT_DIR

HEALTH_UNIT = "ollama-health.service"
HEALTH_SCRIPT = f"{PREFIX}/libexec/ollama-health"
HEALTH_JOB = "/etc/ollama/health"
# NAME.down: why a slice does not serve; NAME.gone: it does not listen; NAME.look: what the last look
# at it gave: `STATE BEGAN ENDED CAUSE`, in Unix time.
HEALTH_DIR = "/run/ollama-health"

WATCHDOG_UNIT = "ollama-watchdog.service"
WATCHDOG_SCRIPT = f"{PREFIX}/libexec/ollama-watchdog"
WATCHDOG_JOB = "/etc/ollama/watchdog"
WATCHDOG_RUN_DIR = "/run/ollama-watchdog"
# It is there, and says what is done, while the watchdog changes something.
ACTING = REPAIRING
# NAME.quarantined: since when and why; `repairs`: a line `<Unix time> <slice> <rung>` for each.
WATCHDOG_STATE = f"{STATE_DIR}/watchdog"
REPAIRS = f"{WATCHDOG_STATE}/repairs"
# Of releases of ours before there was a watch without a gateway.
FORMER = ("/etc/ollama/hop/health",)

OF_HEALTH = (f"{UNIT_DIR}/{HEALTH_UNIT}", HEALTH_SCRIPT, HEALTH_JOB)
OF_WATCHDOG = (f"{UNIT_DIR}/{WATCHDOG_UNIT}", WATCHDOG_SCRIPT, WATCHDOG_JOB)
# All that may carry our marker, beside units.
FILES = (HEALTH_SCRIPT, HEALTH_JOB, WATCHDOG_SCRIPT, WATCHDOG_JOB, *FORMER)


def is_cared_for(plan: HostPlan, path: str) -> bool:
    """Whether a file is compared by the step of the watch, and not by that of the slices."""
    if path in OF_HEALTH:
        return is_watched(plan)
    return path in OF_WATCHDOG and is_repaired(plan)


def is_watched(plan: HostPlan) -> bool:
    """Whether the host has anything to watch."""
    return bool(plan.slices) or plan.hop is not None


def is_repaired(plan: HostPlan) -> bool:
    """Whether the host has a watchdog."""
    return bool(plan.slices) and plan.watch.repairs
