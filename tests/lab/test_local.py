"""A machine that deploys to itself over pyinfra's @local connector, with nothing of SSH in it."""

import io
import subprocess
import tarfile
from importlib.metadata import distribution
from pathlib import Path

import yaml

from lab.models import load_table, make_gguf
from tests.lab.fleet import ROOT, Fleet

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


def test_a_machine_can_deploy_to_itself(fleet: Fleet, t1: str) -> None:
    models = ["qwen3:8b", "mine:1"]
    fleet.add(t1, {"name": "chat", "gpus": [0], "port": 11434, "models": models})
    content = yaml.safe_load(fleet.inventory.with_suffix(".yml").read_text())
    sums = Path(content["ollama"].pop("sha256_file")).read_text().split()[0]
    content["ollama"]["sha256"] = {"amd64": sums}
    content["ollama"]["delivery"] = "controller"  # which it is itself: copied, not sent
    content.pop("ssh")
    content["custom_models"] = {"mine:1": {"gguf": "mine.gguf"}}
    content["hosts"] = {"me": {**content["hosts"][t1], "connection": "local"}}
    del content["hosts"]["me"]["address"]

    unpack = [*fleet.lab.ssh_command(t1), "--", "mkdir -p /srv/fleet && tar -C /srv/fleet -x"]
    subprocess.run(unpack, input=project_archive(), check=True)
    inventory = yaml.safe_dump(content)
    fleet.sh(
        t1,
        f"mkdir /srv/fleet/inventory && cat >/srv/fleet/inventory/local.yml <<'E'\n{inventory}\nE",
    )
    weights = make_gguf("mine", load_table()["qwen3:0.6b"])
    put = [*fleet.lab.ssh_command(t1), "--", "cat >/srv/fleet/inventory/mine.gguf"]
    subprocess.run(put, input=weights, check=True)
    script = (ROOT / "inventory/local.py").read_text()
    fleet.sh(t1, f"cat >/srv/fleet/inventory/local.py <<'E'\n{script}\nE")

    run = "cd /srv/fleet && PYTHONPATH=site python3 -m pyinfra inventory/local.py deploy.py -y 2>&1"
    first = fleet.sh(t1, run)
    assert "8 checks" in first or "0 failed" in first, first
    assert fleet.sh(t1, "systemctl is-active ollama-chat") == "active"
    assert "mine:1" in fleet.sh(t1, "curl -s http://127.0.0.1:11434/api/tags")
    again = fleet.sh(t1, f"{run} --json 2>/dev/null")
    assert '"success": []' in again and '"success": ["' not in again.replace("\n", "")
