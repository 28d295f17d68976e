"""Go durations and times in JSON, as the API speaks them; knows nothing else."""

import math
import re
import time
from datetime import UTC, datetime

FOREVER_S = math.inf
NS_PER_S = 1_000_000_000
UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
LAST_MOMENT_S = 9_223_372_036  # what Go's largest duration comes to: about the year 2318


def parse_go(text: str) -> float:
    """Seconds of a Go duration such as `1h30m` or `-1s`; ValueError with Go's words otherwise."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if body == "0":
        return 0.0
    if re.fullmatch(r"\d+\.?\d*", body):
        raise ValueError(f'time: missing unit in duration "{text}"')
    if not body or PART.sub("", body):
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * sum(float(number) * UNIT_S[unit] for number, unit in PART.findall(body))


def _forever_if_negative(seconds: float) -> float:
    return FOREVER_S if seconds < 0 else seconds


def keep_alive_of_request(value: object) -> float:
    """Seconds of a request's keep_alive, a number or a Go duration; negative is forever."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"Unsupported type: {type(value).__name__!r}")
    return _forever_if_negative(parse_go(value) if isinstance(value, str) else float(value))


def keep_alive_of_environment(text: str) -> float | None:
    """Seconds of OLLAMA_KEEP_ALIVE, which takes a bare number too; None when it is neither."""
    try:
        return _forever_if_negative(float(int(text)))
    except ValueError:
        pass
    try:
        return _forever_if_negative(parse_go(text))
    except ValueError:
        return None


def rfc3339(seconds: float) -> str:
    """A wall-clock time as Go writes it."""
    bounded = min(seconds, time.time() + LAST_MOMENT_S)
    moment = datetime.fromtimestamp(bounded, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def nanoseconds(seconds: float) -> int:
    return int(seconds * NS_PER_S)
