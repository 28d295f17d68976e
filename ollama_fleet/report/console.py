"""Where tables are printed: a terminal's own width, or a fixed one for files and pipes."""

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 120


def console(stream: TextIO | None = None) -> "Console":
    """A console on `stream`, default stdout."""
    from rich.console import Console

    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False)


def new_table(title: str, **columns: str) -> "Table":
    """A table with these columns (name to `left`, `right` or `fold`), its title above it."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    for name, kind in columns.items():
        heading = name.replace("_", " ")
        table.add_column(
            heading,
            justify="right" if kind == "right" else "left",
            overflow="fold",
            no_wrap=kind == "left",
        )
    return table


def gib(mib: float) -> str:
    """MiB as GiB for people: 17.8 GiB."""
    return f"{mib / 1024:.1f} GiB"


def tokens(count: int) -> str:
    """Tokens for people: 40K, 512."""
    return f"{count // 1024}K" if count >= 1024 and count % 1024 == 0 else f"{count}"


def plain(text: object) -> str:
    """`text` as it is, with no markup in it."""
    from rich.markup import escape

    return escape(" ".join(str(text).split()))
