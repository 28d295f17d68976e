"""The errors that a user of the lab sees: what is wrong and what to do. Imports nothing of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LabError(Exception):
    """Something went wrong while the lab was working (exit code 1)."""

    exit_code = 1


class UsageError(LabError):
    """The user asked for something that does not exist or is not valid (exit code 2)."""

    exit_code = 2


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """`no fault named 'gpu-lots': did you mean 'gpu-lost'? (known: …)`"""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return UsageError(f"no {kind} named '{name}': {hint}(known: {', '.join(names) or 'none'})")
