"""What must be true of a host before anything is changed on it: questions, and a pure judgement.

Imports planner and hardware, never pyinfra.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ollama_fleet.catalogue.distribution import find_distribution, packager_of
from ollama_fleet.hardware.found import HARDWARE_QUESTIONS, Gpu, Hardware, read_hardware
from ollama_fleet.planner.bind import CannotBindError, bind
from ollama_fleet.planner.found import memory_problems
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answer, Answers
from ollama_fleet.room import (
    NOTHING_KNOWN,
    Room,
    disk_problems,
    ram_advice,
    read_room,
    room_questions,
)

# Ollama from 0.30.11 on silently serves from the CPU with an older one (docs/gpu.mdx).
OLDEST_DRIVER = (550,)
# RHEL 8's; below it device lists and address filters are not enforced as the units need them.
OLDEST_SYSTEMD = 239
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Command to the package that has it, the same on apt and dnf hosts.
NEEDED_COMMANDS = {"curl": "curl", "zstd": "zstd", "tar": "tar", "flock": "util-linux"}

QUESTIONS = {
    "user": "id -u",
    "machine": "uname -m",
    "os": "cat /etc/os-release",
    "systemd": "[ -d /run/systemd/system ] && systemctl --version",
    "commands": "\n".join(
        f"command -v {name} >/dev/null || echo {name}" for name in NEEDED_COMMANDS
    ),
    **HARDWARE_QUESTIONS,
    **room_questions(),
}

NOT_ROOT = "not root on this host; log in as root or set `ssh: {sudo: true}`"


def questions_for(plan: HostPlan) -> dict[str, str]:
    """What to ask a host of this plan: its disk is looked at where its models go."""
    return {**QUESTIONS, **room_questions(plan.store.path)}


# nvidia-smi's exit codes and what to do about them (its man page; 127 and 126 are the shell's).
SMI_TROUBLE = {
    127: "nvidia-smi is not installed; install the NVIDIA driver, or drop `driver: {manage: false}`",
    6: "the driver finds no GPU; see `dmesg | grep NVRM`",
    9: "the NVIDIA driver is not loaded; `modprobe nvidia`, and see `dmesg` if that fails",
    12: "libnvidia-ml.so.1 is missing; install the driver's user space in the module's version",
    15: "a GPU fell off the bus; reboot the host, then check its power and seating",
    18: "the loaded module and the user space are of different versions; reload or reboot",
}


# Of these, what no driver can mend: a power cable, the infoROM, a card off the bus.
BROKEN_HARDWARE = (8, 14, 15)


@dataclass(frozen=True)
class HostFacts:
    """A host as preflight sees it; `distribution` is ID and VERSION_ID of its os-release."""

    is_root: bool
    arch: str | None
    machine: str
    package_family: str | None
    systemd: int | None
    missing_commands: tuple[str, ...]
    hardware: Hardware
    room: Room = NOTHING_KNOWN
    distribution: tuple[str, str] = ("", "")


def read_facts(answers: Answers) -> HostFacts:
    """Answers to QUESTIONS as HostFacts."""
    machine = answers["machine"].text.strip()
    release = _os_release(answers["os"].text)
    return HostFacts(
        is_root=answers["user"].text.strip() == "0",
        arch=ARCHITECTURES.get(machine),
        machine=machine,
        package_family=packager_of(release.get("ID", ""), release.get("ID_LIKE", "")),
        systemd=_systemd_version(answers["systemd"]),
        missing_commands=tuple(answers["commands"].lines),
        hardware=read_hardware(answers),
        room=read_room(answers),
        distribution=(release.get("ID", ""), release.get("VERSION_ID", "")),
    )


def problems(plan: HostPlan, facts: HostFacts) -> list[str]:
    """Everything that keeps `plan` from this host, each with what to do; empty when all is well.

    Where the driver is still to come, its GPUs are judged later, by `hardware_problems`.
    """
    hardware = facts.hardware
    judge = _missing_cards if driver_is_due(plan, hardware) else hardware_problems
    return [
        *_system_problems(plan, facts),
        *judge(plan, hardware),
        *disk_problems(plan, facts.room),
    ]


def driver_is_due(plan: HostPlan, hardware: Hardware) -> bool:
    """Whether the driver step has to make these GPUs work before they can be judged."""
    broken = hardware.smi_code in BROKEN_HARDWARE or any(gpu.lost for gpu in hardware.gpus)
    may = plan.provision.driver.manage and bool(hardware.pci_gpus) and not broken
    return may and (not hardware.gpus or any(_driver_problems(hardware)))


def hardware_problems(plan: HostPlan, hardware: Hardware) -> list[str]:
    """What is wrong with GPUs that a driver shows, or why it shows none."""
    return list(_gpu_problems(plan, hardware)) if plan.slices else []


def advice(plan: HostPlan, facts: HostFacts) -> list[str]:
    """What is worth saying though the deploy goes on."""
    return ram_advice(plan, facts.room)


def _os_release(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=[\"']?([^\"'\n]*)[\"']?$", text, re.M))


def _systemd_version(answer: Answer) -> int | None:
    """Out of `systemd 252 (252.39-1)`; None when systemd does not run the host."""
    found = re.match(r"systemd (\d+)", answer.text)
    return int(found.group(1)) if answer.code == 0 and found else None


def _system_problems(plan: HostPlan, facts: HostFacts) -> Iterator[str]:
    if not facts.is_root:
        yield NOT_ROOT
    if facts.systemd is None:
        yield "systemd is not running; slices are systemd units"
    elif facts.systemd < OLDEST_SYSTEMD:
        yield f"systemd {facts.systemd} is too old; {OLDEST_SYSTEMD} or newer is needed"
    if facts.arch is None:
        yield f"{facts.machine} is no architecture that Ollama is released for (x86_64, aarch64)"
    elif facts.arch not in plan.ollama.sha256:
        yield (
            f"no checksum of Ollama {plan.ollama.version} for {facts.arch}; "
            f"pin it: `fleet pin ollama {plan.ollama.version}`, or `ollama: {{sha256: {{{facts.arch}: …}}}}`"
        )
    if facts.missing_commands and facts.package_family is None:
        yield f"{', '.join(facts.missing_commands)} missing and no apt or dnf known; install them"
    yield from _unsupported_distribution(plan, facts)


def _unsupported_distribution(plan: HostPlan, facts: HostFacts) -> Iterator[str]:
    """Whoever has the driver managed has to be on a distribution that we know, before it matters."""
    if plan.provision.driver.manage and facts.hardware.pci_gpus and facts.arch:
        try:
            find_distribution(*facts.distribution, facts.machine)
        except LookupError as error:
            yield str(error)


def _missing_cards(plan: HostPlan, hardware: Hardware) -> Iterator[str]:
    """All that can be said of GPUs without a driver: how many there are."""
    if not plan.slices or plan.expected_gpus is None:
        return
    wanted, found = sum(count for _, count in plan.expected_gpus), len(hardware.pci_gpus)
    if wanted != found:
        yield (
            f"the inventory expects {wanted} GPUs, {found} NVIDIA GPUs are on the PCI bus "
            f"({', '.join(hardware.pci_gpus)}); correct `gpus:`, or look for the missing card"
        )


def _gpu_problems(plan: HostPlan, hardware: Hardware) -> Iterator[str]:
    if not hardware.gpus:
        yield _no_gpus(hardware)
        return
    if len(hardware.gpus) != len(hardware.pci_gpus):
        yield (
            f"{len(hardware.pci_gpus)} NVIDIA GPUs on the PCI bus, but nvidia-smi shows "
            f"{len(hardware.gpus)}; see `dmesg | grep NVRM`"
        )
    yield from (
        f"GPU {gpu.pci_bus_id} is lost; reboot the host, then check its power and seating"
        for gpu in hardware.gpus
        if gpu.lost
    )
    yield from _driver_problems(hardware)
    yield from _unexpected_gpus(plan, hardware)
    try:
        bind(plan, hardware)
    except CannotBindError as error:
        yield from str(error).splitlines()
    else:
        yield from memory_problems(plan, hardware)


def _no_gpus(hardware: Hardware) -> str:
    if not hardware.pci_gpus:
        return "no NVIDIA GPU on the PCI bus, but the inventory puts slices here"
    trouble = SMI_TROUBLE.get(hardware.smi_code, f"nvidia-smi failed ({hardware.smi_code})")
    said = "" if hardware.smi_code == 127 else f" ({hardware.smi_message})"
    return f"{trouble}{said}"


def _driver_problems(hardware: Hardware) -> Iterator[str]:
    version = hardware.gpus[0].driver_version
    if not re.fullmatch(r"\d+(\.\d+)+", version):
        yield f"nvidia-smi gives no driver version but '{version}'"
    elif tuple(map(int, version.split("."))) < OLDEST_DRIVER:
        yield f"driver {version} is too old: Ollama would serve from the CPU; install 580 or newer"
    if hardware.loaded_driver not in (None, version):
        yield (
            f"driver {hardware.loaded_driver} is loaded, but {version} is installed; "
            "reload it or reboot"
        )


def _unexpected_gpus(plan: HostPlan, hardware: Hardware) -> Iterator[str]:
    if plan.expected_gpus is None:
        return
    wanted = [name for name, count in plan.expected_gpus for _ in range(count)]
    found = [gpu.name for gpu in hardware.gpus]
    same = len(wanted) == len(found) and all(map(is_model, hardware.gpus, wanted))
    if not same:
        yield f"the inventory expects GPUs {wanted}, the host has {found}; correct `gpus:`"


# Words that make another card of a name: an RTX 3090 Ti is no RTX 3090.
# nvidia-smi shows a little less than the name says, and ECC takes some more.
SIZE_TOLERANCE_GIB = 2.5
OTHER_MODELS = {"ti", "super", "laptop", "mobile", "max", "ada", "blackwell", "nvl"}


def is_model(gpu: Gpu, wanted: str) -> bool:
    """Whether a GPU is the model that the inventory names: by the words of its name, and by its memory
    where the inventory gives a size that the name lacks ('A100 40GB')."""
    has, asked = (set(re.split(r"[\s-]+", name.lower().strip())) for name in (gpu.name, wanted))
    sizes = [re.fullmatch(r"(\d+)g(?:b|ib)?", word) for word in asked - has]
    memory_gib = (gpu.memory_total_mib or 0) / 1024
    fits = all(size and abs(memory_gib - int(size[1])) < SIZE_TOLERANCE_GIB for size in sizes)
    return fits and not (has - asked) & OTHER_MODELS
