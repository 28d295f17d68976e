"""For all tests: in CI the properties try the same examples each time, elsewhere new ones. With several
workers, a file's tests stay together, and so do those of lab files that share a host."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

# Lab files that use the same hosts, by the first words of their names.
SAME_HOSTS = {
    "usual": ("bad_input", "deploy", "discover", "faults", "lab_hosts", "local", "repairs"),
    "driver": ("driver", "containers"),
    "removal": ("concurrent", "remove"),
}


def pytest_itemcollected(item: pytest.Item) -> None:
    # Not when all are collected: by then pytest-xdist has read the marks.
    item.add_marker(pytest.mark.xdist_group(_group(item.path)))


def _group(path: Path) -> str:
    name = path.stem.removeprefix("test_")
    for group, names in SAME_HOSTS.items():
        if path.parent.name == "lab" and name.startswith(names):
            return group
    return f"{path.parent.name}/{name}"
