"""A machine that deploys to itself over pyinfra's @local connector, with nothing of SSH in it."""

import io
import subprocess
import tarfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

from lab.models import load_table, make_gguf
from tests.lab.fleet import MIRROR, RELEASES, ROOT, Fleet
from tests.lab.pages import blocks, commands

PARTS = ("deploy.py", "config.py", "group_data", "ollama_fleet", "tasks", "templates")


def runtime_files() -> list[tuple[Path, str]]:
    """Files of every package in requirements.lock: what a user of the project has installed."""
    names = [
        line.split("==")[0]
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    ]
    return [
        (Path(str(distribution(name).locate_file(file))), f"site/{file}")
        for name in names
        for file in distribution(name).files or []
        if not str(file).startswith("..") and "__pycache__" not in str(file)
    ]


def project_archive() -> bytes:
    """The project and what it imports, as one tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, name in runtime_files():
            archive.add(path, name)
        for part in PARTS:
            archive.add(ROOT / part, part)
    return buffer.getvalue()


PAGE = "docs/start-one-machine.md"
# What `make setup` makes, out of files that were brought: a lab host reaches no package index.
PROGRAMS = {
    "pyinfra": "from pyinfra_cli.cli import cli; cli()",
    "fleet": "from ollama_fleet.cli import main; main()",
}


def put(fleet: Fleet, host: str, path: str, content: bytes) -> None:
    command = [*fleet.lab.ssh_command(host), "--", f"mkdir -p {Path(path).parent}; cat >{path}"]
    subprocess.run(command, input=content, check=True)


def brought(fleet: Fleet, host: str) -> None:
    """The project on the host, with its programs."""
    unpack = [*fleet.lab.ssh_command(host), "--", "mkdir -p /srv/fleet && tar -C /srv/fleet -x"]
    subprocess.run(unpack, input=project_archive(), check=True)
    for name, code in PROGRAMS.items():
        text = f"#!/bin/sh\nexec env PYTHONPATH=/srv/fleet/site python3 -c '{code}' \"$@\"\n"
        put(fleet, host, f"/srv/fleet/.venv/bin/{name}", text.encode())
    fleet.sh(host, "chmod 755 /srv/fleet/.venv/bin/*")
    put(fleet, host, "/srv/fleet/inventory/local.py", (ROOT / "inventory/local.py").read_bytes())


def of_the_page(fleet: Fleet) -> dict[str, Any]:
    """The page's inventory, with where the lab's releases come from and a model of one's own."""
    content: dict[str, Any] = yaml.safe_load(blocks(PAGE, "yaml")[0])
    content["ollama"] = {
        "release_url": f"{MIRROR}/{RELEASES}",
        "registry": MIRROR,
        "delivery": "controller",  # which it is itself: copied, not sent
    }
    content["driver"] = {"manage": False}
    content["custom_models"] = {"mine:1": {"gguf": "mine.gguf"}}
    content["hosts"]["here"]["models"] = {"extra": ["mine:1"]}
    return content


def test_the_start_with_one_machine(fleet: Fleet, t1: str) -> None:
    """Each command of the page, typed on the machine itself."""
    brought(fleet, t1)
    sums = fleet.lab.paths.mirror / RELEASES / f"v{fleet.version}/sha256sum.txt"
    put(fleet, t1, "/srv/fleet/sums", sums.read_bytes())
    weights = make_gguf("mine", load_table()["qwen3:0.6b"])
    put(fleet, t1, "/srv/fleet/inventory/mine.gguf", weights)

    def typed(line: str) -> str:
        pinned = line.replace("pin ollama 0.32.15", "pin ollama 0.32.15 --from sums")
        return fleet.sh(t1, f"cd /srv/fleet && export PYINFRA_PROGRESS=off && {{ {pinned}; }} 2>&1")

    set_up, look, deploy, use, watch = (commands(block) for block in blocks(PAGE, "sh"))
    assert [line.split()[0] for line in set_up] == ["apt-get", "make"]  # no way out from a lab host
    assert "RTX 3090" in [typed(line) for line in look][-1]
    inventory = yaml.safe_dump(of_the_page(fleet)).encode()
    put(fleet, t1, "/srv/fleet/inventory/local.yml", inventory)
    assert ", 0 failed" in [typed(line) for line in deploy][-1]
    said, tags = (typed(line) for line in use)
    assert "simulated GPU" in said and "mine:1" in tags
    verified, seen = (typed(line) for line in watch)
    assert ", 0 failed" in verified and "qwen3:8b" in seen

    again = typed(f"{deploy[-1]} --json 2>/dev/null")
    assert '"success": []' in again and '"success": ["' not in again.replace("\n", "")
