"""What an estimate answers: terms with their arithmetic, per GPU and together. Values only."""

from dataclasses import dataclass

# llama-server leaves this much free on each GPU and moves layers to the CPU otherwise
# (LLAMA_ARG_FIT_TARGET, llama.cpp#16653). A plan keeps it, or the margin where that is more.
FIT_TARGET_MIB = 1024

ORDER = (
    "weights",
    "kv_cache",
    "recurrent_state",
    "graph",
    "projector",
    "draft",
    "cuda_context",
)


@dataclass(frozen=True)
class Term:
    """One part of the memory and why it is that much."""

    name: str
    mib: float
    formula: str

    def __str__(self) -> str:
        return f"{self.name.replace('_', ' ')}: {self.formula} = {self.mib:.1f} MiB"


@dataclass(frozen=True)
class GpuShare:
    """What one GPU of a runner holds; `margin` is kept free beside the terms, not part of them."""

    index: int
    terms: tuple[Term, ...]
    margin: Term

    @property
    def total_mib(self) -> float:
        """What nvidia-smi is expected to show."""
        return sum(term.mib for term in self.terms)

    @property
    def needed_mib(self) -> float:
        """What the GPU must have free: the total and the safety margin."""
        return self.total_mib + self.margin.mib

    def mib(self, name: str) -> float:
        """One term's size, 0 where the GPU has no such part."""
        return sum(term.mib for term in self.terms if term.name == name)


@dataclass(frozen=True)
class Estimate:
    """Memory of one runner: a loaded model with its contexts, on one GPU or split over several.

    `parallel` and `batch` are what Ollama will really use, not always what was asked for.
    """

    model: str
    context: int
    parallel: int
    kv_cache: str
    flash_attention: bool
    batch: int
    whole: tuple[Term, ...]
    per_gpu: tuple[GpuShare, ...]
    notes: tuple[str, ...] = ()

    @property
    def gpus(self) -> int:
        """GPUs that the model is split over."""
        return len(self.per_gpu)

    @property
    def total_mib(self) -> float:
        """What all GPUs together are expected to show, without margin."""
        return sum(share.total_mib for share in self.per_gpu)

    @property
    def margin_mib(self) -> float:
        """The safety margin of all GPUs together."""
        return sum(share.margin.mib for share in self.per_gpu)

    @property
    def needed_mib(self) -> float:
        """Total and margin."""
        return self.total_mib + self.margin_mib

    @property
    def needed_per_gpu_mib(self) -> float:
        """The most that any one GPU must have free."""
        return max(share.needed_mib for share in self.per_gpu)

    @property
    def components(self) -> dict[str, float]:
        """Part to MiB over all GPUs, in a fixed order, without margin."""
        names = (name for name in ORDER if any(share.mib(name) for share in self.per_gpu))
        return {name: sum(share.mib(name) for share in self.per_gpu) for name in names}

    @property
    def terms(self) -> tuple[Term, ...]:
        """Every part over all GPUs with its arithmetic."""
        formulas = {term.name: term.formula for term in self.whole}
        return tuple(Term(name, mib, formulas[name]) for name, mib in self.components.items())

    @property
    def margin(self) -> Term:
        """The safety margin over all GPUs with its arithmetic."""
        return Term("margin", self.margin_mib, self.per_gpu[0].margin.formula)

    def explain(self) -> list[str]:
        """Lines for people: every term, the total, the margin, what must be free."""
        each = f" on each of {self.gpus} GPUs, {self.needed_per_gpu_mib:.0f} MiB at most"
        return [
            *(str(term) for term in self.terms),
            f"total: {self.total_mib:.1f} MiB",
            str(self.margin),
            f"needed: {self.needed_mib:.1f} MiB" + (each if self.gpus > 1 else ""),
            *self.notes,
        ]
