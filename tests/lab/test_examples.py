"""Configurations of the source guides, as they stand in inventory/examples, from bare host to verified."""

import pytest
import yaml

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import ROOT, Fleet

# Example, the hardware of the lab that it needs, and how many slices it makes. One of each kind: several
# models in a slice, a slice of two GPUs, reserved GPUs, wishes; tests/unit plans all of them.
EXAMPLES = [
    ("1x3060-b", "1x-rtx3060", 1),
    ("2x3090-c", "2x-rtx3090", 2),
    ("4x3090-a", "4x-rtx3090", 3),
    ("8x3090-a", "8x-rtx3090", 5),
    ("8x3090-c", "8x-rtx3090", 3),
]


@pytest.mark.parametrize(("example", "profile", "slices"), EXAMPLES)
def test_an_example_of_the_guides_is_deployed_and_serves(
    lab: Lab, fleet: Fleet, example: str, profile: str, slices: int
) -> None:
    host = bare(lab, f"e{profile[0]}", profile)
    content = yaml.safe_load((ROOT / f"inventory/examples/{example}.yml").read_text())
    (spec,) = content["hosts"].values()
    fleet.hosts[host] = {"address": lab.address(host), **spec}

    run = fleet.deploy()
    assert run.code == 0, run.text
    units = fleet.sh(
        host,
        "systemctl list-units --plain --no-legend 'ollama-*.service' | awk '{print $1}' | "
        "grep -vE 'ollama-(health|watchdog)'",
    )
    assert len(units.split()) == slices
    used = fleet.sh(host, "nvidia-smi --query-compute-apps=gpu_uuid --format=csv,noheader").split()
    uuids = fleet.sh(host, "nvidia-smi --query-gpu=uuid --format=csv,noheader").split()
    reserved = {uuids[index] for index in spec.get("reserved", [])}
    assert used and not reserved & set(used)
    assert fleet.deploy().changed() == {}
