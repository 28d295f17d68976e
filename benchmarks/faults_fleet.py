"""The fleet that gateway_faults.py breaks: two hosts with two slices each, behind two gateways."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load_client import Target
from lab.lab import Lab
from lab.standin.pack import build_release
from tests.lab.fleet import BIN, RELEASES, ROOT, Fleet

GATEWAYS, HOSTS = ("begw1", "begw2"), ("be1", "be2")
MODEL = "qwen3:14b"  # 64 tokens/s on a simulated RTX 3090: streams take a while
PARALLEL = 2
NEXT_VERSION = "0.32.98"  # nobody else's
# Quicker than the defaults, so that a run takes minutes; `busy_timeout_s` is what a hang costs.
HEALTH = {"every_s": 2, "timeout_s": 10, "busy_timeout_s": 30}


def slice_of(name: str, gpu: int, context: int = 2048) -> dict[str, object]:
    """One slice of a host."""
    return {
        "name": name,
        "gpus": [gpu],
        "models": [MODEL],
        "context": context,
        "parallel": PARALLEL,
    }


@contextmanager
def deployed(folder: Path, *, keep: bool) -> Iterator[tuple[Fleet, Target]]:
    """The fleet, serving; and who may ask it, at both gateways."""
    lab, fleet = Lab(), Fleet(folder, Lab())
    profiles = dict.fromkeys(HOSTS, "2x-rtx3090") | dict.fromkeys(GATEWAYS, "no-gpu")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda item: lab.ensure(*item), profiles.items()))
    for host in HOSTS:
        fleet.add(host, slice_of("a", 0), slice_of("b", 1))
    fleet.settings = {
        "gateway": {"wait_s": 60, "health": HEALTH},
        "gateways": {name: {"address": lab.address(name)} for name in GATEWAYS},
    }
    try:
        must(fleet)
        yield (
            fleet,
            Target(
                f"https://{lab.address(GATEWAYS[0])}",
                new_key(fleet),
                str(folder / "test.ca/ca.pem"),
                others=(lab.address(GATEWAYS[1]),),
            ),
        )
    finally:
        shutil.rmtree(release_of(fleet), ignore_errors=True)
        for name in () if keep else (*HOSTS, *GATEWAYS):
            lab.remove(name)


def must(fleet: Fleet, *options: str) -> None:
    """Deploy; it has to succeed."""
    run = fleet.deploy(*options)
    if run.code:
        raise RuntimeError(run.text)


def new_key(fleet: Fleet) -> str:
    """A key that may do everything."""
    name = f"load-{time.time():.0f}"
    words = [BIN / "fleet", "key", "add", fleet.inventory, name, "--yes"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout.strip()


def release_of(fleet: Fleet) -> Path:
    """Where the mirror has the newer Ollama."""
    return fleet.lab.paths.mirror / RELEASES / f"v{NEXT_VERSION}"


def next_release(fleet: Fleet) -> None:
    """Let the mirror have a newer Ollama, and the fleet want it."""
    build_release(release_of(fleet), NEXT_VERSION, fleet.lab.paths.root / "cache")
    fleet.version = NEXT_VERSION
