"""A new key, its hash, and the day on which it ends. Standard library only."""

import hashlib
import re
import secrets
from datetime import UTC, date, datetime, timedelta

# Says whose it is, to people and to scanners for leaked secrets.
PREFIX = "olf_"
RANDOM_BYTES = 32
LONGEST_DAYS = 36_500


class KeyFormError(ValueError):
    """Text that is no hash or no day; says what would be."""


def new_key() -> str:
    """256 random bits, to be written into a header: `olf_` and 43 characters."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def digest_of(key: str) -> str:
    """What is kept of a key: its SHA-256, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_digest(text: str) -> str:
    """A digest as `sha256sum` prints it, or `sha256:<hex>`. Raises KeyFormError."""
    words = text.split()
    digest = words[0].lower().removeprefix("sha256:") if words else ""
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise KeyFormError(
            "no SHA-256 on standard input (64 hex digits, as sha256sum prints them); "
            'give it like this: printf %s "$KEY" | sha256sum | fleet key add … --hash'
        )
    return digest


def today() -> date:
    """The day in UTC, by which keys end."""
    return datetime.now(UTC).date()


def last_day(text: str, now: date) -> date:
    """The last day on which a key works: `2027-01-31`, or so many days from now: `90d`.

    Raises KeyFormError."""
    days = re.fullmatch(r"(\d{1,5})d", text)
    try:
        later = timedelta(days=min(int(days[1]), LONGEST_DAYS)) if days else None
        found = date.fromisoformat(text) if later is None else now + later
    except ValueError:
        what = f"'{text}' is no day; say the last one like 2027-01-31, or days from now like 90d"
        raise KeyFormError(what) from None
    if found < now:
        raise KeyFormError(f"{found} is over (today is {now}, UTC); say a later day")
    return found
