"""A memory estimate for people: every term with its arithmetic, what must be free, whether it fits.

Imports the estimate's and the recommendation's values only.
"""

from collections.abc import Sequence

from ollama_fleet.recommend.room import Room, kept_mib
from ollama_fleet.report.console import console, new_table, plain
from ollama_fleet.vram import FIT_TARGET_MIB, Estimate


def print_estimate(answer: Estimate) -> None:
    """Every term, the total, the margin and what must be free."""
    table = new_table(_title(answer), part="left", MiB="right", why="fold")
    for term in answer.terms:
        table.add_row(term.name.replace("_", " "), f"{term.mib:,.0f}", plain(term.formula))
    table.add_section()
    shown = "what nvidia-smi will show" + (" on all GPUs together" if answer.gpus > 1 else "")
    table.add_row("total", f"{answer.total_mib:,.0f}", shown, style="bold")
    table.add_row("margin", f"{answer.margin_mib:,.0f}", plain(answer.margin.formula))
    table.add_row("needed", f"{answer.needed_mib:,.0f}", "total and margin", style="bold")
    screen = console()
    screen.print(table)
    for note in answer.notes:
        screen.print(plain(note))
    for share in answer.per_gpu if answer.gpus > 1 else ():
        terms = " + ".join(f"{term.name.replace('_', ' ')} {term.mib:,.0f}" for term in share.terms)
        screen.print(plain(f"GPU {share.index}: {terms} = {share.total_mib:,.0f} MiB"))


def print_verdict(
    answer: Estimate, room: Room, largest_context: int, speed: str, ways: Sequence[str]
) -> None:
    """Whether it fits on these GPUs, and the nearest things that would."""
    screen, need, has = console(), kept_mib(answer), room.usable_mib
    each = "on the fullest GPU " if room.gpus > 1 else ""
    kept = f" ({FIT_TARGET_MIB} MiB of it left free by llama-server)" if _target(answer) else ""
    sum_ = f"{need:,.0f} MiB needed {each}with margin{kept}, {has:,} usable"
    if need <= has:
        screen.print(f"[green]fits[/green] on {plain(room.name)}: {sum_}, {has - need:,.0f} left")
    else:
        screen.print(
            f"[red]does not fit[/red] on {plain(room.name)}: {sum_}, {need - has:,.0f} short"
        )
        screen.print("would fit: " + (plain(", or ".join(ways)) or "nothing of this family"))
    screen.print(f"largest context with these settings: {largest_context} tokens per request")
    if need <= has:
        screen.print(plain(f"speed of one request: {speed}"))


def _target(answer: Estimate) -> bool:
    return any(share.margin.mib < FIT_TARGET_MIB for share in answer.per_gpu)


def _title(answer: Estimate) -> str:
    requests = f"{answer.parallel} requests at once" if answer.parallel > 1 else "one request"
    flash = "" if answer.flash_attention else ", no flash attention"
    gpus = f", split over {answer.gpus} GPUs" if answer.gpus > 1 else ""
    return (
        f"{plain(answer.model)}: {answer.context} tokens × {requests}, "
        f"{answer.kv_cache} cache{flash}{gpus}"
    )
