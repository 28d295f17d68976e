"""An HGX H100 server from bare to slices on a cut GPU, and over an upgrade of its driver: the host on which
everything of NVIDIA's side comes together."""

import re
import time

import pytest

from lab.lab import Lab
from tests.lab import asking
from tests.lab.conftest import bare
from tests.lab.driver_host import LOADED, fingerprint
from tests.lab.fleet import MIRROR, Fleet, Run

HOST = "hgx"
PROFILES = ["3g.40gb", "2g.20gb", "2g.20gb"]
WISHES = [
    {"name": "large", "model": "qwen3:8b", "mig": "3g.40gb"},
    {"name": "small", "model": "qwen3:0.6b", "replicas": 2, "mig": "2g.20gb"},
    {"name": "whole", "model": "qwen3:8b", "mig": False},
]
SLICES = ("large", "small", "small-2", "whole")
DRIVER_PACKAGES = ("nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-fabricmanager")


@pytest.fixture(scope="module")
def hgx(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The server, deployed to while it had nothing but an operating system and GPUs."""
    bare(lab, HOST, "bare-8x-h100")
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.wishes = WISHES
    run = deploy(fleet)
    assert run.code == 0, run.text
    return fleet


def deploy(fleet: Fleet, **driver: object) -> Run:
    fleet.add(
        HOST,
        gpus=[{"model": "H100 80GB", "count": 8}],
        mig=[{"gpus": [0], "profiles": PROFILES}],
        driver={
            "repository": f"{MIRROR}/compute/cuda/repos",
            "key_fingerprint": fingerprint(fleet.lab),
            **driver,
        },
        container_runtime="docker",
        container_toolkit={
            "repository": f"{MIRROR}/libnvidia-container",
            "key_fingerprint": fingerprint(fleet.lab, "toolkit"),
        },
    )
    return fleet.deploy()


def instances(fleet: Fleet) -> list[str]:
    return sorted(re.findall(r"MIG (\S+)", fleet.sh(HOST, "nvidia-smi -L")))


def all_is_there(fleet: Fleet, driver: str) -> None:
    """Driver and fabric manager of one version, the cut, the slices, and what containers may have."""
    assert fleet.sh(HOST, LOADED) == driver
    versions = fleet.sh(HOST, f"dpkg-query -W -f '${{Version}}\\n' {' '.join(DRIVER_PACKAGES)}")
    assert {version.partition("-")[0] for version in versions.split()} == {driver}
    assert fleet.sh(HOST, "systemctl is-active nvidia-fabricmanager") == "active"
    assert instances(fleet) == sorted(PROFILES)
    units = " ".join(f"ollama-{name}" for name in SLICES)
    assert set(fleet.sh(HOST, f"systemctl is-active {units}").split()) == {"active"}
    listed = fleet.sh(HOST, "nvidia-ctk cdi list")
    for uuid in re.findall(r"UUID: ((?:GPU|MIG)-[0-9a-f-]+)", fleet.sh(HOST, "nvidia-smi -L")):
        assert f"nvidia.com/gpu={uuid}" in listed
    specification = fleet.sh(HOST, "cat /var/run/cdi/*.yaml /etc/cdi/*.yaml 2>/dev/null || :")
    assert set(re.findall(r"\.so\.(\d+\.\d+[.\d]*\d)", specification)) == {driver}


def test_bare_metal_becomes_slices_on_a_cut_gpu_in_one_run(hgx: Fleet) -> None:
    all_is_there(hgx, "580.105.08")
    assert deploy(hgx).changed() == {}


def test_an_upgrade_is_one_transaction_and_brings_mig_and_slices_back(hgx: Fleet) -> None:
    """A Hopper card forgets its MIG mode with the module."""
    boot = hgx.sh(HOST, "cat /proc/sys/kernel/random/boot_id")
    upgraded = deploy(hgx, branch=595)
    assert upgraded.code == 0, upgraded.text
    all_is_there(hgx, "595.58.03")
    assert hgx.sh(HOST, "cat /proc/sys/kernel/random/boot_id") == boot
    # One entry of apt's history has driver, modules and fabric manager.
    history = hgx.sh(HOST, "cat /var/log/apt/history.log").split("\n\n")
    ours = [entry for entry in history if "595.58.03" in entry]
    together = [entry for entry in ours if all(f" {name}:" in entry for name in DRIVER_PACKAGES)]
    assert len(together) == 1, ours
    assert deploy(hgx, branch=595).changed() == {}


@pytest.mark.breaks("fabric")
def test_a_fabric_manager_that_dies_is_found(hgx: Fleet) -> None:
    """nvidia-smi looks well without it, and CUDA fails."""
    hgx.lab.fault(HOST, "fabric-manager-dead")
    state = "systemctl is-active -q nvidia-fabricmanager"
    hgx.sh(HOST, f"timeout 20 sh -c 'while {state}; do sleep 0.2; done'")
    found = asking.of_host(hgx, HOST)
    hgx.lab.clear(HOST, "fabric-manager-dead")
    assert "fabric manager" in found["host", "fabric"].found
    hgx.sh(HOST, "systemctl restart nvidia-fabricmanager")
    ends = time.monotonic() + 60  # it is started before it has registered every GPU
    while ("host", "fabric") in asking.of_host(hgx, HOST):
        assert time.monotonic() < ends
