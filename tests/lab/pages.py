"""What pages tell a reader to type, and a folder in which it is typed."""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.lab import Lab
from tests.lab.fleet import MIRROR, RELEASES, ROOT

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks(page: str, language: str) -> list[str]:
    """Code blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [body for found, body in BLOCK.findall(text) if found == language]


def commands(block: str) -> list[str]:
    """Its command lines, without comments; a line that ends in a backslash goes on."""
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    return [line for line in (re.sub(r"(^|\s+)#.*", "", line).rstrip() for line in lines) if line]


def asks(line: str) -> bool:
    """Whether a command asks before it does something."""
    return line.endswith("deploy.py") or ("key add" in line and "--yes" not in line)


@dataclass
class Reader:
    """Somebody with a clone of the repository and lab hosts instead of their own.

    `hosts` maps names of the pages' inventories to lab hosts. What differs from what a page says is done by
    `typed` and `write`: addresses, the login, and where releases come from.
    """

    folder: Path
    lab: Lab
    hosts: dict[str, str]

    def prepare(self) -> None:
        """The clone: what git knows, with the environment that `make setup` has made."""
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
        installed = (ROOT / ".venv/.installed").stat().st_mtime
        for name in filter(None, names.decode().split("\0")):
            if not (ROOT / name).is_file():
                continue
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
            os.utime(target, (installed - 1, installed - 1), follow_symlinks=False)
        (self.folder / ".venv").symlink_to(ROOT / ".venv")
        (self.folder / ".lab").symlink_to(self.lab.paths.root)

    def write(self, path: str, described: dict[str, Any]) -> None:
        """A page's inventory into the clone, with lab hosts."""
        state = self.lab.paths.root
        described["ssh"] = {
            "user": "root",
            "key": str(state / "ssh/id_ed25519"),
            "known_hosts": str(state / "ssh/known_hosts"),
        }
        described["ollama"] = {"release_url": f"{MIRROR}/{RELEASES}", "registry": MIRROR}
        for name, host in described["hosts"].items():
            host["address"] = self.lab.address(self.hosts[name])
            host["driver"] = {"manage": False}
        (self.folder / path).write_text(yaml.safe_dump(described, sort_keys=False))

    def typed(self, line: str) -> str:
        """A command line for this site."""
        sums = self.lab.paths.mirror / RELEASES / "v0.32.15/sha256sum.txt"
        if asks(line):  # and so wants a terminal
            line = f"script -qefc {shlex.quote(line)} /dev/null"
        line = re.sub(r"(fleet pin ollama 0\.32\.15)", rf"\1 --from {sums}", line)
        key = f"-i {self.lab.paths.root}/ssh/id_ed25519 -o StrictHostKeyChecking=no"
        for name, host in self.hosts.items():
            line = line.replace(f"root@{name}", f"root@{self.lab.address(host)}")
        return line.replace(
            "ssh -i ~/.ssh/id_ed25519", f"ssh {key} -o UserKnownHostsFile=/dev/null"
        )

    def type(self, line: str, **variables: str) -> str:
        """What a command prints; it must end well."""
        done = subprocess.run(
            ["bash", "-c", self.typed(line)],
            cwd=self.folder,
            # The clone's own package, as after `make setup` in it.
            env=os.environ
            | {"PYINFRA_PROGRESS": "off", "PYTHONPATH": str(self.folder), **variables},
            input="\n" if line.endswith("deploy.py") else "y\n",
            capture_output=True,
            text=True,
            timeout=600,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{line}\n{said[-6000:]}"
        assert "Traceback" not in said, f"{line}\n{said[-6000:]}"
        return said
