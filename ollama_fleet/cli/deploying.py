"""pyinfra as a person would run it, for verbs that end in a deploy."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ollama_fleet.cli.ending import FAILED, REFUSED, BadOptionError

PROJECT = Path(__file__).parents[2]
LOADER = "from ollama_fleet.inventory import load\n\nhosts = load(__file__)"


def script_of(described: Path) -> Path:
    """The file by which pyinfra reads an inventory. Raises BadOptionError where there is none."""
    script = described.with_suffix(".py")
    if not script.is_file():
        raise BadOptionError(
            f"{script} is missing, by which pyinfra reads {described}; it holds:\n{LOADER}"
        )
    return script.resolve()


def deploy_words(script: Path, limit: Sequence[str], data: Sequence[str]) -> list[str]:
    """What comes after `pyinfra` for a deploy to these machines with this data (`key=value`)."""
    words = [str(script), "deploy.py"]
    words += [word for machine in limit for word in ("--limit", machine)]
    return words + [word for pair in data for word in ("--data", pair)]


def as_typed(words: Sequence[str]) -> str:
    """The same as a person types it, in the project's folder."""
    return shlex.join([".venv/bin/pyinfra", *words])


@contextmanager
def ending_as_interrupted() -> Iterator[None]:
    """Within it a SIGTERM, as CI sends it when time is up, is a KeyboardInterrupt."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_pyinfra(words: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Run it: its words are shown, its report is read. Returns the exit code and the report."""
    done = subprocess.run(
        [sys.executable, "-m", "pyinfra", *words, "--json"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {}
    return (done.returncode if 0 <= done.returncode <= REFUSED else FAILED), report
