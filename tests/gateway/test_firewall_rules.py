"""The rules of a host's firewall in a real nftables."""

import subprocess
from pathlib import Path

import pytest

from ollama_fleet.planner.firewall import FirewallPlan, Opening
from tests.unit.test_firewall import rules


@pytest.mark.parametrize("mode", ["ports", "closed"])
def test_nftables_takes_the_rules(tmp_path: Path, mode: str) -> None:
    plan = FirewallPlan(
        mode,
        (
            Opening(443),
            Opening(53, ("fd00::/8",), "udp"),
            Opening(11443, ("gw.lan", "10.0.0.0/8", "10.1.1.1")),
        ),
        ssh_from=("10.0.0.0/8", "fd00::/8"),
        vrrp_from=("10.0.0.8", "gw.lan"),
    )
    file = tmp_path / "rules"
    file.write_text(rules(plan))
    command = ["unshare", "-rn", "sh", "-c", f"nft -f {file} && nft -f {file} && nft list ruleset"]
    done = subprocess.run(command, capture_output=True, text=True)
    if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("this machine allows no network namespace of one's own")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("chain input") == 1
