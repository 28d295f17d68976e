"""An API key as gateways know it: a hash with a name, and what its holder may do. A frozen value."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta


@dataclass(frozen=True)
class ApiKey:
    """Somebody who may call the gateway.

    `sha256`: hex digest of the key; the key itself is nowhere. `models`: full names of those that it
    may call, none for all. `rate` is like `60/m` or `5/s`, `concurrent` how many requests it may have
    at the same time, None for no limit. `expires` is the last day on which it works, `created` the one on
    which it was made (UTC).
    """

    name: str
    sha256: str
    models: tuple[str, ...] = ()
    rate: str | None = None
    concurrent: int | None = None
    expires: date | None = None
    created: date | None = None

    @property
    def ends_at(self) -> int | None:
        """The Unix time in seconds from which on it does not work."""
        return ends_at(self.expires) if self.expires else None


def ends_at(last_day: date) -> int:
    """The Unix time in seconds at which a last day is over (UTC)."""
    after = datetime.combine(last_day + timedelta(days=1), time(), tzinfo=UTC)
    return int(after.timestamp())
