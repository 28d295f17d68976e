"""The `fleet` command in this process, for tests."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from ollama_fleet.cli.app import app


def fleet(*words: object, code: int = 0, stdin: str | None = None) -> Result:
    """Run a verb; it must end with this exit code, and never with a traceback."""
    done = CliRunner().invoke(app, [str(word) for word in words], input=stdin, terminal_width=200)
    shown = f"{words}\n{done.output}\n{done.exception!r}"
    assert done.exception is None or isinstance(done.exception, SystemExit), shown
    assert done.exit_code == code, shown
    assert "Traceback" not in done.output, shown
    return done


def fleet_json(*words: object, code: int = 0) -> Any:
    """What a verb prints for programs."""
    return json.loads(fleet(*words, "--json", code=code).stdout)
