"""Downloads as they go on, in the terminal: one bar for all of them, one for each that runs."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

NAME_WIDTH = 40


class Transfer(Protocol):
    """A file that is fetched."""

    @property
    def path(self) -> str: ...

    @property
    def size(self) -> int | None: ...


class Transfers:
    """Bars on standard error, as long as it is entered; nothing where that is no terminal."""

    def __init__(self, total_bytes: int) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._all = self._bars.add_task("all", total=total_bytes or None)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def begin(self, item: Transfer, had: int) -> None:
        """A file is fetched, of which so many bytes are there."""
        name = item.path if len(item.path) <= NAME_WIDTH else f"…{item.path[-NAME_WIDTH + 1 :]}"
        self._tasks[item.path] = self._bars.add_task(name, total=item.size, completed=had)

    def advance(self, item: Transfer, count: int) -> None:
        """So many bytes came; less than none where it begins anew."""
        self._bars.advance(self._tasks[item.path], count)
        self._bars.advance(self._all, count)

    def end(self, item: Transfer) -> None:
        """It is there, or it failed."""
        self._bars.remove_task(self._tasks.pop(item.path))
