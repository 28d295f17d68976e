"""Lab hosts for scenarios. They have names of their own: a demo that runs beside is left alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.lab import Lab
from tests.lab.fleet import ROOT, Fleet

# Hosts of the scenarios and their hardware.
HOSTS = {"t1": "2x-rtx3090", "t2": "1x-rtx3060", "td": "2x-rtx3090"}
# See driver_host.
DRIVER_HOST = "drv1"
# Every host that the scenarios made, and nobody else's.
MADE = {"t1", "mirror"}


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab with its mirror; when nothing else runs in it, it is gone again afterwards."""
    lab = Lab(ROOT / ".lab")
    before = {host.name for host in lab.status()}
    lab.ensure("t1", HOSTS["t1"])
    yield lab
    present = {host.name for host in lab.status()}
    if before or present - MADE:
        for name in present & MADE - before - {"mirror"}:
            lab.remove(name)
    else:
        lab.down()


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
