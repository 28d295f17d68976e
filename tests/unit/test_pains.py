"""Each of the fifteen things that go wrong with NVIDIA's side in practice has a test named after it."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAINS = {
    1: "user space is upgraded under a loaded module",
    2: "a kernel upgrade without headers or a built module",
    3: "modules of the wrong flavour",
    4: "another branch comes by itself",
    5: "drivers of mixed sources",
    6: "Secure Boot rejects the module",
    7: "nouveau holds the GPUs",
    8: "the repository's key",
    9: "a fabric manager of another version",
    10: "MIG is lost with a reboot, and its UUIDs are stale",
    11: "MIG mode stays pending",
    12: "a daemon-reload takes the GPUs from containers",
    13: "nvidia-uvm is missing at boot, and Ollama serves from the CPU",
    14: "daemon.json is broken by an edit",
    15: "a stale CDI specification, or half a toolkit",
}


def named(place: str) -> set[int]:
    """Numbers of the pains that tests in this folder are named after."""
    texts = [path.read_text() for path in (TESTS / place).rglob("test_*.py")]
    return {int(n) for text in texts for n in re.findall(r"^def test_pain_(\d+)_", text, re.M)}


def test_every_pain_has_a_test_on_a_real_host() -> None:
    assert {PAINS[n] for n in PAINS.keys() - named("lab")} == set()


def test_no_test_is_named_after_a_pain_that_is_none() -> None:
    assert named(".") <= PAINS.keys()
