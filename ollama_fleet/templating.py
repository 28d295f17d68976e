"""Templates become text, and text a file on a host. No input or output but reading templates."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
UNIT_DIR = "/etc/systemd/system"
MARKER = "Managed by Ollama Fleet"


@dataclass(frozen=True)
class HostFile:
    """A file that we own on a host. A change of it restarts `restarts`, if that is a unit."""

    path: str
    text: str
    mode: str = "0644"
    restarts: str | None = None


def ready(port: int) -> str:
    """Shell for ExecStartPost: until the API answers, and no longer than the server lives."""
    return (
        f'until curl --noproxy "*" -fso /dev/null http://127.0.0.1:{port}/api/version; do '
        "kill -0 $$MAINPID || exit 1; sleep 0.1; done; kill -0 $$MAINPID"
    )


def unit_quote(text: str) -> str:
    """`text` as one word of a systemd unit: quoted, and safe from specifiers and escapes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # units and scripts, not HTML
    )
    environment.filters["unit_quote"] = unit_quote
    return environment


def render(template: str, **values: Any) -> str:
    """A template of `templates/` with these values; a value that is missing is an error."""
    return _templates().get_template(template).render(**values)
