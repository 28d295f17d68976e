"""The GPUs are cut and set as planned, and no change of them waits for a reboot."""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Subject
from ollama_fleet.gpu_settings import (
    ecc_waits,
    read_settings,
    setting_differences,
    settings_questions,
    wanted_settings,
)
from ollama_fleet.hardware.found import Gpu
from ollama_fleet.mig.layout import cut_of, whole_gpus
from ollama_fleet.planner.plan import HostPlan


def _layout(subject: Subject) -> Iterator[CheckResult]:
    cut = cut_of(subject.plan, subject.hardware)
    whole = whole_gpus(subject.slices, subject.hardware)
    for gpu in subject.hardware.gpus:
        if gpu.pci_bus_id in cut:
            yield _cut(subject, gpu, cut[gpu.pci_bus_id])
        elif gpu.pci_bus_id in whole:
            yield _whole(subject, gpu)


def _cut(subject: Subject, gpu: Gpu, profiles: tuple[str, ...]) -> CheckResult:
    found = subject.hardware.mig_of(gpu)
    modes = {None: "unknown", True: "on", False: "off"}
    has = ", ".join(
        item.profile if item.uuid else f"{item.profile} (unusable)" for item in found.instances
    )
    words = f"MIG {modes[found.current]}"
    if found.pending != found.current:
        words += f" ({modes[found.pending]} is pending)"
    return subject.result(
        f"gpu {gpu.pci_bus_id}",
        "mig layout",
        good=found.holds(profiles) and found.pending is True,
        expected=f"MIG on, {', '.join(sorted(profiles))}",
        found=f"{words}, {has or 'no instances'}",
        remedy="deploy again; see `journalctl -u ollama-devices` for what keeps it from being cut",
    )


def _whole(subject: Subject, gpu: Gpu) -> CheckResult:
    found = subject.hardware.mig_of(gpu)
    return subject.result(
        f"gpu {gpu.pci_bus_id}",
        "mig layout",
        good=not found.current and not found.pending,
        expected="MIG off: a slice has the whole GPU",
        found="MIG off" if not found.current else "MIG on: CUDA does not see the whole GPU",
        remedy="deploy again",
    )


def _settings(subject: Subject) -> Iterator[CheckResult]:
    states = read_settings(subject.answers, subject.hardware)
    waiting = ecc_waits(states)
    differences = setting_differences(subject.plan, subject.hardware, states)
    wanted = wanted_settings(subject.plan, subject.hardware)
    for gpu in subject.hardware.gpus:
        wrong = [(want, has) for address, want, has in differences if address == gpu.pci_bus_id]
        if gpu.pci_bus_id not in wanted and not wrong:
            continue
        if gpu.index in waiting:
            wrong.append(("ECC mode as set", "it waits for a reboot"))
        yield subject.result(
            f"gpu {gpu.pci_bus_id}",
            "gpu settings",
            good=bool(states) and not wrong,
            expected=", ".join(want for want, _ in wrong) or "as planned",
            found=", ".join(has for _, has in wrong) or "as planned",
            remedy="reboot the host"
            if gpu.index in waiting
            else "deploy again; see `journalctl -u ollama-devices`",
        )


def _asked(plan: HostPlan) -> dict[str, str]:
    """Nothing where no setting is wanted: a deploy looks for clocks that are locked from earlier."""
    return settings_questions(plan) if plan.provision.settings else {}


CHECKS = (
    Check("mig layout", _layout),
    Check("gpu settings", _settings, _asked),
)
