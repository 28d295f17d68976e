"""A fleet on lab hosts, for scenarios: writes inventories, runs pyinfra as a user would, looks at hosts.

Imports the lab's public face and nothing of the product: what a user sees is what counts.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from lab.lab import Lab

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
RELEASES = "ollama/ollama/releases/download"
MIRROR = "http://10.77.0.2"
PROVED = "Verify | Prove that every slice serves from its own GPU"


def comes(so: Callable[[], bool], within_s: float = 20) -> bool:
    """Whether it is so before long: after a reload old workers take connections for another moment."""
    ends = time.monotonic() + within_s
    while not so():
        if time.monotonic() > ends:
            return False
        time.sleep(0.2)
    return True


@dataclass(frozen=True)
class Run:
    """One finished pyinfra run."""

    code: int
    text: str
    report: dict[str, Any] | None = None

    def changed(self) -> dict[str, list[str]]:
        """Hosts that each operation changed; empty when nothing changed.

        What the host keeps as proved goes with every change, so it counts only by itself.
        """
        assert self.report is not None, self.text
        operations = self.report["results"]["operations"]
        found = {op["name"]: op["success"] for op in operations if op["success"]}
        return {name: hosts for name, hosts in found.items() if name != PROVED} or found


@dataclass
class Fleet:
    """An inventory in a folder of its own, on lab hosts."""

    folder: Path
    lab: Lab
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    user: str = "root"
    version: str = "0.32.15"
    wishes: list[dict[str, Any]] = field(default_factory=list)
    mirror: str = MIRROR
    # Further keys of the inventory, over those that are written anyway.
    settings: dict[str, Any] = field(default_factory=dict)

    def add(self, host: str, *slices: dict[str, Any], **settings: Any) -> None:
        """Put `host` with these slices into the inventory."""
        self.hosts[host] = {
            "address": self.lab.address(host),
            "slices": list(slices),
            **settings,
        }

    @property
    def mirrored_driver(self) -> dict[str, Any]:
        """A `driver:` block for Debian 12 hosts: the lab's repository and the key that signs it."""
        served = "compute/cuda/repos"
        key = self.lab.paths.mirror / served / "debian12/x86_64/3bf863cc.pub"
        return {"repository": f"{MIRROR}/{served}", "key": str(key)}

    @property
    def inventory(self) -> Path:
        """The inventory as a Python file, written anew from what was added."""
        state = self.lab.paths.root
        content = {
            "version": 1,
            "ssh": {
                "user": self.user,
                "sudo": self.user != "root",
                "key": str(state / "ssh/id_ed25519"),
                "known_hosts": str(state / "ssh/known_hosts"),
            },
            "ollama": {
                "version": self.version,
                "sha256_file": str(state / f"mirror/{RELEASES}/v{self.version}/sha256sum.txt"),
                "release_url": f"{self.mirror}/{RELEASES}",
                "registry": self.mirror,
            },
            "hosts": self.hosts,
            **({"wishes": self.wishes} if self.wishes else {}),
            **self.settings,
        }
        (self.folder / "test.yml").write_text(yaml.safe_dump(content, sort_keys=False))
        script = self.folder / "test.py"
        script.write_text(
            "from ollama_fleet.inventory import gateways_among, load, mirrors_among\n\n"
            "hosts = load(__file__)\nmirrors = mirrors_among(hosts)\n"
            "gateways = gateways_among(hosts)\n"
        )
        return script

    def command(self, *options: str) -> list[str]:
        """The command line a user would type."""
        return [str(BIN / "pyinfra"), str(self.inventory), "deploy.py", *options]

    def deploy(self, *options: str) -> Run:
        """Deploy without asking, and read pyinfra's own report."""
        done = self._run("-y", "--json", *options)
        try:
            return Run(done.returncode, done.stdout + done.stderr, json.loads(done.stdout))
        except ValueError:
            return Run(done.returncode, done.stdout + done.stderr)

    def deploy_mirror(self, *options: str) -> Run:
        """Deploy the mirrors only; a fleet has hosts as well, which are left alone."""
        if not self.hosts:
            self.hosts["nobody"] = {"address": "10.77.0.254", "slices": []}
        return self.deploy("--limit", "mirrors", *options)

    def verify(self, *options: str) -> Run:
        """Ask the machines, and change nothing."""
        words = [str(BIN / "fleet"), "verify", str(self.inventory.with_suffix(".yml")), *options]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
        return Run(done.returncode, done.stdout + done.stderr)

    def look(self, *options: str) -> Run:
        """A dry run."""
        done = self._run("--dry", *options)
        return Run(done.returncode, done.stdout + done.stderr)

    def _run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYINFRA_PROGRESS": "off"},
        )

    def outside(self, url: str) -> int:
        """Status of a request from the outer machine, which is no host."""
        return httpx.get(url, trust_env=False).status_code

    def sh(self, host: str, command: str) -> str:
        """Output of a shell command on a host; it must succeed."""
        done = self.lab.ssh(host, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return str(done.stdout).strip()

    def pids(self, host: str, *slices: str) -> dict[str, str]:
        """Main process of each slice."""
        return {
            name: self.sh(host, f"systemctl show -p MainPID --value ollama-{name}.service")
            for name in slices
        }
