"""The whole terminal for one changing picture, with keys to move in it; all is as it was afterwards."""

import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console, Group
from rich.live import Live

from ollama_fleet.top.model import FleetNow
from ollama_fleet.top.screen import View, lines_of, window

# The picture is drawn anew so often, and at each key.
DRAWN_EVERY_S = 1.0
# What a terminal sends for the keys that we know.
ROWS = {b"\x1b[A": -1, b"k": -1, b"\x1b[B": 1, b"j": 1}
PAGES = {b"\x1b[5~": -1, b"b": -1, b"\x1b[6~": 1, b" ": 1}
TOP = (b"\x1b[H", b"\x1bOH", b"\x1b[1~", b"g")
BOTTOM = (b"\x1b[F", b"\x1bOF", b"\x1b[4~", b"G")
ENDS = (b"q", b"Q", b"\x03")


def show(now: Callable[[], FleetNow]) -> None:
    """Show `now()` again and again until q or Ctrl-C."""
    console = Console()
    with _keys() as key, Live(console=console, screen=True, auto_refresh=False) as live:
        _until_the_end(console, live, now, key)


def _until_the_end(
    console: Console, live: Live, now: Callable[[], FleetNow], key: Callable[[float], bytes]
) -> None:
    view, pressed = View(), list[bytes]()
    while not set(pressed) & set(ENDS):
        height = console.height
        for one in pressed:
            view = after_key(view, one, height)
        lines = lines_of(now(), console.width, view.worst_first)
        shown, view = window(lines, view, console.width, height)
        live.update(Group(*shown), refresh=True)
        pressed = keys_in(key(DRAWN_EVERY_S))


def keys_in(read: bytes) -> list[bytes]:
    """Each key of what a terminal sent; who holds one down sends several at once."""
    return re.findall(rb"\x1b[\[O][0-9;]*[A-Za-z~]|.", read, re.S)


def after_key(view: View, pressed: bytes, height: int) -> View:
    """The view that a key leads to; `window` keeps it within what there is."""
    if pressed in ROWS:
        return replace(view, first=max(0, view.first + ROWS[pressed]))
    if pressed in PAGES:
        return replace(view, first=max(0, view.first + PAGES[pressed] * max(1, height - 3)))
    if pressed in TOP:
        return replace(view, first=0)
    if pressed in BOTTOM:
        return replace(view, first=1_000_000)
    if pressed == b"w":
        return View(0, not view.worst_first)
    return view


@contextmanager
def _keys() -> Iterator[Callable[[float], bytes]]:
    """A function that waits for keys so many seconds; b"" when none came, q when nobody is there.

    Ctrl-C is a key like others: as an exception it would come up wherever a machine is being asked.
    """
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    wake, alarm = os.pipe()
    former = signal.signal(signal.SIGINT, lambda *_: os.write(alarm, ENDS[-1]))

    def key(within_s: float) -> bytes:
        ready = select.select([stdin, wake], [], [], within_s)[0]
        return (os.read(ready[0], 1024) or ENDS[0]) if ready else b""

    try:
        tty.setcbreak(stdin)
        yield key
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGINT, former)
        os.close(wake)
        os.close(alarm)
