"""The catalogue for people: models with the memory that they take, and GPUs."""

from collections.abc import Sequence

from ollama_fleet.catalogue import Gpu, Model
from ollama_fleet.report.console import console, gib, new_table, plain, tokens
from ollama_fleet.vram import estimate

SHOWN_CONTEXTS = (4096, 32768)


def at_contexts(model: Model) -> dict[int, float]:
    """Context to MiB on one GPU: at 4096, at 32768 and at the model's most, as far as it goes."""
    contexts = {min(context, model.max_context) for context in (*SHOWN_CONTEXTS, model.max_context)}
    return {context: estimate(model, context=context).total_mib for context in sorted(contexts)}


def print_models(models: Sequence[Model]) -> None:
    """One line per model."""
    columns = {"4K": "right", "32K": "right", "most": "right"}
    table = new_table(
        "", model="left", params="right", context="right", weights="left", file="right",
        **columns, tasks="fold",
    )  # fmt: skip
    for model in models:
        takes = at_contexts(model)
        shown = [gib(takes[c]) if c in takes else "" for c in SHOWN_CONTEXTS]
        table.add_row(
            plain(model.tag),
            _params(model),
            tokens(model.max_context),
            model.quantisation,
            f"{model.file_bytes / 1e9:.1f} GB",
            *shown,
            gib(takes[model.max_context]),
            ", ".join(sorted(model.tasks)),
        )
    screen = console()
    screen.print(table)
    screen.print(
        f"{len(models)} models. 4K, 32K, most: GPU memory at that context, f16 cache, one request, "
        "without margin."
    )


def print_gpus(gpus: Sequence[Gpu]) -> None:
    """One line per GPU."""
    table = new_table(
        "", GPU="left", memory="right", usable="right", compute="right", bandwidth="right",
        architecture="left", MIG="fold",
    )  # fmt: skip
    for gpu in gpus:
        table.add_row(
            plain(gpu.name),
            f"{gpu.vram_mib:,} MiB",
            f"{gpu.usable_mib:,} MiB",
            gpu.compute_capability,
            f"{gpu.bandwidth_gb_s:,.0f} GB/s",
            gpu.architecture,
            " ".join(profile.name for profile in gpu.mig_profiles),
        )
    screen = console()
    screen.print(table)
    screen.print(f"{len(gpus)} GPUs. usable: what CUDA hands out on an empty card.")


def _params(model: Model) -> str:
    active = f" ({model.active_params_b:.1f} active)" if model.mixture else ""
    return f"{model.params_b:.1f}B{active}"
