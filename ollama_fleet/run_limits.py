"""`--limit` and `--exclude` of a run, held against the inventory before anything happens."""

import re
from fnmatch import fnmatch
from pathlib import Path

import click

from ollama_fleet.problems import InputError, Problem


def refuse_unknown_limits(script: Path, hosts: list[str]) -> None:
    """pyinfra only warns about `--limit typo` and then deploys nothing with exit code 0."""
    context = click.get_current_context(silent=True)
    patterns = [
        (option, pattern)
        for option in ("limit", "exclude")
        for pattern in (context.params.get(option) or () if context else ())
    ]
    groups = _group_names(script)
    unknown = [
        Problem(str(script), f"--{option} {pattern}", f"no such host or group; {_has(hosts)}")
        for option, pattern in patterns
        if pattern not in groups and not any(fnmatch(host, pattern) for host in hosts)
    ]
    if unknown:
        raise InputError(unknown)


def _has(hosts: list[str]) -> str:
    shown = ", ".join(hosts[:10]) + (f" and {len(hosts) - 10} more" if len(hosts) > 10 else "")
    return f"the inventory has {shown}"


def _group_names(script: Path) -> set[str]:
    """Groups that pyinfra makes: `all`, the file's own name, and every list in the file."""
    text = script.read_text(encoding="utf-8") if script.exists() else ""
    return {"all", script.stem, *re.findall(r"^([A-Za-z]\w*)\s*(?::[^=]+)?=", text, re.M)}
