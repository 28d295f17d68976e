"""`fleet ca`: what clients trust, and the three moves to another authority."""

from pathlib import Path

import pytest

from ollama_fleet.authority.folder import fingerprint_of, made_authority
from tests.unit.fleet_cli import fleet, fleet_json


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "prod.yml"
    path.write_text("version: 1\ngateway: {}\nhosts: {one: {}}\n")
    return path


def test_before_the_first_deploy_there_is_none(inventory: Path) -> None:
    done = fleet("ca", "show", str(inventory), code=2)
    assert "the first deploy with a gateway makes it" in done.stderr
    assert not (inventory.parent / "prod.ca").exists()


def test_clients_get_its_certificate_and_never_its_key(inventory: Path) -> None:
    made = made_authority(inventory.parent / "prod.ca")
    exported = fleet("ca", "export", str(inventory)).stdout
    assert exported == (inventory.parent / "prod.ca/ca.pem").read_text()
    shown = fleet("ca", "show", str(inventory)).stdout
    assert fingerprint_of(made.certificate) in shown
    data = fleet_json("ca", "show", str(inventory))
    assert data["has_key"] and len(data["trusted"]) == 1 and data["pem"] == exported
    assert "PRIVATE" not in f"{exported}{shown}{data}"


def test_a_rotation_says_what_comes_next(inventory: Path) -> None:
    made_authority(inventory.parent / "prod.ca")
    said = [fleet("ca", "rotate", str(inventory)).stdout for _ in range(3)]
    assert "Deploy, give clients" in said[0] and "then rotate again" in said[1]
    assert "only the new authority is trusted" in said[2]
    assert fleet("ca", "export", str(inventory)).stdout.count("BEGIN CERTIFICATE") == 1


def test_while_it_lasts_clients_get_both(inventory: Path) -> None:
    made_authority(inventory.parent / "prod.ca")
    fleet("ca", "rotate", str(inventory))
    assert fleet("ca", "export", str(inventory)).stdout.count("BEGIN CERTIFICATE") == 2


def test_a_key_that_is_elsewhere_is_said(inventory: Path) -> None:
    made_authority(inventory.parent / "prod.ca")
    (inventory.parent / "prod.ca/ca.key").unlink()
    assert "its key is not on this machine" in fleet("ca", "show", str(inventory)).stdout


def test_no_inventory_is_bad_input(tmp_path: Path) -> None:
    done = fleet("ca", "show", str(tmp_path / "none.yml"), code=2)
    assert "there is no inventory" in done.stderr
