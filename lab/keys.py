"""SSH and archive keys of the lab: made once, kept when hosts are made again."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.network import assign_address
from lab.state import LabPaths, write_text


def ensure_login_key(paths: LabPaths) -> str:
    """The public half of the key that opens every lab host."""
    _ensure_ssh_key(paths.ssh_key, "lab")
    return paths.ssh_key.with_suffix(".pub").read_text()


def ensure_host_key(paths: LabPaths, name: str) -> Path:
    key = paths.host_keys / name
    _ensure_ssh_key(key, name)
    return key


def write_known_hosts(paths: LabPaths) -> None:
    """Known by name and by address, so that no connection to a lab host ever asks."""
    lines = []
    for public in sorted(paths.host_keys.glob("*.pub")):
        kind, key = public.read_text().split()[:2]
        lines.append(f"{public.stem},{assign_address(paths, public.stem)} {kind} {key}\n")
    write_text(paths.known_hosts, "".join(lines))


def ensure_archive_key(paths: LabPaths) -> None:
    """The key that signs the lab's apt repository; `public.gpg` goes into every host."""
    if (paths.archive_key / "public.gpg").exists():
        return
    paths.archive_key.mkdir(parents=True, exist_ok=True)
    paths.archive_key.chmod(0o700)
    with gpg_home() as gpg:
        identity = "Lab archive <lab@localhost>"
        gpg("--passphrase", "", "--quick-generate-key", identity, "ed25519", "sign", "never")
        secret = gpg("--armor", "--export-secret-keys")
        (paths.archive_key / "secret.asc").write_bytes(secret)
        (paths.archive_key / "public.gpg").write_bytes(gpg("--export"))


@contextmanager
def gpg_home() -> Iterator[Gpg]:
    """A short-lived key ring: its agent ends with it, and its socket's path stays short."""
    with tempfile.TemporaryDirectory(prefix="lab-gpg-") as home:
        try:
            yield Gpg(home)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True)


class Gpg:
    """Calls gpg with one key ring; the answer is its standard output."""

    def __init__(self, home: str) -> None:
        self.home = home

    def __call__(self, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", self.home, "--batch", "--quiet", *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout


def _ensure_ssh_key(path: Path, comment: str) -> None:
    if path.exists() and path.with_suffix(".pub").exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
