"""What a monitor asks of each machine: one job for each kind of metrics that the machine has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ollama_fleet.planner.monitor import MonitorPlan, Target

# Job to the path where the machine's door shows it.
MACHINE_JOB = "ollama-node"
EVERYWHERE = {MACHINE_JOB: "/metrics"}
ON_GATEWAYS = {
    "ollama-gateway": "/metrics/gateway",
    "ollama-haproxy": "/metrics/haproxy",
    "ollama-nginx": "/metrics/nginx",
}
WITH_DCGM = {"ollama-dcgm": "/metrics/dcgm"}


@dataclass(frozen=True)
class Job:
    """Metrics of one kind on one machine; `target` is address and port."""

    name: str
    machine: str
    path: str
    target: str

    @property
    def labels(self) -> dict[str, str]:
        """Of every series: machines by their names in the inventory, whatever address they have."""
        return {"job": self.name, "host": self.machine, "instance": self.machine}


def jobs_of(plan: MonitorPlan) -> list[Job]:
    """Everything that is asked, machine by machine."""
    return jobs_at(plan.targets)


def jobs_at(targets: Sequence[Target]) -> list[Job]:
    """The same of some machines."""
    return [job for target in targets for job in _jobs(target)]


def _jobs(target: Target) -> Iterator[Job]:
    at = f"[{target.address}]" if ":" in target.address else target.address
    shown = EVERYWHERE | (ON_GATEWAYS if target.is_gateway else {})
    for name, path in (shown | (WITH_DCGM if target.has_dcgm else {})).items():
        yield Job(name, target.machine, path, f"{at}:{target.port}")
