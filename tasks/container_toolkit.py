"""Containers see the GPUs: NVIDIA's container toolkit for the runtimes that a host has."""

from ollama_fleet.host.containers import (
    container_runtime_ready,
    container_toolkit_ready,
    containers_protected,
)
from ollama_fleet.host.steps import step
from ollama_fleet.planner.plan import HostPlan


@step("Containers")
def protect_containers(plan: HostPlan) -> None:
    """Let running containers keep their GPUs: from here on, steps reload systemd."""
    containers_protected(name="Keep the GPUs of running containers")


@step("Container toolkit")
def container_toolkit(plan: HostPlan) -> None:
    """Install a Docker engine if one is asked for, then let every runtime give GPUs to containers."""
    # Again: the driver's step may have taken long, or rebooted the host.
    containers_protected(name="Keep the GPUs of running containers")
    container_runtime_ready(name="Install the container runtime", plan=plan)
    container_toolkit_ready(name="Give GPUs to containers", plan=plan)
