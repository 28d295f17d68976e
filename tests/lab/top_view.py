"""`fleet top` over a fleet of lab hosts: one look as JSON, and what a live one leaves on them."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.lab.fleet import BIN, ROOT, Fleet


def look(fleet: Fleet, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code, and the JSON of one look."""
    done = subprocess.run(
        [BIN / "fleet", "top", str(fleet.inventory), "--once", "--json", *options],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def machine(found: dict[str, Any], name: str) -> dict[str, Any]:
    """One machine of a look."""
    return next(one for one in found["machines"] if one["name"] == name)


def alarms(found: dict[str, Any], host: str) -> set[tuple[str, str]]:
    """Subject and check of a host's alarms; what the kernel logged once stays for as long as the driver."""
    rows = [one for one in found["alarms"] if one["host"] == host and one["check"] != "xid"]
    return {(one["subject"], one["check"]) for one in rows}


@contextmanager
def live(fleet: Fleet) -> Iterator[subprocess.Popen[bytes]]:
    """A live view in a terminal that nobody looks at."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [BIN / "fleet", "top", str(fleet.inventory)],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        cwd=ROOT,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(inner)
    os.set_blocking(outer, False)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(outer)


def programs(fleet: Fleet, host: str) -> int:
    """How many of the view's programs run on a host."""
    return int(fleet.sh(host, "pgrep -fc '[#] fleet top' || :"))
