"""Containers of a real Docker get the GPUs, and nothing that ran is stopped for it."""

import json
from collections.abc import Callable

import pytest
import yaml

from lab.lab import Lab
from tests.lab import asking
from tests.lab.conftest import bare
from tests.lab.fleet import MIRROR, Fleet

REPOSITORY = f"{MIRROR}/libnvidia-container"
PACKAGES = (
    *("nvidia-container-toolkit", "nvidia-container-toolkit-base"),
    *("libnvidia-container-tools", "libnvidia-container1"),
)
# A tree small enough to import: a shell and what it needs.
IMAGE = """
set -e
tree=$(mktemp -d)
for file in /bin/sh $(ldd /bin/sh | grep -o '/[^ ]*'); do cp --parents -L "$file" "$tree"; done
tar -C "$tree" -c . | docker import - tiny >/dev/null
"""
# It waits on its open standard input, and never ends by itself.
WAIT = "/bin/sh -c 'read line'"
# Docker would give every capability that the kernel knows, more than a lab host has itself.
FEW = "/usr/local/bin/few"
FEW_CAPABILITIES = """#!/usr/bin/python3
import json, os, sys
def limit(path, key=None):
    with open(path) as file:
        config = json.load(file)
    process = config[key] if key else config
    process["capabilities"] = dict.fromkeys(process["capabilities"], ["CAP_DAC_OVERRIDE"])
    with open(path, "w") as file:
        json.dump(config, file)
words = sys.argv[1:]
if "create" in words:
    limit(words[words.index("--bundle") + 1] + "/config.json", "process")
elif "exec" in words:
    limit(words[words.index("--process") + 1])
os.execvp("runc", ["runc", *words])
"""
INSTALLED = "dpkg-query -W -f '${{Version}}\\n' {names} | sort -u".format(names=" ".join(PACKAGES))
RUNTIME = "/usr/bin/nvidia-container-runtime"
GPU_OF = "docker run --rm --network none --runtime nvidia -e NVIDIA_VISIBLE_DEVICES={} ollama-fleet/probe"


@pytest.fixture
def tc(lab: Lab) -> str:
    """A bare host with two RTX 3090, for containers."""
    return bare(lab, "tc", "2x-rtx3090")


@pytest.fixture
def rocky(lab: Lab) -> str:
    """A host with dnf and rpm; it has no driver, which these tests do without."""
    return bare(lab, "tcr", "bare-rocky9-2x-rtx3090")


def toolkit_of(fleet: Fleet) -> dict[str, object]:
    """The lab's repository for the toolkit, and its key."""
    keys = yaml.safe_load((fleet.lab.paths.mirror / "fingerprints.yml").read_text())
    return {"repository": REPOSITORY, "key_fingerprint": keys["toolkit"]}


@pytest.fixture
def serving(fleet: Fleet, tc: str) -> Callable[..., None]:
    """Puts the host into the inventory, with one slice on its first GPU."""

    def add(**settings: object) -> None:
        slices = {"name": "small", "gpus": [0], "models": ["qwen3:0.6b"]}
        fleet.add(tc, slices, **{"container_toolkit": toolkit_of(fleet), **settings})

    return add


def with_docker(fleet: Fleet, host: str, daemon_json: str) -> None:
    """A host on which somebody runs Docker already, with a container that must not stop."""
    fleet.sh(host, f"mkdir -p /etc/docker && printf '{daemon_json}' >/etc/docker/daemon.json")
    fleet.sh(host, "apt-get -qq update && apt-get -qq install -y docker.io >/dev/null 2>&1")
    fleet.sh(host, IMAGE)
    fleet.sh(host, f"docker run -d -i --name web --network none tiny {WAIT}")


def started(fleet: Fleet, host: str, name: str) -> str:
    return fleet.sh(
        host, f"docker inspect -f '{{{{.State.StartedAt}}}} {{{{.State.Status}}}}' {name}"
    )


