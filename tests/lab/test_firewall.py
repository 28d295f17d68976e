"""The host firewall on real hosts with real nftables: what it lets in, and that it locks nobody out."""

import re
import signal
import socket
import subprocess
import time
from typing import Any

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.drifted import found, words
from tests.lab.fleet import ROOT, Fleet, Run
from tests.lab.reach import listening, open_ports

GUARDED = "Firewall | Guard the ports"
TABLE = "nft list table inet ollama_fleet"
HOP = 11443
# A wrapper that takes the accepting of SSH out of every ruleset that it is given: a ruleset of ours that
# would lock people out, however that may come about.
BAD_NFT = r"""cat >/usr/local/sbin/nft <<'END'
#!/bin/sh
for file; do :; done
case "$1 $file" in *firewall*) sed -i '/^ *tcp dport { 22 }/d; /established/d' "$file" ;; esac
exec /usr/sbin/nft "$@"
END
chmod 755 /usr/local/sbin/nft"""


@pytest.fixture
def host(fleet: Fleet, lab: Lab) -> str:
    """A host without GPUs that serves nothing: its firewall is all that matters here."""
    return added(fleet, bare(lab, "fw1", "no-gpu"))


@pytest.fixture
def stranger(lab: Lab) -> str:
    """Another machine on the same network."""
    return bare(lab, "fw2", "no-gpu")


def added(fleet: Fleet, name: str) -> str:
    fleet.add(name, driver={"manage": False})
    return name


def guard(fleet: Fleet, **firewall: Any) -> Run:
    fleet.settings = {**fleet.settings, "firewall": firewall}
    return fleet.deploy()


def serve(fleet: Fleet, host: str, *ports: int) -> None:
    """Something that listens on all addresses."""
    for port in ports:
        fleet.sh(
            host, f"systemd-run -q --unit serve-{port} python3 -m http.server {port} --bind 0.0.0.0"
        )
    fleet.sh(
        host,
        "for port in "
        + " ".join(map(str, ports))
        + "; do until ss -Hltn | grep -q :$port; do sleep 0.1; done; done",
    )


def table(fleet: Fleet, host: str) -> str:
    return fleet.sh(host, f"{TABLE} 2>/dev/null || echo none")


def test_a_closed_host_shows_strangers_nothing_but_ssh_and_what_was_said(
    fleet: Fleet, lab: Lab, host: str, stranger: str
) -> None:
    serve(fleet, host, 8080, 9100, 9200)
    assert open_ports(lab, stranger, host) == {22, 8080, 9100, 9200}

    allow = [{"port": 9100}, {"port": 9200, "from": ["10.77.0.1"]}]
    run = guard(fleet, mode="closed", allow=allow)
    assert run.code == 0, run.text
    assert GUARDED in run.changed()
    assert "not reachable from outside any more: 8080 (python3)" in run.text
    assert listening(lab, host) == {22, 8080, 9100, 9200}
    assert open_ports(lab, stranger, host) == {22, 9100}
    assert fleet.outside(f"http://{lab.address(host)}:9200/") == 200
    assert "200" in fleet.sh(
        host, "curl --noproxy '*' -so /dev/null -w '%{http_code}' http://127.0.0.1:8080/"
    )
    # What it asks for itself gets its answers, by name as well.
    fleet.sh(host, "curl --noproxy '*' -fso /dev/null http://10.77.0.2/ || [ $? = 22 ]")

    again = fleet.deploy()
    assert again.code == 0 and again.changed() == {}, again.text

    lab.reboot(host)
    serve(fleet, host, 8080, 9100)
    assert open_ports(lab, stranger, host) == {22, 9100}
    assert fleet.deploy().changed() == {}


@pytest.mark.breaks("firewall rules")
def test_rules_that_somebody_threw_away_are_there_again(fleet: Fleet, host: str) -> None:
    assert guard(fleet, mode="closed").code == 0
    before = table(fleet, host)

    # The distribution's own unit throws away every rule. Its first start costs a deploy; later ours are back
    # by themselves.
    fleet.sh(host, "systemctl start nftables")
    assert list(fleet.deploy().changed()) == [GUARDED]
    for verb in ("reload", "restart"):
        fleet.sh(host, f"systemctl {verb} nftables")
        settled = "until systemctl is-active -q ollama-firewall; do sleep 0.1; done"
        fleet.sh(host, f"timeout 20 sh -c '{settled}'")
        assert table(fleet, host) == before, verb
    assert fleet.deploy().changed() == {}

    rules = {("host", "firewall rules"): "others are"}
    edited = {("host", "files"): "/etc/ollama/firewall.nft was edited"}
    for damage, told in (
        ("nft flush ruleset", None),
        ("nft delete table inet ollama_fleet", None),
        ("nft insert rule inet ollama_fleet input tcp dport 8080 accept", rules),
        ("systemctl disable -q --now ollama-firewall", None),
        ("sed -i s/22/23/ /etc/ollama/firewall.nft", edited),
    ):
        fleet.sh(host, damage)
        assert told is None or words(found(fleet)) == told
        run = fleet.deploy()
        assert list(run.changed()) == [GUARDED], f"{damage}\n{run.text}"
        assert table(fleet, host) == before, damage
    fleet.sh(host, "systemctl is-enabled ollama-firewall && systemctl is-active ollama-firewall")


