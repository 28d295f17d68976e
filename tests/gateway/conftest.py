"""A gateway's nginx on this machine for each test file. What it needs, apt brings, where one is root."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway.balancer import Balancer, usual
from tests.gateway.front import Front, free_port, plan
from tests.programs import bring

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
    """What tests here need."""
    bring(NEEDED)


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
