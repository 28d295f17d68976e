"""How downloads are started on a host, with the systemd that it has."""

import subprocess
from pathlib import Path

import pytest

from ollama_fleet.fetching import FetchUnit, start_step

# What systemd-run knows none of. RHEL 8's has lost a comma between these two in its table of properties.
OLD = "RestrictSUIDSGID LockPersonality ProtectProc ProtectClock ProtectHostname ProtectKernelLogs"


@pytest.mark.parametrize(("version", "restricted"), [("239 (239-82.el8)", 0), ("252 (252.39)", 1)])
def test_a_download_starts_with_every_systemd_that_is_not_too_old(
    tmp_path: Path, version: str, restricted: int
) -> None:
    refused = OLD if version.startswith("239") else ""
    tools = {
        "systemctl": f'[ "$1" = --version ] && echo "systemd {version}"',
        "systemd-run": f"""echo "$@" >{tmp_path}/said
for name in {refused}; do
    case "$*" in *"$name="*) echo "Unknown assignment: $name" >&2; exit 1 ;; esac
done""",
    }
    for name, text in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    fetch = FetchUnit("fetch-x", str(tmp_path / "job"), str(tmp_path), "ollama")
    step = start_step(fetch, "x", {"https_proxy": "http://a b"}).replace(
        fetch.state, str(tmp_path / "state")
    )
    script = (
        f'set -eu\nsay() {{ :; }}\nfail() {{ echo "$*" >&2; exit 1; }}\nmain() {{\n{step}\n}}\nmain'
    )
    done = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = (tmp_path / "said").read_text()
    assert said.count("RestrictSUIDSGID=yes") == said.count("LockPersonality=yes") == restricted
    assert said.endswith(f"ollama-fetch run {tmp_path}/job {tmp_path}/state\n")
