"""For all tests: in CI the properties try the same examples each time, elsewhere new ones. With several
workers, a file's tests stay together, and so do those of lab files that share a host."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

# Lab files that use the same hosts or would disturb each other, by the first words of their names.
SAME_HOSTS = {
    "usual": ("bad_input", "deploy", "discover", "faults", "lab_hosts", "local", "repairs"),
    "driver": ("driver", "containers"),
    "removal": ("concurrent", "remove"),
    "offline": ("bundle", "lock"),
    # Hosts of their own, but both count seconds: not at the same time.
    "address": ("gateway_address", "two_gateways"),
}


class _ByHosts(LoadScopeScheduling):
    """Gives a worker all tests of a group at once."""

    def _split_scope(self, nodeid: str) -> str:
        return _group(Path(nodeid.partition("::")[0]))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByHosts(config, log)


def _group(path: Path) -> str:
    name = path.stem.removeprefix("test_")
    for group, names in SAME_HOSTS.items():
        if path.parent.name == "lab" and name.startswith(names):
            return group
    return f"{path.parent.name}/{name}"
