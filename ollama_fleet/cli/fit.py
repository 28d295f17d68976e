"""`fleet fit`: how much memory a model takes, and whether it fits on some GPUs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ollama_fleet.cli.ending import REFUSED, BadOptionError, JsonOption, answering, print_json

if TYPE_CHECKING:
    from ollama_fleet.catalogue import Model
    from ollama_fleet.recommend.room import Demand, Room
    from ollama_fleet.vram import Estimate, GpuShare

DEFAULT_CONTEXT = 4096  # an inventory's own default


ModelArgument = Annotated[
    str, typer.Argument(help="A tag such as qwen3:8b, or the path of a .gguf file.")
]
GpuOption = Annotated[
    str | None, typer.Option(help="GPU by name, such as 'RTX 3090'; see `fleet gpus`.")
]
GpusOption = Annotated[int, typer.Option(help="Split it over so many equal GPUs.")]
MigOption = Annotated[str | None, typer.Option(help="A MIG profile of that GPU, such as 3g.20gb.")]
ContextOption = Annotated[
    int | None,
    typer.Option(help="Tokens per request; default: 4096, or the model's most if that is less."),
]
ParallelOption = Annotated[int, typer.Option(help="Requests served at the same time.")]
KvCacheOption = Annotated[
    Literal["f16", "q8_0", "q4_0"], typer.Option(help="Element type of the KV cache.")
]
FlashAttentionOption = Annotated[
    bool | None,
    typer.Option(help="Force it on or off; default: on, where the GPU can.", show_default=False),
]


def fit(
    model: ModelArgument,
    gpu: GpuOption = None,
    gpus: GpusOption = 1,
    mig: MigOption = None,
    context: ContextOption = None,
    parallel: ParallelOption = 1,
    kv_cache: KvCacheOption = "f16",
    flash_attention: FlashAttentionOption = None,
    json: JsonOption = False,
) -> None:
    """Say how much GPU memory a model takes, term by term, and whether it fits on given GPUs.

    Exit code 0 when it fits (or no GPU was given), 3 when it does not, 2 for bad input.

    JSON: total_mib and components (name to MiB) are what nvidia-smi will show; margin_mib and
    needed_mib; terms; per_gpu; with a GPU also fits, largest_context, available_mib, free_mib,
    tokens_per_s and would_fit.
    """
    with answering(json):
        from ollama_fleet.recommend.room import Demand, memory

        known = _model(model)
        room = _room(gpu, gpus, mig)
        tokens = min(DEFAULT_CONTEXT, known.max_context) if context is None else context
        demand = Demand(tokens, parallel, kv_cache, flash_attention)
        answer = memory(known, demand, room, gpus)
        told = _on_gpus(known, demand, room, answer) if room else {}
        if json:
            print_json(_estimate(answer) | told)
        else:
            _print(answer, room, told)
    if told and not told["fits"]:
        raise typer.Exit(REFUSED)


def _model(name: str) -> "Model":
    from ollama_fleet.catalogue import find_model, read_gguf

    if name.endswith(".gguf") or Path(name).is_file():
        return read_gguf(Path(name))
    return find_model(name)


def _room(gpu: str | None, gpus: int, mig: str | None) -> "Room | None":
    from ollama_fleet.catalogue import find_gpu
    from ollama_fleet.recommend.room import Room

    if gpu is None:
        if mig:
            raise BadOptionError("--mig needs --gpu: a profile means another size on each card")
        return None
    if mig and gpus > 1:
        raise BadOptionError(
            "--mig with --gpus: a process sees one MIG instance only, use --gpus 1"
        )
    card = find_gpu(gpu)
    return Room(card, gpus, card.mig_profile(mig) if mig else None)


def _on_gpus(model: "Model", demand: "Demand", room: "Room", answer: "Estimate") -> dict[str, Any]:
    from ollama_fleet.recommend.room import fits, kept_mib, largest, ways_to_fit
    from ollama_fleet.speed import decode_speed

    share = room.profile.memory_share if room.profile else 1.0
    speed = decode_speed(model, room.gpu, gpus=room.gpus, kv_cache=demand.kv_cache, share=share)
    fitting = fits(answer, room)
    return {
        "gpu": room.gpu.name,
        "mig": room.profile.name if room.profile else None,
        "fits": fitting,
        "largest_context": largest(model, demand, room),
        "available_mib": room.usable_mib,
        "kept_mib": round(kept_mib(answer), 1),
        "free_mib": round(room.usable_mib - kept_mib(answer), 1),
        "tokens_per_s": round(speed.tokens_per_s, 1),
        "speed": str(speed),
        "would_fit": [] if fitting else ways_to_fit(model, demand, room),
    }


def _estimate(answer: "Estimate") -> dict[str, Any]:
    return {
        "model": answer.model,
        "context": answer.context,
        "parallel": answer.parallel,
        "kv_cache": answer.kv_cache,
        "flash_attention": answer.flash_attention,
        "batch": answer.batch,
        "gpus": answer.gpus,
        "total_mib": round(answer.total_mib, 1),
        "margin_mib": round(answer.margin_mib, 1),
        "needed_mib": round(answer.needed_mib, 1),
        "components": _rounded(answer.components),
        "terms": [{"name": t.name, "mib": round(t.mib, 1), "why": t.formula} for t in answer.terms],
        "per_gpu": [_share(share) for share in answer.per_gpu],
        "notes": list(answer.notes),
    }


def _share(share: "GpuShare") -> dict[str, Any]:
    return {
        "index": share.index,
        "total_mib": round(share.total_mib, 1),
        "needed_mib": round(share.needed_mib, 1),
        "components": _rounded({term.name: term.mib for term in share.terms}),
    }


def _rounded(parts: dict[str, float]) -> dict[str, float]:
    return {name: round(mib, 1) for name, mib in parts.items()}


def _print(answer: "Estimate", room: "Room | None", told: dict[str, Any]) -> None:
    from ollama_fleet.report.fit_table import print_estimate, print_verdict

    print_estimate(answer)
    if room:
        print_verdict(answer, room, told["largest_context"], told["speed"], told["would_fit"])
