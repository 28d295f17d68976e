"""Gateways and the hosts behind them over pyinfra's @fake connector: nothing to do, and little to ask.

A fake machine answers the execs that its data lists and no other, so a run that asked more often would fail.
"""

from pathlib import Path

import pytest

from tests.deploy.test_whole_deploy import pyinfra, successes

HEAD = (
    "from tests.deploy.converged_gateway import gateway_data, hop_data\nfrom pathlib import Path\n"
)
COUNTED = """
import atexit, sys
from collections import Counter
from pyinfra.connectors.fake import FakeConnector
calls = Counter()
asked = FakeConnector.run_shell_command
def counted(self, *args, **kwargs):
    calls[self.host.name] += 1
    return asked(self, *args, **kwargs)
FakeConnector.run_shell_command = counted
atexit.register(lambda: print('EXECS', sorted(calls.items()), file=sys.stderr))
"""


@pytest.fixture
def fleet(tmp_path: Path) -> str:
    """A gateway's own machine and a host behind it, as pyinfra's inventory."""
    folder = f"Path({str(tmp_path / 'prod.ca')!r})"
    return f"[('@fake/gw', gateway_data({folder})), ('@fake/a', hop_data({folder}))]"


def test_a_gateway_and_its_host_that_are_as_planned_see_no_change(
    tmp_path: Path, fleet: str
) -> None:
    code, report, said = pyinfra(tmp_path, fleet, "-y", "--json", head=HEAD)
    assert code == 0, said
    assert report and successes(report) == {}


def test_a_dry_run_of_such_a_fleet_announces_nothing(tmp_path: Path, fleet: str) -> None:
    code, report, said = pyinfra(tmp_path, fleet, "--dry", "--json", head=HEAD)
    assert code == 0, said
    assert report and [op["name"] for op in report["plan"] if op["hosts_with_change"]] == []


def test_an_unchanged_run_asks_a_host_twice_and_a_gateway_three_times(
    tmp_path: Path, fleet: str
) -> None:
    """All that a hop, its certificate and the firewall need to know travels with what is asked anyway."""
    code, _, said = pyinfra(tmp_path, fleet, "-y", "--json", head=HEAD + COUNTED)
    assert code == 0, said
    assert "EXECS [('@fake/a', 2), ('@fake/gw', 3)]" in said


def test_machines_that_show_metrics_are_asked_no_more_often(tmp_path: Path) -> None:
    """What monitoring needs to know travels with the rest, and an unchanged machine sees no change."""
    folder = f"Path({str(tmp_path / 'prod.ca')!r})"
    hosts = f"[('@fake/gw', gateway_shows({folder})), ('@fake/a', host_shows({folder}))]"
    more = "from tests.deploy.converged_monitored import gateway_shows, host_shows\n"
    code, report, said = pyinfra(tmp_path, hosts, "-y", "--json", head=HEAD + more + COUNTED)
    assert code == 0 and report, said
    assert successes(report) == {}
    assert "EXECS [('@fake/a', 2), ('@fake/gw', 3)]" in said
    assert ", 0 failed" in said


def test_keys_go_to_a_gateway_on_a_host_and_nothing_else_is_done_or_proved_there(
    tmp_path: Path,
) -> None:
    """A slice that waits for the next deploy stays as it is, and one that is down keeps no key away."""
    folder = f"Path({str(tmp_path / 'prod.ca')!r})"
    hosts = f"[('@fake/a', hop_data({folder}) | gateway_data({folder}))]"
    keys = ("--data", "gateway_part=keys", "-y", "--json")
    code, report, said = pyinfra(tmp_path, hosts, *keys, head=HEAD + COUNTED)
    assert code == 0 and report, said
    assert {op["name"].split(" |")[0] for op in report["results"]["operations"]} == {
        "Gateway",
        "Hosts",
    }
    assert "EXECS [('@fake/a', 1)]" in said


def test_another_part_of_a_gateway_is_refused(tmp_path: Path, fleet: str) -> None:
    code, _, said = pyinfra(tmp_path, fleet, "--data", "gateway_part=key", "-y", head=HEAD)
    assert code != 0 and "gateway_part is keys or not given, not 'key'" in said
    assert "Traceback" not in said


def test_a_hop_that_does_not_run_in_the_end_fails_its_host(tmp_path: Path) -> None:
    folder = f"Path({str(tmp_path / 'prod.ca')!r})"
    ways = "Id=ollama-hop.service\\nActiveState=inactive\\nUnitFileState=enabled"
    hosts = f"[('@fake/a', hop_data({folder}, ways='{ways}'))]"
    code, _, said = pyinfra(tmp_path, hosts, "-y", "--json", head=HEAD)
    assert code == 1 and "host: ollama-hop failed" in said and "inactive, enabled" in said
    assert "host: ollama-firewall failed" in said and "Traceback" not in said
