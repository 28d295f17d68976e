"""mig-parted's files: what a person brings, and what a deploy leaves on a host."""

from dataclasses import replace

import pytest
import yaml

from ollama_fleet.mig.parted import LABEL, PartedError, layouts, write
from tests.unit.examples import host_plan

A100, H100, L4 = ("0x20B210DE", True), ("0x233010DE", True), ("0x27B810DE", False)
# As in NVIDIA's own example.
FILE = """
version: v1
mig-configs:
  all-disabled:
    - devices: all
      mig-enabled: false
  all-1g.10gb:
    - devices: all
      mig-enabled: true
      mig-devices:
        "1g.10gb": 7
  mixed:
    - devices: [0, 1]
      mig-enabled: true
      mig-devices:
        "1g.10gb": 2
        "2g.20gb": 1
        "3g.40gb": 1
    - devices: [2]
      mig-enabled: false
  by-card:
    - device-filter: ["0x20B210DE", "0x20B510DE"]
      devices: all
      mig-enabled: true
      mig-devices: {"3g.40gb": 2}
    - device-filter: "0x233010de"
      devices: all
      mig-enabled: true
      mig-devices: {"1g.10gb+me": 1}
"""


def read(config: str, *gpus: tuple[str, bool], text: str = FILE) -> dict[int, tuple[str, ...]]:
    return layouts(text, config, gpus)


def test_all_passes_over_cards_that_cannot_be_cut() -> None:
    assert read("all-1g.10gb", A100, L4, A100) == {0: ("1g.10gb",) * 7, 2: ("1g.10gb",) * 7}


def test_named_gpus_get_their_instances() -> None:
    found = read("mixed", A100, A100, L4)
    assert found == dict.fromkeys((0, 1), ("1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"))


def test_disabled_means_whole() -> None:
    assert read("all-disabled", A100, L4) == {}


def test_a_filter_chooses_by_card() -> None:
    assert read("by-card", H100, L4, A100) == {0: ("1g.10gb+me",), 2: ("3g.40gb", "3g.40gb")}


def entry(**changes: object) -> str:
    content = {"devices": [0], "mig-enabled": True, "mig-devices": {"1g.10gb": 7}, **changes}
    return yaml.safe_dump({"version": "v1", "mig-configs": {"x": [content]}})


@pytest.mark.parametrize(
    ("text", "gpus", "said"),
    [
        (entry(), [L4], "GPU 0 has no MIG"),
        (entry(), [], "no GPU 0; the host has 0"),
        (entry(flavour="x"), [A100], "unknown key flavour"),
        (entry(devices="some"), [A100], "neither `all` nor a list"),
        (entry(**{"mig-enabled": "yes"}), [A100], "neither true nor false"),
        (entry(**{"mig-enabled": False}), [A100], "mig-devices need `mig-enabled: true`"),
        (entry(**{"mig-devices": {}}), [A100], "nothing could run on the GPU"),
        (entry(**{"mig-devices": {"1g.10gb": "7"}}), [A100], "7 is no count"),
        (entry(**{"mig-devices": {"1g.10gb": True}}), [A100], "True is no count"),
        (entry(**{"mig-devices": {"1c.3g.40gb": 1}}), [A100], "part of an instance"),
        (entry(**{"device-filter": "0x20B210DE"}), [("", True)], "nobody knows them yet"),
        (FILE.replace("v1", "v2"), [A100], "version: is not v1"),
        (FILE + "extra: 1", [A100], "extra: unknown key"),
        ("version: v1\nmig-configs: {y: []}", [A100], "no configuration 'x'; it has y"),
        ("version: v1\nmig-configs: {x: []}", [A100], "no list of devices"),
        ("a: [", [A100], "no YAML"),
        ("- 1", [A100], "is not v1"),
    ],
)
def test_what_is_wrong_is_said(text: str, gpus: list[tuple[str, bool]], said: str) -> None:
    with pytest.raises(PartedError) as error:
        layouts(text, "x", gpus, source="layouts.yml")
    assert said in str(error.value)
    assert str(error.value).startswith("layouts.yml")


def test_a_gpu_in_two_entries_is_refused() -> None:
    twice = FILE.replace(
        "devices: [2]\n      mig-enabled: false", "devices: [1]\n      mig-enabled: false"
    )
    with pytest.raises(PartedError, match="GPU 1 is in two entries"):
        read("mixed", A100, A100, L4, text=twice)


def test_what_a_deploy_writes_reads_back_as_the_plan() -> None:
    cut = ((0, ("3g.40gb", "2g.20gb", "2g.20gb")), (2, ("1g.10gb+me", "1g.10gb")))
    plan = replace(host_plan(), mig=cut)
    assert layouts(write(plan), LABEL, [A100, L4, H100]) == dict(cut)
