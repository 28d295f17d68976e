"""Lab hosts for scenarios. They have names of their own: a demo that runs beside is left alone.

Several workers may share the lab; what they made is taken away when the last one is done. A test that
breaks what all hosts use, such as the mirror, is marked `alone`.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from tests.lab.fleet import ROOT, Fleet
from tests.lab.sharing import one_at_a_time, sharing

# Hosts of the scenarios and their hardware.
HOSTS = {"t1": "2x-rtx3090", "t2": "1x-rtx3060", "td": "2x-rtx3090"}
# See driver_host.
DRIVER_HOST = "drv1"
# Every host that the scenarios made, and nobody else's.
MADE: set[str] = set()


# With several workers (pytest-xdist) each says at its end what it made.
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
BEFORE = pytest.StashKey[set[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    if not WORKER:
        session.config.stash[BEFORE] = _present(Lab(ROOT / ".lab"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    alone = item.get_closest_marker("alone") is not None
    with sharing(ROOT / ".lab/locks", alone):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if WORKER:
        session.config.workeroutput["made"] = sorted(MADE)  # type: ignore[attr-defined]
    elif MADE:
        _take_away(session.config.stash[BEFORE])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    MADE.update(getattr(node, "workeroutput", {}).get("made", ()))


def _present(lab: Lab) -> set[str]:
    return {host.name for host in lab.status()}


def _take_away(before: set[str]) -> None:
    """What the tests made; all of the lab when nothing else is in it."""
    lab = Lab(ROOT / ".lab")
    present = _present(lab)
    if before or present - MADE:
        for name in present & MADE - before - {"mirror"}:
            lab.remove(name)
    else:
        lab.down()


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab with its mirror. The first worker makes it, and what this machine needs for it."""
    lab = Lab(ROOT / ".lab")
    with one_at_a_time(ROOT / ".lab/locks"):
        lab.up(["mirror"])
    MADE.add("mirror")
    return lab


@pytest.fixture
def fleet(lab: Lab, tmp_path: Path) -> Fleet:
    """An empty inventory on the lab."""
    return Fleet(tmp_path, lab)


@pytest.fixture
def host() -> str:
    """The name of the host on which the driver step is tried; each test prepares it for itself."""
    return DRIVER_HOST


def bare(lab: Lab, name: str, profile: str | None = None) -> str:
    """A bare, healthy machine under this name."""
    profile = profile or HOSTS[name]
    MADE.add(name)
    known = {host.name: host.profile for host in lab.status()}
    if known.get(name) == profile:
        lab.reset(name)
        return name
    if name in known:
        lab.remove(name)
    lab.ensure(name, profile)
    return name


@pytest.fixture
def t1(lab: Lab) -> str:
    """A bare host with two RTX 3090."""
    return bare(lab, "t1")


@pytest.fixture
def t2(lab: Lab) -> str:
    """A bare host with one RTX 3060."""
    return bare(lab, "t2")
