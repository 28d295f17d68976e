"""What keeps a plan's MIG layout from a host, and what a reboot is needed for. Pure."""

import re
from collections.abc import Iterator, Sequence

from ollama_fleet.gpu_settings import GpuState
from ollama_fleet.hardware.found import Gpu, Hardware
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.questions import Answers

# NVIDIA's own service that cuts GPUs at boot; it would undo ours, or ours its.
RIVAL = "nvidia-mig-manager.service"
# First driver in which a card can be cut (MIG user guide, and the platform notes of its packages).
FIRST_DRIVERS = (
    (r"\bH200\b", (550, 90, 7)),
    (r"\bGB300\b", (595, 58, 3)),
    (r"\bB300\b", (580, 82, 7)),
    (r"\bG?B200\b", (570, 133, 20)),
    (r"RTX PRO 4500\b", (575, 64)),
    (r"RTX PRO [56]000\b", (575, 51, 3)),
    (r"\b(G?H100|GH200|H800|H20)\b", (525,)),
    (r"\b(A100|A800|A30)\b", (450,)),
)
# In this one release cards of the RTX PRO 6000 kind cannot be cut.
BROKEN = (r"RTX PRO 6000\b", "575.57.08")


def mig_questions(plan: HostPlan) -> dict[str, str]:
    """What to ask beyond the hardware; nothing where no GPU is to be cut."""
    if not plan.mig:
        return {}
    return {
        "mig profiles": "nvidia-smi mig -lgip",
        "mig rival": f"systemctl is-enabled {RIVAL} 2>/dev/null; true",
    }


def read_profiles(text: str) -> dict[int, dict[str, int]]:
    """`nvidia-smi mig -lgip` as index of the GPU → profile → how many of it fit on an empty one."""
    found: dict[int, dict[str, int]] = {}
    for index, name, count in re.findall(
        r"^\|\s+(\d+)\s+MIG (\S+)\s+\d+\s+\d+/(\d+)\s", text, re.M
    ):
        found.setdefault(int(index), {})[name] = int(count)
    return found


def mig_problems(plan: HostPlan, hardware: Hardware, answers: Answers) -> list[str]:
    """Why the planned layout cannot be made, each with what to do; empty when it can. A host whose
    driver does not run yet has none: they are looked for again when it does."""
    if not plan.mig or not hardware.gpus:
        return []
    known = read_profiles(answers["mig profiles"].text) if "mig profiles" in answers else {}
    return [*_rival(answers), *_gpu_problems(plan, hardware, known)]


def _rival(answers: Answers) -> Iterator[str]:
    if "mig rival" in answers and answers["mig rival"].text.strip() == "enabled":
        yield (
            f"{RIVAL} is enabled and cuts the GPUs at boot, too; `systemctl disable {RIVAL}`, or "
            "take `mig:` out of the inventory"
        )


def _gpu_problems(
    plan: HostPlan, hardware: Hardware, known: dict[int, dict[str, int]]
) -> Iterator[str]:
    for position, profiles in plan.mig:
        if position >= len(hardware.gpus):
            yield f"mig: no GPU {position} to cut; the host has {len(hardware.gpus)}"
            continue
        gpu = hardware.gpus[position]
        where = f"mig of GPU {position} ({gpu.name})"
        if not hardware.mig_of(gpu).capable:
            yield f"{where}: the card or its driver has no MIG; take it out of `mig:`"
        elif old := _too_old(gpu):
            yield f"{where}: {old}"
        elif gpu.index in known:
            yield from (f"{where}: {text}" for text in _unknown(profiles, known[gpu.index]))


def _too_old(gpu: Gpu) -> str | None:
    first = next((v for pattern, v in FIRST_DRIVERS if re.search(pattern, gpu.name)), (450,))
    version = gpu.driver_version
    if not re.fullmatch(r"\d+(\.\d+)+", version):
        return None
    if re.search(BROKEN[0], gpu.name) and version == BROKEN[1]:
        return f"driver {version} cannot cut it; install another"
    if tuple(map(int, version.split("."))) >= first:
        return None
    return f"driver {version} cannot cut it; {'.'.join(f'{n:02}' for n in first)} is the first"


def _unknown(profiles: Sequence[str], known: dict[str, int]) -> Iterator[str]:
    for profile in dict.fromkeys(profiles):
        if profile not in known:
            yield f"no profile {profile}; it has {', '.join(known)}"
        elif profiles.count(profile) > known[profile]:
            yield f"{known[profile]} × {profile} fit at most, not {profiles.count(profile)}"


def reboot_reasons(hardware: Hardware, settings: Sequence[GpuState] = ()) -> list[str]:
    """Changes of GPUs without which the slices cannot be placed, and that wait for a reboot.

    ECC is none of them: slices serve with the old mode, too, and those that were drained for another
    change must not stay down for it. The check of the settings says that it waits.
    """
    return [
        f"GPU {gpu.pci_bus_id}: MIG mode is pending"
        for gpu in hardware.gpus
        if hardware.mig_of(gpu).current != hardware.mig_of(gpu).pending
    ]
