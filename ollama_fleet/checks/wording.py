"""How findings of several things read: a few of them in full, and text of a host as text."""

from collections.abc import Sequence

# A report is no listing; who mends the first ones sees the rest in the next run.
MOST = 5
LONGEST = 120


def listed(items: Sequence[str], most: int = MOST) -> str:
    """The first of them, and how many more there are."""
    shown = "; ".join(items[:most])
    return f"{shown}; and {len(items) - most} more" if len(items) > most else shown


def plain(text: str) -> str:
    """Text that somebody on a host chose: without control characters, and no longer than a name is."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= LONGEST else f"{clean[:LONGEST]}…"
