"""`fleet discover` on real machines: what it prints can be planned and deployed."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from lab.lab import Lab
from tests.lab.fleet import BIN, Fleet


def discover(lab: Lab, host: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The command line a user would type for a lab host."""
    state = lab.paths.root
    login = ("--key", state / "ssh/id_ed25519", "--known-hosts", state / "ssh/known_hosts")
    words = [BIN / "fleet", "discover", lab.address(host), *login, "--user", "root", *options]
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=60)


def test_a_host_tells_its_gpus_and_the_entry_can_be_planned(
    lab: Lab, t1: str, tmp_path: Path
) -> None:
    done = discover(lab, t1)
    assert done.returncode == 0, done.stderr
    (name, entry), *_ = yaml.safe_load(done.stdout)["hosts"].items()
    assert name == t1 and entry["address"] == lab.address(t1)
    assert entry["gpus"] == [{"model": "NVIDIA GeForce RTX 3090", "count": 2}]
    assert [item["gpus"] for item in entry["slices"]] == [[0], [1]]
    path = tmp_path / "found.yml"
    path.write_text(done.stdout)
    planned = subprocess.run(
        [str(BIN / "fleet"), "plan", str(path)], capture_output=True, text=True
    )
    assert planned.returncode == 0, planned.stdout + planned.stderr


def test_rendered_with_its_hardware_the_files_are_those_that_a_deploy_writes(
    fleet: Fleet, t1: str, tmp_path: Path
) -> None:
    fleet.add(t1, {"name": "chat", "gpus": [1], "models": ["qwen3:0.6b"]})
    inventory = fleet.inventory.with_suffix(".yml")
    found = tmp_path / "found.json"
    found.write_text(discover(fleet.lab, t1, "--json").stdout)
    assert json.loads(found.read_text())["hardware"]["gpus"][1]["uuid"].startswith("GPU-")
    words = ["plan", inventory, "--hardware", found, "--render", tmp_path / "out"]
    subprocess.run([str(BIN / "fleet"), *map(str, words)], check=True, capture_output=True)
    assert fleet.deploy().code == 0
    for path in sorted((tmp_path / "out" / t1).rglob("*")):
        if path.is_file():
            there = "/" + str(path.relative_to(tmp_path / "out" / t1))
            assert fleet.sh(t1, f"cat {there}") == path.read_text().strip(), there


def test_a_lost_gpu_gets_no_slice(lab: Lab, t1: str) -> None:
    lab.fault(t1, "gpu-lost", gpu=1)
    try:
        done = discover(lab, t1)
    finally:
        lab.clear(t1, "gpu-lost")
    assert done.returncode == 0, done.stderr
    assert "is lost" in done.stdout
    (entry,) = yaml.safe_load(done.stdout)["hosts"].values()
    assert [item["gpus"] for item in entry["slices"]] == [[0]]


def test_a_host_without_a_driver_is_told_so(lab: Lab, t1: str) -> None:
    hidden = "/usr/bin/nvidia-smi /usr/local/bin/nvidia-smi"
    lab.ssh(t1, f"for f in {hidden}; do [ -e $f ] && mv $f $f.away; done; true")
    try:
        done = discover(lab, t1)
    finally:
        lab.ssh(t1, f"for f in {hidden}; do [ -e $f.away ] && mv $f.away $f; done; true")
    assert done.returncode == 1
    assert "2 NVIDIA GPUs on its PCI bus, but nvidia-smi is not installed" in done.stderr


@pytest.mark.parametrize("port", ["1", "22"])
def test_a_host_that_cannot_be_reached_is_an_error_with_advice(
    lab: Lab, t1: str, port: str
) -> None:
    options = ("--port", port) if port == "1" else ("--user", "nobody-there")
    done = discover(lab, t1, *options)
    assert done.returncode == 1 and "cannot be asked" in done.stderr
    assert "Traceback" not in done.stderr
