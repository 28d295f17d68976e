"""Another authority in place of the fleet's, in three moves with a deploy after each.

1. The next one is made, and trusted beside the current one.
2. It signs; the one before is still trusted.
3. Only it is trusted.

So each machine trusts what the others have at any time, in whatever order a deploy goes through them.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ollama_fleet.authority.folder import (
    CERTIFICATE,
    KEY,
    NEXT_CERTIFICATE,
    NEXT_KEY,
    PREVIOUS,
    made_authority,
    read_certificate,
    read_key,
    write_pair,
)
from ollama_fleet.problems import InputError, Problem

SAYS = {
    1: "a new authority is made, and will be trusted beside the current one. Deploy, give clients what "
    "`fleet ca export` prints, then rotate again",
    2: "the new authority signs from now on; the one before is still trusted. Deploy, then rotate again",
    3: "only the new authority is trusted. Deploy; clients may forget the one before",
}


def rotate(folder: Path) -> int:
    """Makes the next move and returns which one it was, a key of SAYS. Raises InputError."""
    if not (folder / CERTIFICATE).exists():
        what = "has no authority to rotate; the first deploy makes one"
        raise InputError([Problem(str(folder), "", what)])
    with _locked(folder):
        if (folder / NEXT_CERTIFICATE).exists():
            return _switch(folder)
        if (folder / PREVIOUS).exists():
            return _forget(folder)
        made_authority(folder)  # says so if it is damaged
        write_pair(folder, NEXT_CERTIFICATE, NEXT_KEY, folder.stem)
        return 1


def _switch(folder: Path) -> int:
    """Each step by itself can be the last one of a run that ends: the next run goes on."""
    coming = read_certificate(folder / NEXT_CERTIFICATE)
    if (folder / NEXT_KEY).exists():
        read_key(folder / NEXT_KEY, coming)
        if not (folder / PREVIOUS).exists():
            (folder / PREVIOUS).hardlink_to(folder / CERTIFICATE)
        (folder / NEXT_KEY).replace(folder / KEY)
    elif read_key(folder / KEY, coming) is None:
        what = f"is missing beside {NEXT_CERTIFICATE}; put it back, or delete that to begin anew"
        raise InputError([Problem(str(folder / NEXT_KEY), "", what)])
    (folder / NEXT_CERTIFICATE).replace(folder / CERTIFICATE)
    return 2


def _forget(folder: Path) -> int:
    """It is not trusted any more, but known: machines that were off still have what it signed."""
    previous = read_certificate(folder / PREVIOUS)
    (folder / PREVIOUS).rename(folder / f"retired-{previous.serial_number:x}.pem")
    return 3


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One rotation at a time."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
