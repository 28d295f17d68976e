"""From a bare host to its first token on a shaped link, against the longest single path, as ratios.

    .venv/bin/python benchmarks/first_token.py [--mbit 8] [--megabytes 24]

Brings up a lab host with 2 × RTX 3090 and no driver, three times, each time behind a link of so many
Mbit/s, and measures in one go:

whole          one deploy: driver, container toolkit, Ollama, a model, until a slice answers
download       the release and the model alone, by curl over the same link
installation   one deploy of the same host whose slice has no model
in turn        that, and a second deploy that brings the model, until a slice answers
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab.lab import Lab  # noqa: E402
from tests.lab.fleet import MIRROR, RELEASES, Fleet  # noqa: E402

HOST = "bench1"
PROFILE = "bare-2x-rtx3090"
MODEL = "bench:latest"
LIKE = "qwen3/manifests/0.6b"
ASK = json.dumps({"model": MODEL, "prompt": "Hi", "stream": False, "options": {"num_predict": 1}})
# When the download began and ended, and what came over the link, in bytes.
TIMES = """stat -c %.Y /run/ollama-fetch-models/job /run/ollama-fetch-models/items/1/state
cat /sys/class/net/host0/statistics/rx_bytes"""
WATCH = f"""until curl -sf http://127.0.0.1:11434/api/generate -d '{ASK}' >/dev/null 2>&1
do sleep 0.3; done; date +%s.%N"""


@contextlib.contextmanager
def large_model(lab: Lab, megabytes: int) -> Iterator[list[str]]:
    """A model of that size at the lab's registry; yields the addresses of its parts."""
    library = lab.paths.mirror / "v2/library"
    manifest = json.loads((library / LIKE).read_text())
    weight = os.urandom(megabytes * 10**6)
    digest = "sha256:" + hashlib.sha256(weight).hexdigest()
    media_type = "application/vnd.ollama.image.license"
    manifest["layers"].append({"mediaType": media_type, "digest": digest, "size": len(weight)})
    folder = library / "bench"
    try:
        (folder / "blobs").mkdir(parents=True)
        (folder / "manifests").mkdir()
        (folder / "blobs" / digest).write_bytes(weight)
        for layer in [manifest["config"], *manifest["layers"][:-1]]:
            os.link(library / "qwen3/blobs" / layer["digest"], folder / "blobs" / layer["digest"])
        (folder / "manifests/latest").write_text(json.dumps(manifest))
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755)
        blobs = [layer["digest"] for layer in [manifest["config"], *manifest["layers"]]]
        yield [f"{MIRROR}/v2/library/bench/blobs/{blob}" for blob in blobs]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh(lab: Lab, mbit: float) -> None:
    """A bare host behind a link of that speed."""
    known = {host.name for host in lab.status()}
    lab.reset(HOST) if HOST in known else lab.ensure(HOST, PROFILE)
    shape = f"tc qdisc replace dev vb-{HOST} root tbf rate {mbit}mbit burst 32kbit latency 400ms"
    subprocess.run(shape.split(), check=True)


def fleet_of(lab: Lab, folder: Path, models: list[str]) -> Fleet:
    fleet = Fleet(folder, lab)
    slices = {"name": "a", "gpus": [0], "models": models}
    fleet.add(HOST, slices, driver=fleet.mirrored_driver)
    return fleet


def first_token(fleet: Fleet, *deploys: list[str]) -> tuple[list[float], list[float]]:
    """Seconds that each deploy took, and last those from the beginning until the slice answered; and
    when the model's download began and ended, and what the host received at all, in MB."""
    watch = subprocess.Popen(
        [*fleet.lab.ssh_command(HOST), WATCH], stdout=subprocess.PIPE, text=True
    )
    begun, taken = time.time(), []
    for models in deploys:
        started = time.time()
        fleet.hosts[HOST]["slices"][0]["models"] = models
        run = fleet.deploy()
        if run.code:
            watch.kill()
            raise SystemExit(run.text)
        taken.append(time.time() - started)
    answered = float(watch.communicate(timeout=60)[0])
    start, end, received = map(float, fleet.sh(HOST, TIMES).split())
    return [*taken, answered - begun], [start - begun, end - begun, received / 1e6]


def download(lab: Lab, addresses: list[str]) -> float:
    """Seconds for all of these alone."""
    archive = f"{MIRROR}/{RELEASES}/v0.32.15/ollama-linux-amd64.tar.zst"
    begun = time.time()
    urls = " ".join(f"-o /dev/null {url}" for url in [archive, *addresses])
    done = lab.ssh(HOST, f"curl -sf {urls}")
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.time() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mbit", type=float, default=8)
    parser.add_argument("--megabytes", type=int, default=24)
    wanted = parser.parse_args()
    lab = Lab(ROOT / ".lab")
    lab.up(["mirror"])
    with large_model(lab, wanted.megabytes) as parts, tempfile.TemporaryDirectory() as folder:
        fresh(lab, wanted.mbit)
        fleet = fleet_of(lab, Path(folder), [MODEL])
        (run, whole), (start, end, received) = first_token(fleet, [MODEL])
        fresh(lab, wanted.mbit)
        lab.ssh(HOST, "apt-get -qq update && apt-get -qq install -y curl")
        alone = download(lab, parts)
        fresh(lab, wanted.mbit)
        (installation, _, in_turn), _ = first_token(fleet, [], [MODEL])
    lab.remove(HOST)
    print(
        f"link                              {wanted.mbit:.0f} Mbit/s, {wanted.megabytes} MB model"
    )
    print(f"whole: first token after          {whole:.1f} s (the run with its proof: {run:.1f} s)")
    print(f"   the model came from            {start:.1f} to {end:.1f} s, {received:.1f} MB in all")
    print(f"download alone                    {alone:.1f} s")
    print(f"installation alone                {installation:.1f} s")
    print(f"in turn: first token after        {in_turn:.1f} s")
    link_s = received * 8 / wanted.mbit
    print(f"all bytes at the link's speed     {link_s:.1f} s")
    print(f"whole / longest single path       {whole / max(alone, installation):.2f}")
    print(f"whole / all bytes at link speed   {whole / link_s:.2f}")
    print(f"whole / in turn                   {whole / in_turn:.2f}")


if __name__ == "__main__":
    main()
