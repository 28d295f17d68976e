"""Programs that tests need on this machine: apt brings those that are missing, where one is root.

`python -m tests.programs` brings what tests skip themselves without.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

# Program to the Debian package that has it.
SKIPPED_WITHOUT = {
    "/usr/bin/promtool": "prometheus",
    "/usr/bin/jq": "jq",
    "/usr/bin/ssh-agent": "openssh-client",
    "/usr/bin/gawk": "gawk",
}


def bring(needed: Mapping[str, str]) -> None:
    """Install the packages of programs that are not there. Of several workers the first installs, the
    others wait."""
    with (Path(tempfile.gettempdir()) / "ollama-fleet-test-programs").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = sorted({name for path, name in needed.items() if not Path(path).exists()})
        if missing:
            _install(missing)


def _install(packages: list[str]) -> None:
    apt = shutil.which("apt-get")
    assert apt and os.geteuid() == 0, f"install {' and '.join(packages)}, or run this as root"
    # invoke-rc.d asks it, and 101 is no: no service is started here.
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt_get = [apt, "-qq", "-o", "DPkg::Lock::Timeout=300"]
    install = ["install", "--yes", "--no-install-recommends", *packages]
    try:
        subprocess.run([*apt_get, "update"], env=environment, check=True)
        subprocess.run([*apt_get, *install], env=environment, check=True)
    finally:
        if ours:
            policy.unlink()


if __name__ == "__main__":
    bring(SKIPPED_WITHOUT)
