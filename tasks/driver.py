"""The NVIDIA driver: installed, upgraded or left alone; a reboot where one is needed and allowed."""

from ollama_fleet.host.driver import driver_installed, driver_works
from ollama_fleet.host.reboot import rebooted_if_needed
from ollama_fleet.host.steps import step
from ollama_fleet.planner.plan import HostPlan


@step("Driver")
def install_driver(plan: HostPlan) -> None:
    """Bring the driver that the host's GPUs need into use."""
    driver_installed(name="Install the NVIDIA driver", plan=plan)
    rebooted_if_needed(name="Reboot if the driver needs it", plan=plan)
    driver_works(name="Check the driver", plan=plan)
