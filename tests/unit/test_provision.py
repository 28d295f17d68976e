"""What an inventory asks of a host below Ollama: the host over the fleet, key by key, or refused."""

from pathlib import Path
from typing import Any

import pytest

from ollama_fleet.host.session import HOST_KEYS
from ollama_fleet.load import load_fleet, validate
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.provision import GpuSettings, Provision
from ollama_fleet.problems import InputError
from ollama_fleet.spec.fleet import Fleet, HostSpec
from ollama_fleet.yamlfile import YamlFile

TWO = [{"model": "RTX 3090", "count": 2}]
A100 = [{"model": "A100-SXM4-80GB", "count": 2}]


def planned(fleet: dict[str, Any] | None = None, **host: Any) -> HostPlan:
    document = {"version": 1, **(fleet or {}), "hosts": {"a": {"gpus": TWO, **host}}}
    return plan_fleet(validate(YamlFile("prod.yml", document))).hosts["a"]


def refused(fleet: dict[str, Any] | None = None, **host: Any) -> str:
    with pytest.raises(InputError) as error:
        planned(fleet, **host)
    return str(error.value)


def test_who_asks_for_nothing_gets_the_defaults() -> None:
    assert planned().provision == Provision()


def test_a_host_overrides_its_fleet_key_by_key() -> None:
    fleet = {
        "driver": {"branch": 595, "secure_boot": "enroll"},
        "container_toolkit": {"version": "1.18.0"},
        "proxy": "http://proxy:3128",
        "reboot": "never",
        "drain_timeout_s": 30,
    }
    found = planned(
        fleet,
        driver={"branch": 580, "manage": False},
        container_toolkit={"install": False},
        container_runtime="docker",
        reboot="auto",
        drain_timeout_s=0,
    ).provision
    assert (found.driver.branch, found.driver.secure_boot) == (580, "enroll")
    assert not found.driver.manage
    assert (found.toolkit.version, found.toolkit.install) == ("1.18.0", False)
    assert (found.container_runtime, found.reboot) == ("docker", "auto")
    assert (found.proxy, found.drain_timeout_s) == ("http://proxy:3128", 0)


def test_gpu_settings_reach_the_plan() -> None:
    found = planned(gpu_settings=[{"gpus": [1], "graphics_clock_mhz": [210, 1980], "ecc": False}])
    assert found.provision.settings == (
        GpuSettings((1,), graphics_clock_mhz=(210, 1980), ecc=False),
    )


FLEET_FAULTS = [
    ({"branch": 580, "version": "595.91.07"}, "driver.version: 595.91.07 is not of branch 580"),
    ({"version": "latest"}, "driver.version: 'latest' does not have the form"),
    ({"version": 580.95}, "driver.version: should be a valid string, not 580.95"),
    ({"flavour": "nouveau"}, "driver.flavour: should be 'auto', 'open' or 'proprietary'"),
    ({"flavor": "open"}, "did you mean 'flavour'?"),
    ({"key_fingerprint": "3bf863cc"}, "driver.key_fingerprint: '3bf863cc' does not have the form"),
    ({"repository": "ftp://mirror/cuda"}, "driver.repository: 'ftp://mirror/cuda' does not"),
    ({"secure_boot": "off"}, "driver.secure_boot"),
    ({"manage": "perhaps"}, "driver.manage: should be a valid boolean"),
]


@pytest.mark.parametrize(("driver", "words"), FLEET_FAULTS, ids=lambda item: str(item)[:30])
def test_a_driver_request_that_cannot_be_met_is_refused(driver: dict, words: str) -> None:
    assert words in refused({"driver": driver})


