"""The command line around a run: where pyinfra would end in a traceback or hide an interruption."""

import signal
import sys
from types import FrameType

import click

from ollama_fleet.host.interrupt import raise_in_main


def guard_terminal() -> None:
    """Refuse to wait for an answer that cannot come, and make Ctrl-C an error for callers."""
    signal.signal(signal.SIGINT, _interrupted)
    context = click.get_current_context(silent=True)
    options = context.params if context else {}
    asks = not any(options.get(name) for name in ("yes", "dry", "json_output", "debug_facts"))
    # `pyinfra INVENTORY exec/fact …` asks nothing; only deploy files do.
    deploys = any(str(name).endswith(".py") for name in options.get("operations") or ())
    if deploys and asks and not sys.stdin.isatty():
        print(
            "No terminal to ask for confirmation: add -y to apply, or --dry to look only.\n"
            "Nothing was touched.",
            file=sys.stderr,
        )
        raise SystemExit(2)


def _interrupted(signum: int, frame: FrameType | None) -> None:
    """pyinfra exits 0 on Ctrl-C, which a script around it would take for success."""
    print(
        "Interrupted. Run the same command again: it goes on where this stopped.", file=sys.stderr
    )
    raise_in_main(SystemExit(130))