def test_rules_that_would_lock_out_ssh_are_taken_back(fleet: Fleet, host: str) -> None:
    assert guard(fleet, mode="closed", allow=[{"port": 9100}]).code == 0
    before, file = table(fleet, host), fleet.sh(host, "sha256sum /etc/ollama/firewall.nft")
    fleet.sh(host, BAD_NFT)

    run = guard(fleet, mode="closed", allow=[{"port": 9300}])

    assert run.code != 0
    assert "no new SSH connection" in run.text and "the old ones are back" in run.text, run.text
    fleet.sh(host, "true")
    assert table(fleet, host) == before
    assert fleet.sh(host, "sha256sum /etc/ollama/firewall.nft") == file
    assert "9300" not in before

    fleet.sh(host, "rm /usr/local/sbin/nft")
    run = fleet.deploy()
    assert run.code == 0 and list(run.changed()) == [GUARDED], run.text
    assert "9300" in table(fleet, host)


def test_a_run_that_dies_while_rules_are_tried_leaves_the_old_ones(
    fleet: Fleet, lab: Lab, host: str
) -> None:
    fleet.sh(host, "apt-get -qq update && apt-get -qq install -y nftables >/dev/null 2>&1")
    fleet.sh(host, BAD_NFT)
    fleet.settings = {"firewall": {"mode": "closed"}}
    run = subprocess.Popen(
        fleet.command("-y"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert run.stdout
    for line in run.stdout:
        if "trying the new rules" in line:
            break
    run.send_signal(signal.SIGKILL)
    run.wait()
    started = time.monotonic()
    assert lab.ssh(host, "true").returncode != 0, "it was to be locked out by now"
    while lab.ssh(host, "true").returncode:
        assert time.monotonic() - started < 90
    assert table(fleet, host) == "none"
    assert not re.search("ollama", fleet.sh(host, "ls /etc/ollama 2>/dev/null; true"))

    fleet.sh(host, "rm /usr/local/sbin/nft")
    again = fleet.deploy()
    assert again.code == 0 and GUARDED in again.changed(), again.text
    assert "policy drop" in table(fleet, host)


def test_ssh_on_an_unusual_port_and_as_another_user_stays_open(
    fleet: Fleet, lab: Lab, host: str, stranger: str
) -> None:
    fleet.sh(host, "printf 'Port 22\\nPort 2200\\n' >>/etc/ssh/sshd_config && systemctl reload ssh")
    fleet.user = "operator"
    run = guard(fleet, mode="closed")
    assert run.code == 0, run.text
    assert open_ports(lab, stranger, host) == {22, 2200}


def test_ssh_from_networks_that_leave_this_run_out_is_refused(fleet: Fleet, host: str) -> None:
    run = guard(fleet, mode="closed", ssh_from=["192.0.2.0/24"])
    assert run.code != 0
    assert "this run comes from 10.77.0.1, which `ssh_from:` (192.0.2.0/24) would lock" in run.text
    assert fleet.sh(host, "ls /etc/ollama 2>/dev/null; true") == ""


def test_only_gateways_reach_the_way_to_the_slices(
    fleet: Fleet, lab: Lab, host: str, stranger: str
) -> None:
    """By default: everything else of the host stays as it is."""
    serve(fleet, host, 8080)
    assert fleet.deploy().code == 0
    fleet.sh(host, "! command -v nft && ! ls /etc/ollama/firewall* 2>/dev/null")
    fleet.settings = {
        "gateway": {"hop_port": HOP, "names": ["ai.example.com"]},
        "gateways": {"gw": {"address": "10.77.0.1"}},
    }
    run = fleet.deploy("--limit", host)
    assert run.code == 0 and GUARDED in run.changed(), run.text
    assert listening(lab, host) == {22, 8080, HOP}
    assert open_ports(lab, stranger, host) == {22, 8080}
    socket.create_connection((lab.address(host), HOP), 5).close()
    assert fleet.deploy("--limit", host).changed() == {}

    fleet.settings |= {"firewall": {"mode": "off"}}
    run = fleet.deploy("--limit", host)
    assert run.code == 0 and list(run.changed()) == [GUARDED], run.text
    assert open_ports(lab, stranger, host) == {22, 8080, HOP}
    assert table(fleet, host) == "none"
    ours = "/etc/ollama/firewall* /etc/systemd/system/ollama-firewall* /run/ollama-fleet/firewall"
    assert fleet.sh(host, f"ls {ours} 2>/dev/null; true") == ""
    assert fleet.deploy("--limit", host).changed() == {}


def test_a_host_that_is_given_up_has_no_firewall_of_ours(fleet: Fleet, host: str) -> None:
    assert guard(fleet, mode="closed").code == 0
    fleet.hosts[host]["state"] = "absent"
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert table(fleet, host) == "none"
    assert fleet.sh(host, "ls -d /etc/ollama /etc/systemd/system/ollama* 2>/dev/null; true") == ""
    assert fleet.deploy().changed() == {}
