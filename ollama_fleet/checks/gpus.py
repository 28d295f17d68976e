"""The host's GPUs: all there, one driver, healthy."""

from collections.abc import Iterator

from ollama_fleet.checks.model import Check, CheckResult, Judge, Subject

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


def _driver(subject: Subject) -> Iterator[CheckResult]:
    versions = sorted({gpu.driver_version for gpu in subject.hardware.gpus})
    loaded = subject.hardware.loaded_driver
    yield subject.result(
        HOST,
        "driver",
        good=len(versions) == 1 and loaded == versions[0],
        expected="one version, loaded and in user space",
        found=f"{loaded or 'none'} loaded, {', '.join(versions) or 'none'} in user space",
        remedy="reload the driver or reboot the host",
    )


def _health(subject: Subject) -> Iterator[CheckResult]:
    for gpu in subject.hardware.gpus:
        trouble = []
        if gpu.lost:
            trouble.append("lost: it does not answer the driver")
        if gpu.ecc_uncorrected:
            trouble.append(f"{gpu.ecc_uncorrected} uncorrected ECC errors since the driver loaded")
        yield subject.result(
            f"gpu {gpu.pci_bus_id}",
            "gpu health",
            good=not trouble,
            expected="answers, no uncorrected ECC errors",
            found="; ".join(trouble) or f"{gpu.name}, {gpu.temperature_c} °C",
            remedy="drain its slice, reset the GPU or reboot; if it comes back, replace the card",
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


def _when_used(judge: Judge) -> Judge:
    """A host that is to have no GPUs and no slices has nothing to prove here."""
    return lambda subject: (
        judge(subject) if subject.plan.slices or subject.plan.expected_gpus else ()
    )


CHECKS = (
    Check("gpu count", _when_used(_count)),
    Check("driver", _when_used(_driver)),
    Check("nvidia-uvm", _when_used(_uvm)),
    Check("gpu health", _when_used(_health)),
)
