"""What `fleet serve-bundle` says and writes; that nginx serves it is tried in the lab."""

import os
from pathlib import Path

import pytest
import yaml

from ollama_fleet.bundle.serve import (
    configuration,
    inventory_lines,
    mirror_lines,
    read_address,
)
from ollama_fleet.inventory import fleet_hosts
from ollama_fleet.load import load_fleet
from tests.unit.fleet_cli import fleet


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    for place in ("ollama", "v2", "nvidia/cuda/repos"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "CHECKSUMS").write_text(f"{'0' * 64}  ollama/x\n")
    return tmp_path


def test_the_lines_for_an_inventory_are_valid_and_name_only_what_is_there(bundle: Path) -> None:
    url = "http://10.0.0.5:8480"
    said = inventory_lines(bundle, url)
    assert said == {
        "ollama": {
            "release_url": "http://10.0.0.5:8480/ollama",
            "registry": "http://10.0.0.5:8480",
        },
        "driver": {"repository": "http://10.0.0.5:8480/nvidia/cuda/repos"},
    }
    path = bundle / "prod.yml"
    path.write_text(yaml.safe_dump({"version": 1, "hosts": {"a": {}}, **said}))
    assert load_fleet(path).driver.repository == said["driver"]["repository"]
    path.write_text(yaml.safe_dump({"version": 1, "hosts": {"a": {}}, **mirror_lines(url)}))
    (_, data), *others = fleet_hosts(load_fleet(path), path)
    assert others == [] and data["ollama_release_url"] == said["ollama"]["release_url"]
    assert data["plan"].provision.driver.repository == said["driver"]["repository"]


@pytest.mark.parametrize(
    "text", ["8480", "10.0.0.5", "here:8480", "10.0.0.5:0", "10.0.0.5:99999", "1.2.3.4:80; evil"]
)
def test_what_is_no_address_is_said(bundle: Path, text: str) -> None:
    done = fleet("serve-bundle", bundle, "--listen", text, code=2)
    assert "is no address to listen on" in done.stderr


def test_what_is_no_bundle_is_not_served(tmp_path: Path) -> None:
    assert "is it a bundle?" in fleet("serve-bundle", tmp_path, code=2).stderr


def test_a_machine_without_nginx_is_told_what_to_do(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(bundle))
    monkeypatch.setattr("ollama_fleet.bundle.serve.PLACES", (str(bundle),))
    done = fleet("serve-bundle", bundle, code=1)
    assert "nginx is not installed" in done.stderr and "docs/offline.md" in done.stderr


def test_nginx_serves_one_address_as_whoever_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = read_address("127.0.0.1:8480")
    assert address.is_loopback and not address.is_any
    text = configuration(tmp_path, address)
    assert text.count("listen ") == 1 and "listen 127.0.0.1:8480;" in text
    assert ("user root;" in text) == (os.geteuid() == 0)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "user " not in configuration(tmp_path, address)