HOST_FAULTS = [
    ({"gpu_settings": [{"gpus": [5], "ecc": True}]}, "GPU 5 does not exist; the host has GPUs 0–1"),
    ({"gpu_settings": [{"gpus": [0, 0], "ecc": True}]}, "names a GPU twice"),
    (
        {"gpu_settings": [{"gpus": [0], "ecc": True}, {"gpus": [0], "power_limit_w": 300}]},
        "gpu_settings[1].gpus: GPU 0 is in gpu_settings[0] too",
    ),
    (
        {"gpu_settings": [{"ecc": True}, {"gpus": [0], "power_limit_w": 300}]},
        "gpu_settings[0]: is for all GPUs",
    ),
    ({"gpu_settings": [{"gpus": [0]}]}, "gpu_settings[0]: sets nothing"),
    ({"gpu_settings": [{"memory_clock_mhz": [1980, 210]}]}, "write the lower clock first"),
    ({"gpu_settings": [{"memory_clock_mhz": [1980]}]}, "at least 2 items"),
    (
        {
            "gpu_settings": [{"compute_mode": "prohibited"}],
            "slices": [{"name": "chat", "gpus": [1]}],
        },
        "GPU 1 is to serve, and no process could use it",
    ),
    (
        {
            "gpus": A100,
            "mig": [{"gpus": [1]}],
            "gpu_settings": [{"gpus": [0, 1], "compute_mode": "exclusive_process"}],
        },
        "GPU 1 is cut by `mig:`, which takes no exclusive_process",
    ),
    ({"container_toolkit": {"version": "1.17.7"}}, "lets a container take over its host"),
    ({"container_runtime": "podman"}, "container_runtime: should be 'docker'"),
    ({"proxy": "http://me:secret@proxy:3128"}, "proxy: holds a password"),
    ({"reboot": True}, "reboot: should be 'auto', 'ask' or 'never'"),
    (
        {"gpus": A100, "mig": [{"gpus": [1]}], "mig_parted": {"file": "x.yml", "config": "all"}},
        "mig_parted: `mig:` says how GPUs are cut, too",
    ),
]


@pytest.mark.parametrize(("host", "words"), HOST_FAULTS, ids=lambda item: str(item)[:40])
def test_a_host_that_cannot_be_as_written_is_refused(host: dict, words: str) -> None:
    assert words in refused(**host)


def test_a_version_over_the_fleet_s_branch_has_to_agree_with_it() -> None:
    fleet = {"driver": {"branch": 580}}
    said = refused(fleet, driver={"version": "595.91.07"})
    assert "hosts.a.driver.version: the fleet's `driver:` says branch 580" in said
    assert planned(fleet, driver={"branch": 595, "version": "595.91.07"}).provision.driver.version


def test_a_proxy_with_a_password_is_refused_for_the_fleet_too() -> None:
    assert "proxy: holds a password" in refused({"proxy": "http://me:secret@proxy:3128"})


def test_an_inventory_in_plain_python_may_say_all_of_it() -> None:
    """Every key of a host that is not about its connection, its release or where it fetches from."""
    elsewhere = {"address", "connection", "ssh", "ollama", "mirror", "monitoring"}
    assert set(HOST_KEYS) == set(HostSpec.model_fields) - elsewhere
    assert set(HOST_KEYS) >= {key for key in Fleet.model_fields if key in HostSpec.model_fields} - {
        *elsewhere
    }


LAYOUTS = """
version: v1
mig-configs:
  half:
  - {devices: [0], device-filter: "0x20B210DE", mig-enabled: true, mig-devices: {3g.40gb: 2}}
  - {devices: [1], mig-enabled: false}
  full:
  - {devices: [0], mig-enabled: true, mig-devices: {3g.40gb: 3}}
"""


def parted(folder: Path, config: str, cards: str = "A100-SXM4-80GB") -> HostPlan:
    (folder / "layouts.yml").write_text(LAYOUTS)
    inventory = folder / "prod.yml"
    inventory.write_text(
        f"version: 1\nhosts:\n  a:\n    gpus: [{{model: {cards}, count: 2}}]\n"
        f"    mig_parted: {{file: layouts.yml, config: {config}}}\n"
    )
    return plan_fleet(load_fleet(inventory)).hosts["a"]


def test_a_file_of_mig_parted_says_how_gpus_are_cut(tmp_path: Path) -> None:
    assert parted(tmp_path, "half").mig == ((0, ("3g.40gb", "3g.40gb")),)


@pytest.mark.parametrize(
    ("config", "cards", "words"),
    [
        ("third", "A100-SXM4-80GB", "no configuration 'third'; it has half, full"),
        ("full", "A100-SXM4-80GB", "holds 2 × 3g.40gb at most"),
    ],
)
def test_a_layout_that_the_cards_cannot_take_is_refused(
    tmp_path: Path, config: str, cards: str, words: str
) -> None:
    with pytest.raises(InputError) as error:
        parted(tmp_path, config, cards)
    assert words in str(error.value)


def test_a_layout_file_that_is_missing_is_named_with_its_line(tmp_path: Path) -> None:
    inventory = tmp_path / "prod.yml"
    inventory.write_text(
        "version: 1\nhosts:\n  a:\n    gpus: [{model: A100-SXM4-80GB}]\n"
        "    mig_parted: {file: gone.yml, config: half}\n"
    )
    with pytest.raises(InputError, match=r"prod.yml:5 hosts.a.mig_parted: .*gone.yml cannot be"):
        load_fleet(inventory)
