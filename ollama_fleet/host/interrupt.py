"""Ctrl-C while many machines are spoken to at once: it ends whoever waits for them all.

Python raises in the greenlet that happens to run. In one of paramiko's, which stand for threads, that
would end a connection and be forgotten, and the run would go on and wait.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gevent import get_hub, getcurrent


def raise_in_main(error: BaseException) -> None:
    """Raise `error` in the main greenlet, of whichever a signal was handled in."""
    hub = get_hub()
    main = hub.parent
    if getcurrent() is main:
        raise error
    hub.loop.run_callback(main.throw, error)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it Ctrl-C is a KeyboardInterrupt of the main greenlet. Who has it ignored goes on."""
    former = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or former is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise_in_main(KeyboardInterrupt())
