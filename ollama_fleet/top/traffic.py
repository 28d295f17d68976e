"""What a gateway's access log says of the last minute: requests, tokens and first bytes, by model and slice.

A request counts when it has ended: that is when it is logged. Times are the gateway's own. Pure.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ollama_fleet.gateway.nginx import canonical_name

WINDOW_S = 60


@dataclass(frozen=True)
class Request:
    """A request that has ended. `at`: seconds since 1970; `first_byte_s` and `tokens` may be unknown."""

    at: float
    model: str
    slice: str
    status: int
    tokens: int | None
    first_byte_s: float | None


@dataclass(frozen=True)
class Rates:
    """Of the last minute; `first_byte_s` is the median, `slowest_first_byte_s` the 95th percentile."""

    requests_per_s: float
    tokens_per_s: float
    faults: int
    first_byte_s: float | None
    slowest_first_byte_s: float | None


@dataclass
class Traffic:
    """The requests of one gateway that ended within WINDOW_S; grows with `add`."""

    now: float = 0
    since: float | None = None
    requests: deque[Request] = field(default_factory=deque)

    def add(self, rows: Iterable[Mapping[str, Any]], now: float, skipped: bool) -> None:
        """Take up new lines of the log. `skipped`: there were more than a frame brings, so what is known
        begins with them."""
        new = [request for row in rows if (request := _request(row))]
        if skipped and new:
            self.since = min(request.at for request in new)
            self.requests.clear()
        self.requests.extend(new)
        self.now = now
        self.requests = deque(one for one in self.requests if one.at > now - WINDOW_S)

    def of_model(self, model: str) -> Rates:
        """All requests for a model."""
        name = canonical_name(model)
        return self._rates([one for one in self.requests if one.model == name])

    def of_slice(self, name: str) -> Rates:
        """All requests that a slice (<host>.<slice>) answered."""
        return self._rates([one for one in self.requests if one.slice == name])

    @property
    def span_s(self) -> float:
        """Over so many seconds all requests are known."""
        known = WINDOW_S if self.since is None else self.now - self.since
        return min(WINDOW_S, max(1.0, known))

    def _rates(self, requests: Sequence[Request]) -> Rates:
        waited = sorted(
            one.first_byte_s
            for one in requests
            if one.first_byte_s is not None and one.status < 400
        )
        return Rates(
            requests_per_s=len(requests) / self.span_s,
            tokens_per_s=sum(one.tokens or 0 for one in requests) / self.span_s,
            faults=sum(one.status >= 500 for one in requests),
            first_byte_s=_percentile(waited, 0.5),
            slowest_first_byte_s=_percentile(waited, 0.95),
        )


def _percentile(values: Sequence[float], share: float) -> float | None:
    """By nearest rank, of sorted values."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else None


def _request(row: Mapping[str, Any]) -> Request | None:
    """A line of the log; None for what asks no model."""
    model, status, at = row.get("model"), row.get("status"), _seconds(row.get("time"))
    if not isinstance(model, str) or not model or not isinstance(status, int) or at is None:
        return None
    served_by = row.get("slice")
    tokens = _number(row.get("tokens_out"))
    return Request(
        at,
        canonical_name(model),
        served_by if isinstance(served_by, str) else "",
        status,
        None if tokens is None else int(tokens),
        _number(row.get("first_byte_seconds")),
    )


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if good and 0 <= value < 1e12 else None


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
