"""Lab tests of several workers at the same time: who breaks what all use waits until it is alone."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """For what workers must not do at the same time, such as installing packages."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tests.first").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        yield


@contextmanager
def sharing(folder: Path, alone: bool) -> Iterator[None]:
    """Hold the lab: together with others, or `alone`. Who wants to be alone keeps newcomers out
    meanwhile, or it would never be its turn."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tests.door").open("w") as door, (folder / "tests.room").open("w") as room:
        fcntl.flock(door, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(door, fcntl.LOCK_UN)
        yield
