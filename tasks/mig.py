"""The GPUs themselves: cut into MIG instances, and set."""

from ollama_fleet.host.mig import gpus_partitioned
from ollama_fleet.host.reboot import rebooted_if_needed
from ollama_fleet.host.steps import step
from ollama_fleet.planner.plan import HostPlan


@step("GPUs")
def partition_gpus(plan: HostPlan) -> None:
    """Make the planned instances and settings, and have the host restore them at each boot."""
    gpus_partitioned(name="Cut and set the GPUs", plan=plan)
    rebooted_if_needed(name="Reboot if a mode needs it", plan=plan, gpus=True)
    gpus_partitioned(name="Cut and set what waited for it", plan=plan, after_reboot=True)
