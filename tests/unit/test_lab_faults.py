"""The fault table, and simulated faults on a host that is only a directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import faults
from lab.errors import UsageError
from lab.profile import hardware, load_profile
from lab.state import LabPaths, write_json


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    found = LabPaths(tmp_path)
    for name in ("gpu01", "mirror"):
        host = found.host(name)
        host.faults.mkdir(parents=True)
        write_json(host.record, {"name": name})
        profile = load_profile("2x-rtx3090" if name == "gpu01" else "no-gpu")
        write_json(host.hardware / "hardware.json", hardware(profile, name))
    return found


def test_every_fault_that_needs_hands_has_them() -> None:
    manual = {name for name, row in faults.load_faults().items() if row.where != "simulation"}

    assert set(faults.ON) == set(faults.OFF) == manual


def test_simulated_fault_is_a_file_with_its_parameters(paths: LabPaths) -> None:
    faults.switch_on(paths, "gpu01", "gpu-lost", {"gpu": "1"})

    file = paths.host("gpu01").faults / "gpu-lost.json"
    assert json.loads(file.read_text()) == {"gpu": 1, "until": "never"}
    assert faults.active(paths, "gpu01") == {"gpu-lost": {"gpu": 1, "until": "never"}}


def test_fault_switched_off_is_gone_and_can_be_switched_off_again(paths: LabPaths) -> None:
    faults.switch_on(paths, "gpu01", "ollama-slow", {})

    for _ in range(2):
        faults.switch_off(paths, "gpu01", "ollama-slow")

    assert faults.active(paths, "gpu01") == {}


@pytest.mark.parametrize(
    ("host", "fault", "given", "message"),
    [
        ("gpu01", "gpu-lots", {}, "did you mean 'gpu-lost'"),
        ("gpu01", "gpu-lost", {"gpu": "2"}, "GPUs 0 to 1"),
        ("gpu01", "gpu-lost", {"gpu": "first"}, "whole number"),
        ("gpu01", "gpu-lost", {"gpus": "1"}, "did you mean 'gpu'"),
        ("gpu01", "mirror-down", {}, "acts on the host `mirror`"),
        ("mirror", "ecc", {}, "not on the mirror"),
        ("gpu02", "ecc", {}, "did you mean 'gpu01'"),
    ],
)
def test_wrong_request_is_refused(
    paths: LabPaths, host: str, fault: str, given: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        faults.switch_on(paths, host, fault, given)

    assert faults.active(paths, "gpu01") == {}


def test_truncated_copies_are_shorter_than_the_files_they_hide(paths: LabPaths) -> None:
    blob = paths.mirror / "v2/library/m/blobs/sha256:00"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"0123456789")
    paths.host("mirror").truncated.mkdir()

    faults.switch_on(paths, "mirror", "mirror-truncating", {"keep_percent": "30"})

    copy = paths.host("mirror").truncated / blob.relative_to(paths.mirror)
    assert copy.read_bytes() == b"012"
    faults.switch_off(paths, "mirror", "mirror-truncating")
    assert not copy.exists()
