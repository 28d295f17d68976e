"""The lab's hosts are as real as they say: Docker runs containers, the kernel filters devices."""

from lab.lab import Lab
from tests.lab.fleet import Fleet

# A tree small enough to import: a shell and what it needs.
IMAGE = """
set -e
tree=$(mktemp -d)
for file in /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*'); do cp --parents -L "$file" "$tree"; done
tar -C "$tree" -c . | docker import - tiny >/dev/null
"""


def test_a_real_docker_runs_a_container(fleet: Fleet, t2: str) -> None:
    fleet.sh(t2, "apt-get -qq update && apt-get -qq install -y docker.io >/dev/null 2>&1")
    fleet.sh(t2, IMAGE)
    said = fleet.sh(t2, "docker run --rm --network none tiny /bin/sh -c 'echo from inside'")
    assert said == "from inside"


def test_the_kernel_filters_devices_by_unit(fleet: Fleet, t1: str) -> None:
    opened = fleet.sh(
        t1,
        "systemd-run -q --pipe --wait -p DevicePolicy=closed -p 'DeviceAllow=/dev/nvidia0 rw' "
        "sh -c 'for n in 0 1; do (: <>/dev/nvidia$n) 2>/dev/null && echo open $n; done; true'",
    )
    assert opened == "open 0"


def test_a_host_has_no_way_out_but_its_mirror(fleet: Fleet, lab: Lab, t1: str) -> None:
    assert fleet.sh(t1, "ip route show default") == ""
    assert "10.77.0.2" in fleet.sh(t1, "cat /etc/apt/sources.list.d/*.sources")