@pytest.mark.breaks("docker container")
def test_pain_14_docker_keeps_its_settings_and_its_containers(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    with_docker(
        fleet, tc, '{\\n\\t"log-driver": "journald",\\n\\t"features": {"buildkit": true}\\n}\\n'
    )
    before = started(fleet, tc, "web")
    serving()

    first = fleet.deploy()

    assert first.code == 0, first.text
    assert started(fleet, tc, "web") == before
    assert before.endswith("running")
    text = fleet.sh(tc, "cat /etc/docker/daemon.json")
    assert text.splitlines()[1] == '\t"log-driver": "journald",'
    assert json.loads(text)["features"] == {"buildkit": True}
    assert "nvidia" in json.loads(fleet.sh(tc, "docker info --format '{{json .Runtimes}}'"))
    assert fleet.sh(tc, f"{GPU_OF.format('all')} nvidia-smi -L") == fleet.sh(tc, "nvidia-smi -L")
    assert "GPU-" in fleet.sh(tc, f"{GPU_OF.format(1)} nvidia-smi -L")
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text
    fleet.sh(tc, f"mv {RUNTIME} /root")
    assert "0 devices" in asking.of_host(fleet, tc)["host", "docker container"].found
    fleet.sh(tc, f"mv /root/{RUNTIME.rpartition('/')[2]} {RUNTIME}")
    assert asking.of_host(fleet, tc) == {}


def test_pain_14_docker_restarts_around_its_containers_where_live_restore_is_on(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    with_docker(fleet, tc, '{"live-restore": true}')
    container, daemon = started(fleet, tc, "web"), main_pid(fleet, tc)
    serving()

    run = fleet.deploy()

    assert run.code == 0, run.text
    assert "restarting docker.service for `--gpus`" in run.text
    assert main_pid(fleet, tc) != daemon
    assert started(fleet, tc, "web") == container
    assert container.endswith("running")
    gpus = "docker run --rm --network none --gpus all ollama-fleet/probe nvidia-smi -L"
    assert fleet.sh(tc, gpus) == fleet.sh(tc, "nvidia-smi -L")
    assert json.loads(fleet.sh(tc, "cat /etc/docker/daemon.json"))["live-restore"] is True
    restarted = main_pid(fleet, tc)
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text
    assert main_pid(fleet, tc) == restarted


def main_pid(fleet: Fleet, host: str) -> str:
    return fleet.sh(host, "systemctl show -p MainPID --value docker.service")


@pytest.mark.breaks("container toolkit")
def test_pain_15_a_half_pinned_old_set_is_lifted_in_one_piece(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    stale = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
    corporate = "/etc/apt/sources.list.d/corporate.list"
    with_docker(fleet, tc, "{}")
    line = f"deb [trusted=yes] {REPOSITORY}/stable/deb/amd64 /"
    keyring = "/usr/share/keyrings/lab-archive-keyring.gpg"
    archive = f"deb [signed-by={keyring}] {MIRROR}/debian bookworm main"
    fleet.sh(tc, f"echo '{line}' >{stale}; printf '{archive}\\n{line}\\n' >{corporate}")
    old = " ".join(f"{name}=1.17.7-1" for name in PACKAGES[:3])
    install = f"apt-get -qq install -y {old} {PACKAGES[3]}=1.17.8-1 >/dev/null 2>&1"
    fleet.sh(tc, f"apt-get -qq update && {install}")
    assert fleet.sh(tc, INSTALLED).split() == ["1.17.7-1", "1.17.8-1"]
    serving()
    found = asking.of_host(fleet, tc)["host", "container toolkit"]
    assert found.failed and "nvidia-container-toolkit 1.17.7" in found.found

    run = fleet.deploy()

    assert run.code == 0, run.text
    assert fleet.sh(tc, INSTALLED) == "1.20.0-1"
    assert fleet.sh(tc, f"ls {stale}*") == f"{stale}.disabled"
    kept = [archive, f"# taken out by Ollama Fleet: {line}"]
    assert fleet.sh(tc, f"cat {corporate}").splitlines() == kept
    fleet.sh(tc, "apt-get -qq update")
    assert "toolkit" not in fleet.sh(tc, "apt-get -s dist-upgrade | grep ^Inst || true")


def test_pain_15_an_older_version_that_was_asked_for_stays_over_upgrades(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    toolkit = {**toolkit_of(fleet), "version": "1.17.8"}
    serving(container_toolkit=toolkit, container_runtime="docker")

    run = fleet.deploy()

    assert run.code == 0, run.text
    assert fleet.sh(tc, INSTALLED) == "1.17.8-1"
    assert "1.20.0-1" in fleet.sh(tc, f"apt-get -qq update && apt-cache madison {PACKAGES[0]}")
    upgraded = fleet.sh(tc, "apt-get -s dist-upgrade")
    assert not [line for line in upgraded.splitlines() if "nvidia" in line], upgraded
    # This version brings no unit that refreshes the specification: ours does.
    assert fleet.sh(tc, "systemctl is-active fleet-cdi.service") == "active"
    assert fleet.sh(tc, "systemctl is-enabled fleet-cdi.service") == "enabled"
    assert "nvidia.com/gpu=all" in fleet.sh(tc, "nvidia-ctk cdi list 2>&1")
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text


def test_an_installation_that_lost_its_power_is_finished(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    serving(container_runtime="docker")
    assert fleet.deploy().code == 0
    fleet.sh(tc, f"apt-get -qq remove -y {PACKAGES[1]} >/dev/null 2>&1")
    # As dpkg leaves it when it is cut off: what it knows last of a package is not in its list yet.
    fleet.sh(tc, "dpkg -s bash >/var/lib/dpkg/updates/0000")
    assert "dpkg was interrupted" in fleet.sh(tc, "apt-get install -y bash 2>&1 || :")

    run = fleet.deploy()

    assert run.code == 0, run.text
    assert "finishing what it was at" in run.text
    assert fleet.sh(tc, INSTALLED) == "1.20.0-1"


def test_pain_14_docker_is_installed_beside_an_empty_daemon_json(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    fleet.sh(tc, "mkdir -p /etc/docker && : >/etc/docker/daemon.json")
    serving(container_runtime="docker")

    run = fleet.deploy()

    assert run.code == 0, run.text
    # Nothing ran, so Docker was restarted, and knows the old way to ask for GPUs as well.
    seen = fleet.sh(
        tc, "docker run --rm --network none --gpus all ollama-fleet/probe nvidia-smi -L"
    )
    assert seen == fleet.sh(tc, "nvidia-smi -L")
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text


COMMENTED = """{
  // moved by ops, see the wiki
  "log-driver": "local", /* was
                            journald */
  "features": {
    "buildkit": false,
  },
}
"""


def test_pain_14_a_daemon_json_with_comments_lets_docker_start_and_keeps_its_settings(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    file = "/etc/docker/daemon.json"
    fleet.sh(tc, f"mkdir -p /etc/docker && cat >{file} <<'end'\n{COMMENTED}end\nchmod 640 {file}")
    serving(container_runtime="docker")

    run = fleet.deploy()

    assert run.code == 0, run.text
    text = fleet.sh(tc, f"cat {file}")
    assert text.splitlines()[1] == '  "log-driver": "local",'
    assert list(json.loads(text)) == ["log-driver", "features", "runtimes"]
    assert json.loads(text)["features"] == {"buildkit": False}
    assert fleet.sh(tc, f"stat -c %a {file}") == "640"
    assert fleet.sh(tc, f"cat {file}.before-fleet") == COMMENTED.strip()
    assert fleet.sh(tc, "docker info --format '{{.LoggingDriver}}'") == "local"
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text


def test_pain_14_a_daemon_json_that_nobody_understands_is_refused_untouched(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    fleet.sh(tc, 'mkdir -p /etc/docker && printf \'{\\n"a": 1\\n"b": 2}\' >/etc/docker/daemon.json')
    before = fleet.sh(tc, "sha256sum /etc/docker/daemon.json; ls /opt")
    serving(container_runtime="docker")

    run = fleet.deploy()

    assert run.code != 0
    assert "daemon.json cannot be understood: line 3" in run.text
    assert fleet.sh(tc, "sha256sum /etc/docker/daemon.json; ls /opt") == before


def test_pain_12_containers_keep_their_gpus_when_we_reload_systemd(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    serving(container_runtime="docker")
    assert fleet.deploy().code == 0
    run = f"docker run -d -i --network none --name {{}} {{}} ollama-fleet/probe {WAIT}"
    fleet.sh(tc, run.format("hooked", "--gpus all"))
    fleet.sh(tc, run.format("cdi", "--runtime nvidia -e NVIDIA_VISIBLE_DEVICES=1"))
    lists = {name: fleet.sh(tc, f"docker exec {name} nvidia-smi -L") for name in ("hooked", "cdi")}
    fleet.hosts[tc]["slices"][0]["context"] = 8192  # a changed unit: systemd is reloaded for it

    assert fleet.deploy().code == 0
    fleet.sh(tc, "systemctl daemon-reload")  # and whoever else does it later

    for name, listed in lists.items():
        assert fleet.sh(tc, f"docker exec {name} nvidia-smi -L") == listed
    # What that protects from: the old hook's container, started after the deploy, loses them.
    fleet.sh(tc, run.format("later", "--gpus all"))
    fleet.sh(tc, "systemctl daemon-reload")
    assert "Unknown Error" in fleet.sh(tc, "docker exec later nvidia-smi -L || true")


def test_pain_12_a_container_keeps_its_devices_and_gets_none_that_it_had_not(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    serving(container_runtime="docker")
    assert fleet.deploy().code == 0
    fleet.sh(tc, "mknod /dev/scanner c 4 60")
    fleet.sh(tc, f"cat >{FEW} <<'end'\n{FEW_CAPABILITIES}end\nchmod +x {FEW}")
    settings = json.loads(fleet.sh(tc, "cat /etc/docker/daemon.json"))
    settings["runtimes"]["few"] = {"path": FEW}
    write = f"echo '{json.dumps(settings)}' >/etc/docker/daemon.json"
    fleet.sh(tc, f"{write} && systemctl reload docker")
    known = "docker info --format '{{json .Runtimes}}' | grep -q few"
    fleet.sh(tc, f"""timeout 60 sh -c "until {known}; do sleep 0.1; done" """)
    run = f"docker run -d -i --network none --name {{}} {{}} ollama-fleet/probe {WAIT}"
    fleet.sh(tc, run.format("privileged", "--privileged --runtime few"))
    fleet.sh(tc, run.format("mapped", "-v /dev:/dev"))
    fleet.sh(tc, f"{run.format('paused', '--gpus all')} && docker pause paused")
    names = ("privileged", "mapped")
    before = {name: opened(fleet, tc, name) for name in names}
    assert before == {"privileged": ["/dev/scanner", "/dev/nvidia0"], "mapped": []}
    rights = [device_rights(fleet, tc, name) for name in names]
    fleet.hosts[tc]["slices"][0]["context"] = 8192  # a changed unit: systemd is reloaded for it

    assert fleet.deploy().code == 0
    fleet.sh(tc, "systemctl daemon-reload")

    assert {name: opened(fleet, tc, name) for name in names} == before
    # Beside systemd's list stands runc's own, which may hide what ours would have opened.
    assert [device_rights(fleet, tc, name) for name in names] == rights
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text


def opened(fleet: Fleet, host: str, name: str) -> list[str]:
    """Which of a GPU and a device of another kind a container may open."""
    try_each = "for node in /dev/scanner /dev/nvidia0; do command : <>$node && echo $node; done; :"
    return fleet.sh(host, f"docker exec {name} /bin/sh -c '{try_each}' 2>/dev/null").split()


def device_rights(fleet: Fleet, host: str, name: str) -> str:
    scope = f"docker-$(docker inspect -f '{{{{.Id}}}}' {name}).scope"
    return fleet.sh(host, f"systemctl show -p DevicePolicy,DeviceAllow {scope} | sort")


# The lab's root is an overlay, and it has no control of process numbers: Podman has to be told.
PODMAN = """
mkdir -p /etc/containers
echo '[containers]\npids_limit=0' >/etc/containers/containers.conf
echo '[storage]\ndriver="overlay"\ngraphroot="/var/lib/docker/podman"\nrunroot="/run/containers/storage"' \
    >/etc/containers/storage.conf
apt-get -qq update
apt-get -qq install -y -o Dpkg::Options::=--force-confold podman containerd runc >/dev/null 2>&1
"""


@pytest.mark.breaks("cdi specification", "podman container", "containerd runtime")
def test_podman_and_containerd_get_gpus_and_lose_no_runtime(
    fleet: Fleet, tc: str, serving: Callable[..., None]
) -> None:
    fleet.sh(tc, PODMAN)
    serving()

    run = fleet.deploy()

    assert run.code == 0, run.text
    # Podman 4.3 cannot read the newest specification, and would know no device of it.
    run_podman = "podman run --rm --network none --device nvidia.com/gpu={} ollama-fleet/probe"
    seen = fleet.sh(tc, f"{run_podman.format('all')} nvidia-smi -L")
    assert seen == fleet.sh(tc, "nvidia-smi -L")
    runtimes = fleet.sh(tc, "containerd config dump | grep -oE 'runtimes[.](runc|nvidia)[]]'")
    assert runtimes.split() == ["runtimes.nvidia]", "runtimes.runc]"]
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text
    fleet.sh(tc, "mkdir /root/away; mv /var/run/cdi /etc/containerd /root/away")
    found = {check: result.found for (_, check), result in asking.of_host(fleet, tc).items()}
    fleet.sh(tc, "mv /root/away/cdi /var/run; mv /root/away/containerd /etc")
    assert found.keys() == {"cdi specification", "podman container", "containerd runtime"}
    assert found["cdi specification"] == "without 0, 1"
    assert found["podman container"].startswith("0 devices (")
    assert "nvidia.com/gpu" in found["podman container"]
    assert found["containerd runtime"] == "not configured"
    assert asking.of_host(fleet, tc) == {}


def test_pain_15_dnf_lifts_a_half_pinned_set_and_locks_it(fleet: Fleet, rocky: str) -> None:
    repo = f"[old]\\nname=old\\nbaseurl={REPOSITORY}/stable/rpm/$basearch\\ngpgcheck=0\\n"
    fleet.sh(rocky, f"printf '{repo}' >/etc/yum.repos.d/libnvidia-container.repo")
    old = " ".join(f"{name}-1.17.7-1" for name in PACKAGES[:3])
    fleet.sh(rocky, f"dnf -q -y install {old} {PACKAGES[3]}-1.17.8-1 >/dev/null 2>&1")
    toolkit = {**toolkit_of(fleet), "install": True}
    fleet.add(rocky, container_toolkit=toolkit, driver={"manage": False})

    first = fleet.deploy()

    assert first.code == 0, first.text
    installed = f"rpm -q --qf '%{{VERSION}}\\n' {' '.join(PACKAGES)} | sort -u"
    assert fleet.sh(rocky, installed) == "1.20.0"
    assert fleet.sh(rocky, "ls /etc/yum.repos.d/libnvidia*").endswith(".repo.disabled")
    locked = fleet.sh(rocky, "grep -c 1.20.0-1 /etc/dnf/plugins/versionlock.list")
    assert locked == str(len(PACKAGES))
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text


def test_pain_15_dnf_holds_an_older_version_that_was_asked_for(fleet: Fleet, rocky: str) -> None:
    old = " ".join(f"{name}-1.17.7-1" for name in PACKAGES)
    repo = f"[old]\\nname=old\\nbaseurl={REPOSITORY}/stable/rpm/$basearch\\ngpgcheck=0\\n"
    fleet.sh(rocky, f"printf '{repo}' >/etc/yum.repos.d/libnvidia-container.repo")
    fleet.sh(rocky, f"dnf -q -y install {old} >/dev/null 2>&1")
    toolkit = {**toolkit_of(fleet), "install": True, "version": "1.17.8"}
    fleet.add(rocky, container_toolkit=toolkit, driver={"manage": False})

    run = fleet.deploy()

    assert run.code == 0, run.text
    installed = f"rpm -q --qf '%{{VERSION}}\\n' {' '.join(PACKAGES)} | sort -u"
    assert fleet.sh(rocky, installed) == "1.17.8"
    unlocked = fleet.sh(rocky, "dnf --assumeno --disableplugin=versionlock upgrade 2>&1 || :")
    assert "nvidia-container-toolkit" in unlocked and "1.20.0" in unlocked
    upgraded = fleet.sh(rocky, "dnf --assumeno upgrade 2>&1 || :")
    assert "nvidia" not in upgraded, upgraded
    assert fleet.sh(rocky, "systemctl is-enabled fleet-cdi.service") == "enabled"
    second = fleet.deploy()
    assert (second.code, second.changed()) == (0, {}), second.text
