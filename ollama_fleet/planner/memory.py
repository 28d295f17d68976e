"""What takes the memory of each GPU, and why: values that explain themselves.

Made by the planner for every GPU of a host, used or not; imports the estimate's terms only.
"""

from dataclasses import dataclass

from ollama_fleet.vram import FIT_TARGET_MIB, GpuShare, Term


@dataclass(frozen=True)
class ModelUse:
    """What one loaded model takes of one GPU; `share` holds its terms with their arithmetic."""

    model: str
    share: GpuShare

    @property
    def mib(self) -> float:
        """What nvidia-smi is expected to show."""
        return self.share.total_mib

    @property
    def terms(self) -> tuple[Term, ...]:
        """Its parts: weights, KV cache, graph, …"""
        return self.share.terms


@dataclass(frozen=True)
class GpuMemory:
    """The memory of one GPU or MIG instance.

    `selector` is what a slice would name; `owner` the slice that has it, None when it is free;
    `reserved` that the inventory keeps it for something else. `unchecked` are models of the slice
    that nothing is known about.
    """

    selector: int | str
    card: str
    total_mib: int
    usable_mib: int
    owner: str | None = None
    reserved: bool = False
    uses: tuple[ModelUse, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def used_mib(self) -> float:
        """What its models take together."""
        return sum(use.mib for use in self.uses)

    @property
    def margin_mib(self) -> float:
        """What is kept free beside them: the estimates' margins, and llama-server's own."""
        if not self.uses:
            return 0.0
        return max(FIT_TARGET_MIB, sum(use.share.margin.mib for use in self.uses))

    @property
    def free_mib(self) -> float:
        """What is left for more; negative by what is missing."""
        return self.usable_mib - self.used_mib - self.margin_mib

    @property
    def fits(self) -> bool:
        """Whether its models and their margin fit."""
        return self.free_mib >= 0

    def explain(self) -> list[str]:
        """Lines for people: every term of every model, the margin, what is left."""
        lines = [f"{self.card}: {self.usable_mib} MiB usable of {self.total_mib}"]
        if self.reserved:
            return [*lines, "reserved by the inventory"]
        for use in self.uses:
            lines.append(f"{use.model}: {use.mib:.0f} MiB")
            lines += [f"  {term}" for term in use.terms]
        lines += [f"{model}: unknown, not counted" for model in self.unchecked]
        if self.uses:
            lines.append(f"margin: {self.margin_mib:.0f} MiB ({self._margin_reason()})")
        left = f"{self.free_mib:.0f} MiB free"
        return [*lines, left if self.fits else f"{-self.free_mib:.0f} MiB too much"]

    def sum(self) -> str:
        """The same on one line: `19210 + 2100 + margin 1440 = 22750 of 24159 MiB`."""
        parts = [f"{use.model} {use.mib:.0f}" for use in self.uses]
        need = self.used_mib + self.margin_mib
        text = " + ".join([*parts, f"margin {self.margin_mib:.0f}"])
        return f"{text} = {need:.0f} of {self.usable_mib} MiB"

    def _margin_reason(self) -> str:
        if self.margin_mib == FIT_TARGET_MIB:
            return "what llama-server leaves free on each GPU"
        return " and ".join(dict.fromkeys(use.share.margin.formula for use in self.uses))
