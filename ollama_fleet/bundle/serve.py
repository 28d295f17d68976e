"""A bundle served by this machine's own nginx, and the lines by which an inventory uses it."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from ollama_fleet.sources import MANIFEST_TYPE, REGISTRY_PATH, TREE, sources_at
from ollama_fleet.templating import render

# Where nginx may be, though a user's PATH does not say so.
PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/bin")
LISTEN = re.compile(r"(?P<host>[0-9.]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
STARTS_WITHIN_S = 1.0


class ServeError(Exception):
    """The bundle cannot be served here; says why, and what to do."""


@dataclass(frozen=True)
class Address:
    """An address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host.startswith("127.") or self.host == "[::1]"

    @property
    def is_any(self) -> bool:
        """Whether it is all addresses of this machine."""
        return self.host in ("0.0.0.0", "[::]")


def read_address(text: str) -> Address:
    """`10.0.0.5:8480` → Address. Raises ServeError."""
    found = LISTEN.fullmatch(text)
    if not found or not 0 < int(found["port"]) < 65536:
        raise ServeError(
            f"'{text}' is no address to listen on; write it as 10.0.0.5:8480, or [::1]:8480"
        )
    return Address(found["host"], int(found["port"]))


def mirror_lines(url: str) -> dict[str, Any]:
    """What an inventory says to fetch everything from the bundle at `url`."""
    return {"mirrors": {"bundle": {"url": url, "manage": False}}}


def inventory_lines(bundle: Path, url: str) -> dict[str, Any]:
    """The same key by key, for what is in it; these go before any mirror."""
    at, said = sources_at(url), dict[str, Any]()
    ollama = {
        key: address
        for key, address, place in (
            ("release_url", at.releases, TREE.releases),
            ("registry", at.models, REGISTRY_PATH),
        )
        if (bundle / place.lstrip("/")).is_dir()
    }
    if ollama:
        said["ollama"] = ollama
    for key, place, address in (
        ("driver", TREE.driver, at.driver),
        ("container_toolkit", TREE.container_toolkit, at.container_toolkit),
    ):
        if (bundle / place.lstrip("/")).is_dir():
            said[key] = {"repository": address}
    return said


def configuration(folder: Path, address: Address) -> str:
    """nginx's configuration; everything that it writes goes to `folder`."""
    # A master that is root would serve as nobody, who may not read what is root's.
    user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() == 0 else None
    return render(
        "bundle.nginx.j2",
        folder=folder,
        listen=address,
        user=user,
        registry=REGISTRY_PATH,
        manifest_type=MANIFEST_TYPE,
    )


def serve(bundle: Path, address: Address, ready: Callable[[], None]) -> None:
    """Serve until a signal ends it; `ready` is called when it does. Raises ServeError."""
    nginx = _nginx()
    with TemporaryDirectory(prefix="fleet-bundle-") as name:
        folder = Path(name)
        folder.joinpath("bundle").symlink_to(bundle.resolve(), target_is_directory=True)
        config = folder / "nginx.conf"
        config.write_text(configuration(folder, address), encoding="utf-8")
        said = folder / "said"
        with said.open("w") as errors, _ended_by_signals() as ended:
            process = subprocess.Popen(
                [nginx, "-p", f"{folder}/", "-e", "stderr", "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                # A Ctrl-C is for this process, which then ends that one.
                start_new_session=True,
            )
            try:
                _wait_until_it_serves(process, folder, said, address)
                ready()
                while process.poll() is None and not ended():
                    time.sleep(0.1)
            finally:
                code = process.poll()
                _end(process)
        if code is not None:
            raise ServeError(f"nginx ended by itself: {_last_words(said)}")


def _nginx() -> str:
    found = shutil.which("nginx") or shutil.which("nginx", path=os.pathsep.join(PLACES))
    if not found:
        raise ServeError(
            "nginx is not installed on this machine; `apt-get install nginx` or `dnf install nginx` does "
            "that. Any other server of files does as well, see docs/offline.md"
        )
    return found


def _wait_until_it_serves(
    process: "subprocess.Popen[bytes]", folder: Path, said: Path, address: Address
) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while not (folder / "pid").exists() or not (folder / "pid").read_text().strip():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServeError(f"nginx cannot serve at {address}: {_last_words(said)}")
        time.sleep(0.02)


def _last_words(said: Path) -> str:
    lines = [line for line in said.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _ended_by_signals() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM are noted instead of ending this process in the middle of things."""
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
