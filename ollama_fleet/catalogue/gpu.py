"""What is known about one GPU and the MIG profiles of its family.

Values only, validated by pydantic and frozen; imports none of ours. An inventory can hold GPUs of
its own as `Gpu`: name, memory, compute capability and bandwidth are enough.
"""

from typing import Annotated, Literal

from pydantic import Field

from ollama_fleet.catalogue.model import Fact, Positive

# CUDA sees 1.7–2.1 % less than nvidia-smi's total (3090, 3090 Ti, A30, 4070 Ti SUPER, V100).
USABLE_SHARE = 0.979
# Ollama turns flash attention on by itself from this compute capability on, but not for 7.2
# (ml/device.go).
OLDEST_FLASH, WITHOUT_FLASH = (6, 0), (7, 2)
# A slice has less than its share of the card: 16384 MiB of 17971 as 1g.18gb of an H200, the most that
# any profile read from hardware lost (an A100-40's 1g.5gb: 4864 of 5120).
MIG_SHARE = 0.91
CUDA_CONTEXT_MIB = 305


class MigProfile(Fact):
    """One way to cut a slice out of a GPU, as `nvidia-smi mig -lgip` names it."""

    name: str = Field(description="Such as 3g.20gb; means different sizes on different cards.")
    max_instances: Positive = Field(description="How many of them fit on an empty GPU.")
    compute_slices: Positive = Field(description="Compute slices of the seven (four on A30).")
    memory_slices: Positive = Field(description="Memory slices.")
    memory_slices_total: Positive = Field(8, description="Memory slices of the whole GPU.")
    measured_mib: Positive | None = Field(None, description="Memory that a real card reported.")

    @property
    def memory_share(self) -> float:
        """Part of the card's memory, and of its bandwidth."""
        return self.memory_slices / self.memory_slices_total

    def memory_mib(self, gpu: "Gpu") -> int:
        """Memory of a slice: measured where a card was read, else its share less 9 %."""
        return self.measured_mib or int(gpu.vram_mib * self.memory_share * MIG_SHARE)


class Gpu(Fact):
    """One GPU model, by the name that nvidia-smi prints."""

    name: str = Field(description="As nvidia-smi prints it.")
    vram_mib: Annotated[int, Field(ge=256, le=2**24)] = Field(
        description="memory.total of nvidia-smi."
    )
    cuda_total_mib: Positive | None = Field(
        None, description="Total that CUDA sees, where a log shows it; about 2 % less."
    )
    architecture: str = Field("", description="Such as Ampere.")
    compute_capability: Annotated[str, Field(pattern=r"^\d{1,2}\.\d$")] = Field(
        description="Such as 8.6; Ollama needs 5.0."
    )
    bandwidth_gb_s: Annotated[float, Field(gt=0, le=10**5)] = Field(
        description="Memory bandwidth by the maker's sheet."
    )
    memory: Literal["gddr", "hbm", "unified"] = Field(
        "gddr", description="Kind of memory: HBM reaches a smaller part of its bandwidth."
    )
    nvlink: str = Field("", description="How cards are linked; informational.")
    mig_family: str = Field("", description="Family of MIG profiles, empty without MIG.")
    mig_profiles: tuple[MigProfile, ...] = Field((), description="Profiles that it can be cut in.")
    cuda_context_mib: Positive = Field(
        CUDA_CONTEXT_MIB,
        description="What each process takes before any model: 297–305 MiB on A40 and RTX 3090, 596 on "
        "H100 and H200 (SXM), about 1005 on an RTX 5090 (and assumed so for other dies of that size).",
    )
    confidence: Literal["high", "medium", "low"] = Field("high", description="How sure it is.")
    note: str = Field("", description="Variants, ECC.")

    @property
    def usable_mib(self) -> int:
        """Memory that CUDA hands out on an empty card."""
        return self.cuda_total_mib or int(self.vram_mib * USABLE_SHARE)

    @property
    def flash_attention(self) -> bool:
        """Whether Ollama uses flash attention on it by itself."""
        capability = tuple(map(int, self.compute_capability.split(".")))
        return capability >= OLDEST_FLASH and capability != WITHOUT_FLASH

    @property
    def large_die(self) -> bool:
        """A card whose CUDA context is far above the usual one, and less well known."""
        return self.cuda_context_mib > 2 * CUDA_CONTEXT_MIB

    def mig_profile(self, name: str) -> MigProfile:
        """The profile of that name; LookupError names the ones that this card has."""
        for profile in self.mig_profiles:
            if profile.name == name.removeprefix("MIG "):
                return profile
        has = ", ".join(profile.name for profile in self.mig_profiles)
        raise LookupError(
            f"{self.name} has no MIG profile {name}: "
            + (f"it has {has}" if has else "it cannot be partitioned")
        )
