"""Cells of one line in the terminal: text of hosts made harmless, bars, figures with their unit. Pure."""

from collections.abc import Sequence

from rich.text import Text

NOTHING = "–"
WIDE = "\N{HORIZONTAL ELLIPSIS}"


def clean(text: object) -> str:
    """`text` with nothing in it that a terminal would obey: no escape, no control, no turning of lines."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def cell(text: object, width: int, style: str = "", right: bool = False) -> Text:
    """Exactly `width` columns wide; what is too long ends in an ellipsis."""
    made = text.copy() if isinstance(text, Text) else Text(clean(text), style=style)
    made.truncate(max(0, width), overflow="ellipsis")
    made.align("right" if right else "left", max(0, width))
    return made


def row(cells: Sequence[Text], width: int) -> Text:
    """One line of cells with a space between them, no wider than `width`."""
    line = Text(" ", no_wrap=True, overflow="crop").join(part for part in cells if part.plain)
    line.no_wrap, line.overflow = True, "crop"
    line.truncate(width, overflow="crop")
    return line


def bar(used: float | None, total: float | None, planned: float | None, width: int) -> Text:
    """How full something is, with a mark where the plan says it should be."""
    if not total or used is None:
        return Text("·" * width, style="dim")
    share = min(1.0, used / total)
    filled = round(share * width)
    style = "red" if share > 0.97 else "yellow" if share > 0.9 else "green"
    made = Text("█" * filled, style=style) + Text("░" * (width - filled), style="dim")
    if planned is not None:
        at = min(width - 1, int(planned / total * width))
        made = made[:at] + Text("│", style="bold cyan") + made[at + 1 :]
    return made


def gib(mib: float | None) -> str:
    """MiB as GiB: 17.8."""
    return NOTHING if mib is None else f"{mib / 1024:.1f}"


def figure(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A figure with its unit, or a dash where nobody knows."""
    return NOTHING if value is None else f"{value:.{digits}f}{unit}"


def span(seconds: float) -> str:
    """A time for people: 40 s, 5 min, 3 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
