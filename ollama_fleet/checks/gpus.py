"""The host's GPUs: all there, with their driver, healthy."""

from collections.abc import Iterator

from ollama_fleet.checks import driver, health
from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.planner.plan import HostPlan

HOST = "host"


def _count(subject: Subject) -> Iterator[CheckResult]:
    hardware = subject.hardware
    on_bus, seen = len(hardware.pci_gpus), len(hardware.gpus)
    expected = subject.plan.expected_gpus
    wanted = on_bus if expected is None else sum(count for _, count in expected)
    yield subject.result(
        HOST,
        "gpu count",
        good=wanted == on_bus == seen,
        expected=f"{wanted} GPUs",
        found=f"{seen} in nvidia-smi, {on_bus} on the PCI bus"
        + (f" ({hardware.smi_message})" if hardware.smi_message else ""),
        remedy="look for the missing card in `dmesg | grep NVRM`; correct `gpus:` if it was removed",
    )


def _uvm(subject: Subject) -> Iterator[CheckResult]:
    loaded = subject.hardware.uvm_loaded
    yield subject.result(
        HOST,
        "nvidia-uvm",
        good=loaded,
        expected="loaded",
        found="loaded" if loaded else "not loaded: CUDA cannot start",
        remedy="`modprobe nvidia-uvm`, then restart the slices",
    )


def _when_used(check: Check) -> Check:
    """A host that is to have no GPUs and no slices has nothing to prove here."""

    def used(plan: HostPlan) -> bool:
        return bool(plan.slices or plan.expected_gpus)

    return Check(
        check.name,
        lambda subject: check.judge(subject) if used(subject.plan) else (),
        lambda plan: check.ask(plan) if used(plan) else {},
    )


CHECKS = tuple(
    map(
        _when_used,
        (Check("gpu count", _count), *driver.CHECKS, Check("nvidia-uvm", _uvm), *health.CHECKS),
    )
)
