"""Changes behind a gateway: under a steady load of streaming requests no answer is lost, whatever a deploy
does to the slices; and what fails on the first host stays there."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from lab.standin import pack
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, RELEASES, ROOT, Fleet
from tests.lab.test_deploy import read_until, start

ONE, OTHER = "ro5", "ro6"
MODEL = "qwen3:0.6b"
FIRST, GOOD, BAD = "0.32.15", "0.32.78", "0.32.79"
GATEWAY = {"listen": "127.0.0.1", "port": 8080, "tls": {"source": "none"}, "keys": "none"}
FRONT = "127.0.0.1:8080"
SLICES = [f"{host}.{name}" for host in (ONE, OTHER) for name in ("a", "b")]
NO_RUNNER = b"#!/bin/sh\necho 'this one is broken' >&2\nexit 1\n"


def inventory(fleet: Fleet, context: int, version: str = FIRST, port: int = 11444) -> None:
    """Two hosts with two slices each, all of which serve one model, from this port on."""
    fleet.version = version
    for host in (ONE, OTHER):
        slices = [
            {"name": name, "gpus": [gpu], "port": port + gpu, "models": [MODEL], "context": context}
            for gpu, name in enumerate(("a", "b"))
        ]
        fleet.add(host, *slices)
    fleet.settings = {"gateway": GATEWAY, "gateways": {"gw1": {"host": ONE}}}


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    made = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    for host in (ONE, OTHER):
        bare(lab, host, "2x-rtx3090")
    inventory(made, 4096, port=11434)
    run = made.deploy()
    assert run.code == 0, run.text
    return made


@pytest.fixture(scope="module")
def releases(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A newer release, and one whose models do not load."""
    tree, cache = lab.paths.mirror / RELEASES, tmp_path_factory.mktemp("no-cache")
    pack.build_release(tree / f"v{GOOD}", GOOD, cache)
    whole = pack._files
    with pytest.MonkeyPatch.context() as patch:
        broken = {"lib/ollama/llama-server": NO_RUNNER}
        patch.setattr(pack, "_files", lambda version: whole(version) | broken)
        pack.build_release(tree / f"v{BAD}", BAD, cache)
    yield
    for version in (GOOD, BAD):
        subprocess.run(["rm", "-r", tree / f"v{version}"], check=True)


