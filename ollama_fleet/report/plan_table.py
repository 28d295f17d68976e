"""A plan in the terminal: per host a bar for every GPU, its slices, notes, and what is refused."""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING

from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.refusal import Refusal
from ollama_fleet.report.console import console, new_table, plain
from ollama_fleet.report.plan_bars import KINDS, Bar, Segment, bars, kinds_in
from ollama_fleet.sizing import HostNeeds

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 48


def print_plan(
    plans: Mapping[str, HostPlan],
    needs: Mapping[str, HostNeeds],
    explained: frozenset[str] = frozenset(),
) -> None:
    """Every host; the GPUs of the hosts in `explained` with each term's arithmetic."""
    screen = console()
    every = {name: bars(plan) for name, plan in plans.items()}
    for name, plan in plans.items():
        if plan.removal:
            kept = "with its models" if plan.removal.models else "its models stay"
            screen.print(
                f"[bold]{plain(name)}[/bold]  absent: all that a deploy put there goes, {kept}"
            )
            continue
        screen.print(f"[bold]{plain(name)}[/bold]{_cut(plan)}")
        for bar in every[name]:
            _print_bar(screen, bar, name in explained)
        if not plan.memory and plan.slices:
            screen.print("  its GPUs are not known, so no memory is checked (`gpus:` names them)")
        _print_slices(screen, plan)
        if name in needs:
            _print_needs(screen, needs[name], name in explained)
        for note in plan.notes:
            screen.print(plain_left(f"  note: {' '.join(note.split())}"), soft_wrap=True)
    shown = kinds_in(tuple(bar for group in every.values() for bar in group))
    if shown:
        screen.print("[dim]" + "  ".join(f"{KINDS[k][2]} {KINDS[k][0]}" for k in shown) + "[/dim]")


def _print_needs(screen: "Console", needs: HostNeeds, explained: bool) -> None:
    """What the host needs beside its GPUs."""
    ram, disk = ceil(needs.ram.least / 1024), ceil(needs.disk.least / 1024)
    line = f"  the host needs at least {ram} GiB of RAM, {needs.cpu.least} cores, {disk} GiB"
    screen.print(f"{line} of disk")
    for need in (needs.ram, needs.cpu, needs.disk) if explained else ():
        screen.print(plain_left(f"    {need}"), soft_wrap=True)


def refusal_lines(refusals: Iterable[Refusal]) -> Iterable[str]:
    """Each refusal with its arithmetic and what would fit."""
    for refusal in refusals:
        yield f"refused: {refusal.where}: {refusal.what}"
        yield from (f"  {line}" for line in refusal.arithmetic)
        yield from (f"  would fit: {line}" for line in refusal.nearest)


def text_bar(segments: Iterable[Segment], width: int = WIDTH) -> list[tuple[str, str]]:
    """Segments as characters with their colour, `width` in all, by rounding their ends."""
    parts = list(segments)
    total = sum(part.mib for part in parts) or 1.0
    drawn, end, done = [], 0.0, 0
    for part in parts:
        end += part.mib
        upto = round(end / total * width)
        _, colour, mark = KINDS[part.kind]
        if upto > done:
            drawn.append((mark * (upto - done), colour))
        done = upto
    return drawn


def _print_bar(screen: "Console", bar: Bar, explained: bool) -> None:
    from rich.text import Text

    what = f"  {bar.name}  {bar.card}"
    screen.print(plain_left(f"{what}  {bar.slice_line}".rstrip()))
    line = Text("    ")
    for text, colour in text_bar(bar.segments):
        line.append(text, style="" if colour == "#ffffff" else colour)
    line.append(f"  {bar.summary}")
    screen.print(line, overflow="fold")
    lines = bar.memory.explain() if explained else bar.parts
    for text in lines:
        screen.print(plain_left(f"    {text}"), soft_wrap=True)


def plain_left(text: str) -> str:
    """`text` without markup, its indentation kept."""
    from rich.markup import escape

    return escape(text)


def _cut(plan: HostPlan) -> str:
    layouts = [f"GPU {gpu} cut into {', '.join(names)}" for gpu, names in plan.mig]
    return plain_left(f"  ({'; '.join(layouts)})") if layouts else ""


def _print_slices(screen: "Console", plan: HostPlan) -> None:
    if not plan.slices:
        screen.print("  no slices")
        return
    table = new_table(
        "", slice="left", GPUs="left", port="right", models="fold", context="right",
        parallel="right", cache="left",
    )  # fmt: skip
    for item in plan.slices:
        settings = item.environment
        table.add_row(
            plain(item.name),
            ", ".join(map(str, item.gpus)),
            str(item.port),
            plain(", ".join(item.models) or "none"),
            settings.get("OLLAMA_CONTEXT_LENGTH", ""),
            settings.get("OLLAMA_NUM_PARALLEL", ""),
            settings.get("OLLAMA_KV_CACHE_TYPE", ""),
        )
    screen.print(table)
