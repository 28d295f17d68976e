"""Docker's daemon.json with the NVIDIA runtime merged into it: pure text to text.

Tolerant of what people leave there (comments, trailing commas, a byte order mark, nothing at all);
whatever else it says stays, in its order. Docker itself reads strict JSON only, which is what is
written.
"""

import json
import re
from typing import Any

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
RUNTIME = "nvidia-container-runtime"
DEFAULT_INDENT = "    "
# A string, a comment of either kind, or a comma with nothing but blanks and comments before its
# closing bracket. Strings come first, so that what looks like a comment inside one is none.
_COMMENT = r"//[^\n]*|/\*.*?\*/"
_LENIENT = re.compile(
    rf'(?P<string>"(?:\\.|[^"\\\n])*")|(?P<comment>{_COMMENT})'
    rf"|(?P<comma>,)(?=(?:\s|{_COMMENT})*[}}\]])",
    re.S,
)


class BadDaemonJsonError(Exception):
    """A daemon.json that cannot be understood; the text says where."""


def merge(text: str | None, cdi: bool) -> str | None:
    """`text` (None: no such file) with the nvidia runtime, and CDI where `cdi`; None when it says so
    already. Raises BadDaemonJsonError."""
    found, strict = _parse(text or "")
    runtimes = _object(found, "runtimes")
    nvidia = runtimes.get("nvidia")
    changed = not strict
    if not (isinstance(nvidia, dict) and _is_ours(nvidia)):
        runtimes["nvidia"] = {"path": RUNTIME, "args": []}
        found["runtimes"] = runtimes
        changed = True
    if cdi and "cdi" not in _object(found, "features"):
        found["features"] = {**_object(found, "features"), "cdi": True}
        changed = True
    if not changed:
        return None
    return json.dumps(found, indent=_indent(text or ""), ensure_ascii=False) + "\n"


def reads_cdi(text: str | None, by_default: bool) -> bool:
    """Whether a Docker that starts with this file reads CDI; `by_default`: where the file says nothing.
    Raises BadDaemonJsonError."""
    found, _ = _parse(text or "")
    is_on = bool(_object(found, "features").get("cdi", by_default))
    # One empty name instead of folders is Docker's other way to have it switched off.
    return is_on and found.get("cdi-spec-dirs") != [""]


def _is_ours(runtime: dict[str, Any]) -> bool:
    """Wherever it is installed: the name of the program counts."""
    return str(runtime.get("path", "")).rpartition("/")[2].startswith(RUNTIME)


def _object(found: dict[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadDaemonJsonError(f"`{key}` is {_kind(value)}, not an object")
    return value


def _parse(text: str) -> tuple[dict[str, Any], bool]:
    """The object, and whether Docker could read the text as it is."""
    if not text.strip().strip(BOM):
        return {}, False
    plain = _LENIENT.sub(_blanked, text.removeprefix(BOM))
    try:
        found = json.loads(plain)
    except (ValueError, RecursionError) as error:
        raise BadDaemonJsonError(_where(text, error)) from None
    if not isinstance(found, dict):
        raise BadDaemonJsonError(f"it holds {_kind(found)}, not an object")
    return found, plain == text


def _blanked(match: re.Match[str]) -> str:
    """Line breaks stay, so that a later error names the line that a person sees."""
    if match.group("string") is not None:
        return match.group()
    return re.sub(r"[^\n]", " ", match.group())


def _where(text: str, error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    lines = text.splitlines()
    said = lines[error.lineno - 1].strip()[:60] if error.lineno <= len(lines) else ""
    return f"line {error.lineno}: {error.msg}" + (f" at '{said}'" if said else "")


def _kind(value: object) -> str:
    kinds = {list: "a list", str: "a string", bool: "true or false"}
    return kinds.get(type(value), "a number")


def _indent(text: str) -> str:
    found = re.search(r"^([ \t]+)\S", text, re.M)
    return found.group(1) if found else DEFAULT_INDENT
