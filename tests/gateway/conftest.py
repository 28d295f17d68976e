"""A gateway's nginx on this machine for each test file. What it needs, apt brings, where one is root."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.balancer import Balancer, usual
from tests.gateway.front import Front, free_port, plan

# What has to be there: the package that brings it.
NEEDED = {
    "/usr/sbin/nginx": "nginx",
    "/usr/lib/nginx/modules/ngx_http_js_module.so": "libnginx-mod-http-js",
    "/usr/sbin/haproxy": "haproxy",
    "/usr/bin/openssl": "openssl",
    "/usr/sbin/nft": "nftables",
}


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    """What tests here need. Of several workers the first installs, the others wait."""
    with (Path(tempfile.gettempdir()) / "ollama-fleet-gateway-programs").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = sorted(name for path, name in NEEDED.items() if not Path(path).exists())
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


@pytest.fixture(scope="module")
def make_front(
    programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Front]]:
    """Starts a gateway's nginx; the plan may be changed."""
    running: list[Front] = []

    def make(**changed: Any) -> Front:
        folder = tmp_path_factory.mktemp("gw")
        (folder / "run").mkdir()
        front = Front(folder, plan(**changed), free_port(), Balancer(folder / "run/pools.sock"))
        running.append(front)
        front.start()
        return front

    yield make
    for front in running:
        front.stop()
        front.balancer.close()


@pytest.fixture(scope="module")
def module_front(make_front: Callable[..., Front]) -> Front:
    """The usual one, the same for all tests of a file."""
    return make_front()


@pytest.fixture
def front(module_front: Front) -> Front:
    """The usual one, behind which nothing is left of the test before."""
    module_front.balancer.requests.clear()
    module_front.balancer.broken.clear()
    module_front.balancer.reply = usual
    return module_front