class Load:
    """Six clients that stream one answer after the other, from the gateway's machine."""

    def __init__(self) -> None:
        program = (Path(__file__).parent / "steady_load.py").read_bytes()
        text = base64.b64encode(program).decode()
        command = (
            f"echo {text} | base64 -d >/root/load.py; python3 /root/load.py {FRONT} {MODEL} 300 6"
        )
        self.process = subprocess.Popen(
            [BIN / "lab", "ssh", ONE, "--", command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> dict[str, Any]:
        said, _ = self.process.communicate("")
        found: dict[str, Any] = json.loads(said)
        print({**found, "lost": len(found["lost"])})
        return found


def served_by(fleet: Fleet, last: int) -> set[str]:
    """Slices that answered the last so many requests, by the gateway's log."""
    text = fleet.sh(ONE, f"tail -n {last} /var/log/ollama-gateway/access.log")
    return {json.loads(line)["slice"] for line in text.splitlines()} - {""}


@pytest.fixture
def load() -> Iterator[Load]:
    made = Load()
    yield made
    if made.process.poll() is None:
        made.process.communicate("")


def words(text: str) -> list[str]:
    """What hosts say of their slices, in the order in which it came."""
    return [
        line
        for line in text.splitlines()
        if line.startswith("[") and (": asking" in line or "stopping ollama-" in line)
    ]


def test_changed_settings_reach_every_slice_one_by_one_and_no_answer_is_lost(
    fleet: Fleet, load: Load
) -> None:
    """Another context, and other ports."""
    before = {host: fleet.pids(host, "a", "b") for host in (ONE, OTHER)}
    inventory(fleet, 2048)
    run = fleet.deploy()
    assert words(run.text) == [
        f"[{host}] {text}"
        for host in (ONE, OTHER)
        for name in ("a", "b")
        for text in (f"stopping ollama-{name}.service", f"ollama-{name}: asking {MODEL}")
    ]
    found = load.end()
    assert found["lost"] == [] and found["answered"] > 50
    assert served_by(fleet, found["answered"]) == set(SLICES)
    for host in (ONE, OTHER):
        after = fleet.pids(host, "a", "b")
        assert all(after[name] != before[host][name] for name in after)
        assert fleet.sh(host, "ls /run/ollama-drained") == ""
    assert "Slices | Run one unit per slice" not in fleet.deploy().changed()


def test_a_release_that_does_not_serve_stays_on_one_host_and_goes_back_there(
    fleet: Fleet, releases: None, load: Load
) -> None:
    before = {host: fleet.pids(host, "a", "b") for host in (ONE, OTHER)}
    inventory(fleet, 2048, BAD)
    run = fleet.deploy()
    assert run.code == 1
    assert "what was before is back, and serves" in run.text
    assert f"not changed: {ONE} failed its check: a: {MODEL} cannot be loaded" in run.text
    found = load.end()
    assert found["lost"] == []
    assert fleet.pids(OTHER, "a", "b") == before[OTHER]
    assert fleet.pids(ONE, "a", "b")["b"] == before[ONE]["b"]
    for host in (ONE, OTHER):
        assert fleet.sh(host, "readlink /opt/ollama/current") == f"/opt/ollama/{FIRST}"
        assert fleet.sh(host, "sha256sum -c --quiet /var/lib/ollama/manifest") == ""
        assert FIRST in fleet.sh(host, "curl -fs 127.0.0.1:11444/api/version")


def test_an_upgrade_loses_nothing_though_the_run_is_killed_in_the_middle(
    fleet: Fleet, releases: None, load: Load
) -> None:
    """The host that is at it goes on alone; the next run waits for it, and does the rest."""
    inventory(fleet, 2048, GOOD)
    running = start(fleet)
    read_until(running, "stopping ollama-a")
    running.kill()
    running.wait()
    run = fleet.deploy()
    assert run.code == 0, run.text
    assert load.end()["lost"] == []
    for host in (ONE, OTHER):
        assert fleet.sh(host, "readlink /opt/ollama/current") == f"/opt/ollama/{GOOD}"
        for port in (11444, 11445):
            assert GOOD in fleet.sh(host, f"curl -fs 127.0.0.1:{port}/api/version")


def verb(fleet: Fleet, *options: str) -> subprocess.CompletedProcess[str]:
    path = fleet.inventory.with_suffix(".yml")
    return subprocess.run(
        [BIN / "fleet", options[0], str(path), *options[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_a_drained_slice_gets_nothing_and_stays_so_until_it_is_undrained(
    fleet: Fleet, load: Load
) -> None:
    done = verb(fleet, "drain", f"{ONE}.a", "--reason", "its fan is loud")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{ONE}.a is drained since" in done.stdout and "no requests running" in done.stdout
    meanwhile = Load()
    run = fleet.deploy()
    assert f"{ONE}.a is drained since" in run.text and ": its fan is loud" in run.text
    found = meanwhile.end()
    # Both clients' requests of that time.
    assert served_by(fleet, found["answered"]) == set(SLICES) - {f"{ONE}.a"}
    assert f"{ONE}.a is drained" in verb(fleet, "drain").stdout

    assert verb(fleet, "undrain", ONE).stdout.strip() == f"{ONE} is in service"
    assert verb(fleet, "drain").stdout.strip() == "no slice is drained"
    assert load.end()["lost"] == [] and found["lost"] == []


def test_another_driver_goes_from_host_to_host_and_no_answer_is_lost(
    fleet: Fleet, load: Load
) -> None:
    """All slices of a host are away for it; the next host waits until they are back."""
    driver = {**fleet.mirrored_driver, "branch": 595, "replace": True}
    fleet.settings = {**fleet.settings, "driver": driver}
    run = fleet.deploy()
    assert run.code == 0, run.text
    both = "ollama-a.service ollama-b.service"
    lines = [line for line in run.text.splitlines() if both in line and line.startswith("[")]
    # Whether a request has still to be waited for is a matter of moments.
    said = [line for line in lines if "] draining " not in line]
    assert said == [
        f"[{host}] {what} {both}" for host in (ONE, OTHER) for what in ("stopping", "starting")
    ]
    found = load.end()
    assert found["lost"] == [] and served_by(fleet, found["answered"]) == set(SLICES)
    for host in (ONE, OTHER):
        assert "  595." in fleet.sh(host, "head -n 1 /proc/driver/nvidia/version")
