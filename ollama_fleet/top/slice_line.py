"""One slice as a line: does it serve, what has it in memory, who asks it. Pure."""

from rich.text import Text

from ollama_fleet.top.cells import cell, clean, figure, gib, row, span
from ollama_fleet.top.model import ModelNow, SliceNow


def slice_line(item: SliceNow, width: int) -> Text:
    """Under its host's GPUs."""
    word, style = state_of(item)
    wide = width >= 100
    cells = [
        Text("   "),
        cell(item.name, 16 if wide else 10, "bold"),
        cell(f":{item.port}", 6),
        cell(_place(item, wide), 15 if wide else 9, "dim"),
        cell(word, 12 if wide else 11, style),
        cell(f"{figure(item.running)} run", 6, right=True),
        cell(figure(item.tokens_per_s, 0, " tok/s"), 10, right=True),
    ]
    if item.restarts:
        cells.append(Text(f"{item.restarts} restarts", style="yellow"))
    return row([*cells, _models(item)], width)


def state_of(item: SliceNow) -> tuple[str, str]:
    """Its state in a word, and the style of that."""
    if item.quarantined:
        return "quarantined", "bold red"
    if item.state not in (None, "active"):
        return str(item.state), "bold red"
    if item.drained:
        return "drained", "cyan"
    if item.listens is False:
        return "not there", "bold red"
    if item.models is None:
        return "no answer", "bold red"
    if item.serves is None:
        return "up", "green"
    return ("serves", "green") if item.serves else ("silent", "bold red")


def _place(item: SliceNow, wide: bool) -> str:
    gpus = ",".join(map(str, item.gpus)) or "–"
    return f"{'GPU ' if wide or not item.instance else ''}{gpus} {item.instance}".strip()


def _models(item: SliceNow) -> Text:
    if item.models is None:
        return Text("–", style="dim")
    if not item.models:
        return Text("nothing in memory", style="dim")
    return Text(", ").join(map(_model, item.models))


def _model(model: ModelNow) -> Text:
    """Its size on GPUs, and for how long, where that is not for good."""
    kept = "" if model.kept_s is None else f" {span(model.kept_s)}"
    if model.vram_mib < model.size_mib:
        words = (
            f"{clean(model.name)} {gib(model.vram_mib)} of {gib(model.size_mib)} GiB on GPU{kept}"
        )
        return Text(words, style="bold red")
    return Text(f"{clean(model.name)} {gib(model.vram_mib)} GiB{kept}")
