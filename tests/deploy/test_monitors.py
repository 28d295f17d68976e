"""Monitors over pyinfra's @fake connector: nothing to do, and little to ask.

A fake machine answers the execs that its data lists and no other, so a run that asked more often would fail.
"""

from pathlib import Path

import pytest

from tests.deploy.test_gateways import COUNTED
from tests.deploy.test_whole_deploy import pyinfra, successes

HEAD = "from tests.deploy.converged_monitor import monitor_data\nfrom pathlib import Path\n"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The authority's, as Python says it."""
    return f"Path({str(tmp_path / 'prod.ca')!r})"


def test_an_unchanged_monitor_is_asked_three_times_and_sees_no_change(
    tmp_path: Path, folder: str
) -> None:
    hosts = f"[('@fake/mon', monitor_data({folder}))]"
    code, report, said = pyinfra(tmp_path, hosts, "-y", "--json", head=HEAD + COUNTED)
    assert code == 0, said
    assert report and successes(report) == {}
    assert "EXECS [('@fake/mon', 3)]" in said


def test_a_machine_that_it_does_not_see_fails_the_monitor_with_the_reason(
    tmp_path: Path, folder: str
) -> None:
    hosts = f"[('@fake/mon', monitor_data({folder}, down='gpu02'))]"
    code, _, said = pyinfra(tmp_path, hosts, "-y", "--json", head=HEAD)
    assert code == 1 and "monitor mon1: targets failed" in said
    assert "gpu02: connection refused" in said and "Traceback" not in said


def test_keys_for_gateways_are_none_of_its_business(tmp_path: Path, folder: str) -> None:
    hosts = f"[('@fake/mon', monitor_data({folder}))]"
    keys = ("--data", "gateway_part=keys", "-y", "--json")
    code, report, said = pyinfra(tmp_path, hosts, *keys, head=HEAD + COUNTED)
    assert code == 0 and report, said
    assert "EXECS []" in said
