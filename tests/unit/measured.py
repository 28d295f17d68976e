"""Estimates against figures that people really saw: `python -m tests.unit.measured`.

Reads tests/unit/data/vram_measured.csv (its README says what is comparable and why). Every row is
computed from the catalogue and what the row says about itself; nothing is fitted to a row.
"""

import csv
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ollama_fleet.catalogue import Cache, Gpu, Model, UnknownGpu, find_gpu, find_model
from ollama_fleet.catalogue.gpu import CUDA_CONTEXT_MIB
from ollama_fleet.vram import Estimate, EstimateError, estimate
from ollama_fleet.vram.kv import full_mib, kv_mib

TABLE = Path(__file__).parent / "data" / "vram_measured.csv"
ROUNDED_MIB = 0.51  # logs print MiB with two digits, or whole ones


@dataclass(frozen=True)
class Compared:
    """One row: what was measured, what the estimate says, what it says with its margin."""

    row: dict[str, str]
    measured_mib: float
    predicted_mib: float
    needed_mib: float

    @property
    def error(self) -> float:
        """Relative, positive where the estimate is above the measurement."""
        return self.predicted_mib / self.measured_mib - 1

    @property
    def group(self) -> str:
        kind = self.row["compare"]
        if kind not in ("total", "graph"):
            return kind
        return f"{kind}, {self.row['generation']} engine"


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def compared() -> Iterator[Compared]:
    """Every comparable row with its estimate."""
    for row in rows():
        if row["compare"]:
            yield _compare(row)


def _compare(row: dict[str, str]) -> Compared:
    measured = float(row["mib"])
    if row["compare"] == "context":
        gpu = _gpu(row["gpu"])
        told = float(gpu.cuda_context_mib if gpu else CUDA_CONTEXT_MIB)
        return Compared(row, measured, told, measured)
    if row["compare"] == "kv":
        predicted = _kv(row)
        return Compared(row, measured, predicted, predicted)
    if row["compare"] == "difference":
        long, short = row["context"].split("-")
        predicted = _estimate(row, long).total_mib - _estimate(row, short).total_mib
        return Compared(row, measured, predicted, predicted)
    answer = _estimate(row, row["context"])
    needed = answer.needed_mib
    return Compared(row, measured, _part(row, answer), needed)


def _part(row: dict[str, str], answer: Estimate) -> float:
    """The part of an estimate that a metric is about."""
    parts = answer.components
    kind = row["compare"]
    if kind == "total":
        return answer.total_mib
    if kind == "graph":
        return answer.per_gpu[-1].mib("graph")
    if kind == "recurrent":
        return parts["recurrent_state"] * int(row["parallel"]) / answer.parallel
    if kind == "weights":
        return parts["weights"]
    weights = float(row["shape"].split()[1]) if row["shape"] else parts["weights"]
    rest = ("kv_cache", "recurrent_state", "graph")
    return weights + sum(parts.get(name, 0.0) for name in rest)


def _estimate(row: dict[str, str], context: str) -> Estimate:
    model, gpu = find_model(row["tag"]), _gpu(row["gpu"])
    ours = row["engine"].startswith("Ollama") and row["generation"] == "current"
    arguments = {
        "context": int(context),
        "parallel": int(row["parallel"]),
        "kv_cache": row["kv_cache"] if row["kv_cache"] in ("q8_0", "q4_0") else "f16",
        "flash_attention": row["flash_attention"] == "1",
        "gpus": int(row["gpus"]) if row["compare"] != "report" else 1,
        "batch": None if ours or not row["batch"] else int(row["batch"]),
        "gpu": gpu,
        "free_mib": gpu.usable_mib if gpu else None,
        "engine": row["generation"],
    }
    return estimate(model, **arguments)


def _gpu(text: str) -> Gpu | None:
    """The catalogue's GPU, if the row names one (`24GB headless` and laptops do not)."""
    try:
        return find_gpu(text.split(" (")[0])
    except UnknownGpu:
        return None


def _kv(row: dict[str, str]) -> float:
    """The cache alone, at the context and the type that the log shows."""
    context, parallel = int(row["context"]), int(row["parallel"])
    kinds = row["kv_cache"].split("/")
    if row["shape"]:
        layers, kv_heads, width = map(int, row["shape"].split("x"))
        cache = Cache(layers=layers, kv_heads=kv_heads, key_length=width, value_length=width)
        return full_mib(cache, context, parallel, kinds[0])
    model: Model = find_model(row["tag"])
    each = [kv_mib(model, context, parallel, kind, int(row["batch"] or 512)) for kind in kinds]
    return statistics.mean(each)


def architecture_class(model: Model) -> str:
    """How a model keeps what it has read: what the estimate has a formula for."""
    if model.kind == "embedding":
        return "embedder"
    if model.mla_width:
        return "MLA"
    if model.recurrent:
        return "hybrid"
    if model.local:
        return "sliding window"
    heads = "multi-head" if model.full and model.full.kv_heads == model.heads else "grouped"
    return f"mixture, {heads}" if model.experts else heads


def classes() -> dict[str, list[Compared]]:
    """Whole-runner rows per class of architecture."""
    found: dict[str, list[Compared]] = {}
    for one in compared():
        if one.row["compare"] == "total":
            found.setdefault(architecture_class(find_model(one.row["tag"])), []).append(one)
    return found


def groups() -> dict[str, list[Compared]]:
    found: dict[str, list[Compared]] = {}
    for one in compared():
        found.setdefault(one.group, []).append(one)
    return found


def median_error(found: list[Compared]) -> float:
    return statistics.median(abs(one.error) for one in found)


def worst_error(found: list[Compared]) -> float:
    return max(abs(one.error) for one in found)


def main() -> None:
    """Prints every comparable row, then median and worst error per group."""
    for group, found in groups().items():
        print(f"\n{group}")
        for one in found:
            row = one.row
            below = (
                "  BELOW" if row["compare"] == "total" and one.needed_mib < one.measured_mib else ""
            )
            print(
                f"  {row['id']:>4} {row['tag']:22} {row['context']:>12} {row['kv_cache']:5} "
                f"{one.measured_mib:9.1f} {one.predicted_mib:9.1f} {one.error:+7.2%}{below}"
            )
    print(f"\n{'rows':32} {'n':>3} {'median':>8} {'worst':>8}")
    for group, found in sorted(groups().items()):
        print(f"{group:32} {len(found):3} {median_error(found):8.2%} {worst_error(found):8.2%}")
    print("\nwhole runners by class of architecture")
    for group, found in sorted(classes().items()):
        print(f"{group:32} {len(found):3} {median_error(found):8.2%} {worst_error(found):8.2%}")


__all__ = ["EstimateError", "compared", "groups", "median_error", "rows", "worst_error"]

if __name__ == "__main__":
    main()
