"""Each check finds what it is for: one thing is broken at a time, the checks say that and nothing else, with
what to do; and nothing any more when it is whole again.

One host and two gateways, deployed once; nothing here deploys again.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lab.lab import Lab
from ollama_fleet.checks import clock
from ollama_fleet.checks.outcome import Mode
from tests.lab import asking
from tests.lab.asking import Found
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, Fleet

HOST, GATEWAY = "ck1", "ck2"
FIRST, SECOND = "gpu 0000:17:00.0", "gpu 0000:31:00.0"
SHARED = "10.77.0.252/24"
CHAT = {"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:8b"]}
CODE = {"name": "code", "gpus": [1], "port": 11435, "models": ["qwen3:1.7b", "llama3.2:1b"]}
EXTRA = "qwen3:0.6b"
# What somebody changed by hand differs from the inventory as well, and that is told beside it.
BESIDES = {
    *("files", "drop-ins", "in force", "inventory", "foreign processes"),
    *("strange units", "other servers", "other stores", "unlisted models", "self check"),
}
MANIFESTS = "/var/lib/ollama/models/manifests/registry.ollama.ai/library"


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A host with two A100, settings, locked models and a firewall; two gateways that share an address."""
    made = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    bare(lab, GATEWAY, "no-gpu")
    made.add(
        bare(lab, HOST, "2x-a100-80gb"),
        *(CHAT, CODE),
        gpus=[{"model": "A100 80GB PCIe", "count": 2}],
        gpu_settings=[{"power_limit_w": 250}],
        models={"extra": [EXTRA]},
    )
    made.settings = {
        "gateway": {"virtual_address": {"address": SHARED}},
        "gateways": {GATEWAY: {"address": lab.address(GATEWAY)}, "here": {"host": HOST}},
        # Nobody is to mend what is broken here.
        "watchdog": {"enabled": False},
    }
    inventory = made.inventory.with_suffix(".yml")
    locked = subprocess.run([BIN / "fleet", "lock", inventory], capture_output=True, text=True)
    assert locked.returncode == 0, locked.stdout + locked.stderr
    run = made.deploy()
    assert run.code == 0, run.text
    yield made
    for name in (HOST, GATEWAY):
        lab.remove(name)


@dataclass(frozen=True)
class Case:
    """What is broken and how it is mended, by a fault of the lab or as root; what the checks then say.

    `found`: subject and check of everything that is not well, to some of the words in which it is said.
    """

    found: dict[tuple[str, str], str]
    fault: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    broken: str = ""
    mended: str = ""


def breaks(*kinds: str, **case: Any) -> Any:
    """A case; the kinds are those that it proves, by which `tests/unit` knows which have none."""
    made = Case(**case)
    assert set(kinds) <= {check for _, check in made.found}
    assert all(made.found.values())
    return pytest.param(made, id=re.sub(r"\W+", "-", kinds[0]), marks=pytest.mark.breaks(*kinds))


def each(check: str, words: str) -> dict[tuple[str, str], str]:
    """The same of both slices."""
    return {(name, check): words for name in ("chat", "code")}


def loaded(*slices: dict[str, Any]) -> str:
    """Waits until a slice has all of its models in memory."""
    lines = [
        f"until curl -s 127.0.0.1:{item['port']}/api/ps | grep -q '{model}'; do sleep 0.1; done"
        for item in slices
        for model in item["models"]
    ]
    return "\n".join(lines)


def answering(*slices: dict[str, Any]) -> str:
    """Waits until each of a slice's models gives a token, from whatever memory."""
    lines = [
        f"until curl -fs 127.0.0.1:{item['port']}/api/generate "
        f'-d \'{{"model": "{model}", "prompt": "a", "options": {{"num_predict": 1}}}}\'; do sleep 0.1; done'
        for item in slices
        for model in item["models"]
    ]
    return "\n".join(lines)


def drop_in(item: dict[str, Any], lines: str) -> dict[str, str]:
    """A drop-in by hand for one slice; mended, the slice runs as before."""
    name = item["name"]
    folder = f"/run/systemd/system/ollama-{name}.service.d"
    restart = f"systemctl daemon-reload; systemctl restart ollama-{name}; {loaded(item)}"
    return {
        "broken": f"mkdir -p {folder}; printf '[Service]\n{lines}\n' >{folder}/mine.conf; {restart}",
        "mended": f"rm {folder}/mine.conf; {restart}",
    }


OWN_OLLAMA = (
    "systemd-run -q --unit mine -E HOME=/tmp -E OLLAMA_HOST=0.0.0.0:12345 "
    "-E OLLAMA_MODELS=/tmp/mine /opt/ollama/current/bin/ollama serve; "
    "until curl -fs 127.0.0.1:12345/api/version; do sleep 0.1; done"
)
CRASHES = f"""count() {{ systemctl show -p NRestarts --value ollama-code; }}
for n in 1 2 3; do
    before=$(count)
    systemctl kill -s KILL ollama-code
    until [ "$(count)" -gt "$before" ] && systemctl is-active -q ollama-code; do sleep 0.1; done
done
{loaded(CODE)}"""
QUICKLY = (
    "mkdir -p /run/systemd/system/ollama-code.service.d; printf '[Service]\\nRestartSec=100ms\\n' \
>/run/systemd/system/ollama-code.service.d/mine.conf; systemctl daemon-reload"
)

DEPLOYING = """systemd-run -q --unit deploying sleep 1000
pid=$(systemctl show -p MainPID --value deploying)
mkdir -p -m 700 /run/ollama-fleet
printf '%s\\n' 'run another' 'who kim@laptop' 'since 12:00' \\
    "carrier $pid $(cut -d ' ' -f 22 /proc/$pid/stat)" >/run/ollama-fleet/owner"""

# Slices that lost their GPUs for a while may have gone to the CPU meanwhile, whoever asked them.
ANEW = f"systemctl restart ollama-chat ollama-code; {loaded(CHAT, CODE)}"

FULL_DISK = {
    "broken": "mount -t tmpfs -o size=64m tmpfs /var/log; head -c 63M /dev/zero >/var/log/big",
    "mended": "umount -l /var/log",
}
UNKEPT_CLOCK = {
    "broken": "mv /run/systemd/container /run/systemd/was",
    "mended": "mv /run/systemd/was /run/systemd/container",
}

LOOKS = "/opt/ollama/libexec/ollama-selfcheck now || true"

CASES = [
    breaks(
        *("gpu count", "driver", "plan"),
        found={
            ("host", "gpu count"): "0 in nvidia-smi, 2 on the PCI bus (Failed to initialize NVML: "
            "Driver/library version mismatch",
            ("host", "driver"): "575.57.08 loaded, 580.95.05 in user space",
            ("host", "plan"): "slice 'chat': no GPU 0; the host has none",
        },
        fault="wrong-driver",
        mended=ANEW,
    ),
    breaks(
        "driver flavour",
        found={("host", "driver flavour"): "open", ("host", "gpu count"): "2 in nvidia-smi, 3"},
        fault="card-unsupported",
    ),
    breaks(
        "persistence",
        found={("host", "persistence"): "off on 0000:17:00.0, 0000:31:00.0"},
        broken="nvidia-smi -pm 0",
        mended="nvidia-smi -pm 1",
    ),
    breaks(
        "next boot",
        found={("host", "next boot"): "no module"},
        broken="mkdir /lib/modules/6.99.0; touch /boot/vmlinuz-6.99.0",
        mended="rmdir /lib/modules/6.99.0; rm /boot/vmlinuz-6.99.0",
    ),
    breaks(
        "nvidia-uvm",
        found={
            ("host", "nvidia-uvm"): "not loaded: CUDA cannot start",
            **each("weights on gpu", "0 MiB held on its GPUs; Ollama says 0 of "),
            **each("speed", " tokens/s"),
        },
        fault="uvm-missing",
        # Whoever asks first is told of an error, the next one is served by the CPU: either may be the one
        # who looks at the slices' health.
        broken=answering(CHAT, CODE),
        mended=ANEW,
    ),
    breaks(
        "disk",
        found={("host", "disk"): "1 MiB free at /var/log"},
        **FULL_DISK,
    ),
    breaks(
        "clock",
        found={("host", "clock"): "as this machine; nothing sets it"},
        **UNKEPT_CLOCK,
    ),
    breaks(
        "deploy under way",
        found={("host", "deploy under way"): "kim@laptop deploys to it, since 12:00"},
        broken=DEPLOYING,
        mended="systemctl stop deploying; rm /run/ollama-fleet/owner",
    ),
    breaks(
        "self check",
        found={("host", "self check"): "not as when all was proved"},
        broken=f"systemctl disable -q ollama-chat; {LOOKS}; systemctl enable -q ollama-chat",
        mended=LOOKS,
    ),
    breaks(
        "release files",
        found={("host", "release files"): "bin/ollama: written since, or another's to write"},
        broken="chmod o+w /opt/ollama/current/bin/ollama",
        mended="chmod o-w /opt/ollama/current/bin/ollama",
    ),
    breaks(
        "stock unit",
        found={("host", "stock unit"): "active"},
        broken="systemd-run -q --unit ollama sleep 1000",
        mended="systemctl stop ollama",
    ),
    breaks(
        "locked weights",
        found={("host", "locked weights"): f"{EXTRA} is "},
        broken=f"echo >>{MANIFESTS}/qwen3/0.6b",
        mended=f"truncate -s -1 {MANIFESTS}/qwen3/0.6b",
    ),
    breaks(
        "gpu health",
        "row remapping",
        found={
            (SECOND, "row remapping"): "a memory row is replaced at the next reset",
            (SECOND, "gpu health"): "wants: Reset",
        },
        fault="row-remap-pending",
        parameters={"gpu": 1},
    ),
    breaks(
        "ecc",
        found={
            (SECOND, "ecc"): "3 uncorrected ECC errors since the driver loaded",
            (SECOND, "row remapping"): "a memory row is replaced at the next reset",
            (SECOND, "gpu health"): "wants: Reset",
        },
        fault="ecc",
        parameters={"gpu": 1},
    ),
    breaks(
        "throttling",
        found={(SECOND, "throttling"): "hardware; too hot: slowed down by its hardware"},
        fault="gpu-throttled",
        parameters={"gpu": 1},
    ),
    breaks(
        "pcie width",
        found={(SECOND, "pcie width"): "8 of 16 PCIe lanes: models load slower"},
        fault="pcie-narrow",
        parameters={"gpu": 1},
    ),
    breaks(
        "mig layout",
        found={(FIRST, "mig layout"): "MIG off"},
        broken="nvidia-smi -i 0 -mig 1",
        mended="nvidia-smi -i 0 -mig 0",
    ),
    breaks(
        "gpu settings",
        found={(FIRST, "gpu settings"): "200"},
        broken="nvidia-smi -i 0 -pl 200",
        mended="nvidia-smi -i 0 -pl 250",
    ),
    breaks(
        "unit",
        found={("chat", "unit"): "active, disabled"},
        broken="systemctl disable -q ollama-chat",
        mended="systemctl enable -q ollama-chat",
    ),
    breaks(
        "restarts",
        found={("code", "restarts"): "3 by systemd since it was started"},
        broken=f"{QUICKLY}; {CRASHES}",
        mended=drop_in(CODE, "")["mended"],
    ),
    breaks(
        "hardening",
        found={("code", "hardening"): "NoNewPrivileges=no"},
        **drop_in(CODE, "NoNewPrivileges=no"),
    ),
    breaks(
        "isolation",
        found={("chat", "isolation"): "may open /dev/nvidia0, /dev/nvidia1"},
        **drop_in(CHAT, "DeviceAllow=/dev/nvidia1 rw"),
    ),
    breaks(
        *("ports", "environment"),
        found={
            ("code", "ports"): "0.0.0.0:11435",
            ("code", "environment"): "OLLAMA_HOST=0.0.0.0:11435",
        },
        **drop_in(CODE, "Environment=OLLAMA_HOST=0.0.0.0:11435"),
    ),
    breaks(
        "ports",
        found={("host", "ports"): "an Ollama that is not planned"},
        broken=OWN_OLLAMA,
        mended="systemctl stop mine",
    ),
    breaks(
        *("gpu discovery", "weights on gpu", "speed"),
        found={
            ("chat", "gpu discovery"): "none by its log: it uses the CPU",
            ("chat", "environment"): "CUDA_VISIBLE_DEVICES=-1",
            ("chat", "weights on gpu"): "0 MiB held on its GPUs; Ollama says 0 of ",
            ("chat", "speed"): " tokens/s",
        },
        **drop_in(CHAT, "Environment=CUDA_VISIBLE_DEVICES=-1"),
    ),
    breaks(
        *("api", "inference"),
        found={
            ("code", "api"): "no answer",
            ("code", "unit"): "inactive, enabled",
            ("code", "environment"): "OLLAMA_HOST=(not set)",
            ("code", "isolation"): "may open none",
            ("code", "ports"): "at no port",
            ("code", "models"): "qwen3:1.7b, llama3.2:1b missing",
            ("code", "warm"): "qwen3:1.7b is not in memory; llama3.2:1b is not in memory",
            ("code", "inference"): "Failed to connect to 127.0.0.1",
            ("code", "weights on gpu"): "0 MiB held on its GPUs",
        },
        broken="systemctl stop ollama-code",
        mended=f"systemctl start ollama-code; {loaded(CODE)}",
    ),
    breaks(
        "models",
        found={("code", "models"): "llama3.2:1b missing"},
        broken=f"mv {MANIFESTS}/llama3.2/1b /root/manifest",
        mended=f"mv /root/manifest {MANIFESTS}/llama3.2/1b",
    ),
    breaks(
        "in service",
        found={("code", "in service"): f"{HOST}.code is"},
        broken="mkdir -p /var/lib/ollama/drained; echo tired >/var/lib/ollama/drained/code",
        mended="rm /var/lib/ollama/drained/code",
    ),
    breaks(
        "ollama-hop",
        found={("host", "ollama-hop"): "inactive, enabled"},
        broken="systemctl stop ollama-hop",
        mended="systemctl start ollama-hop",
    ),
    breaks(
        "ollama-health",
        found={("host", "ollama-health"): "active, disabled"},
        broken="systemctl disable -q ollama-health",
        mended="systemctl enable -q ollama-health",
    ),
    breaks(
        "ollama-firewall",
        found={("host", "ollama-firewall"): "active, disabled"},
        broken="systemctl disable -q ollama-firewall",
        mended="systemctl enable -q ollama-firewall",
    ),
    breaks(
        "certificate for gateways",
        found={("host", "certificate for gateways"): "there is none"},
        broken="mv /etc/ollama/hop/tls/server.pem /root/server.pem",
        mended="mv /root/server.pem /etc/ollama/hop/tls/server.pem",
    ),
]
OF_GATEWAY = f"gateway {GATEWAY}"
NGINX = "/etc/ollama/gateway/nginx.conf"
KEYS = "/etc/ollama/gateway/keys.conf"
LET_IN = f"""sed -i '/key_hash .fleet_key_name/a\\    "{"a" * 64}" "mine";' {KEYS}"""
OPEN = "ss -tln | grep -q :8443"
WIDE = f"sed -i 's/^ *listen 0.0.0.0:443 .*/& listen 0.0.0.0:8443 ssl;/' {NGINX}"
OPENED = f"""sed -i '/fleet_needs_key {{/,/}}/s/"1"/"0"/' {NGINX}"""


def reloaded(status: int) -> str:
    """The gateway's nginx takes its configuration anew, and answers so whoever has no key."""
    asked = "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1/api/version"
    return f"systemctl reload ollama-gateway; until [ $({asked}) = {status} ]; do sleep 0.1; done"


GATEWAY_CASES = [
    breaks(
        *("ollama-gateway", "front"),
        found={(OF_GATEWAY, "ollama-gateway"): "inactive, enabled", (OF_GATEWAY, "front"): "000"},
        broken="systemctl stop ollama-gateway",
        mended="systemctl start ollama-gateway",
    ),
    breaks(
        *("front", "ollama-gateway", "files"),
        found={
            (OF_GATEWAY, "front"): "200",
            (OF_GATEWAY, "ollama-gateway"): "its files are others",
            (OF_GATEWAY, "files"): f"{NGINX} was edited",
        },
        broken=f"cp -p {NGINX} /root/nginx.conf; {OPENED}; {reloaded(200)}",
        mended=f"cp -p /root/nginx.conf {NGINX}; {reloaded(401)}",
    ),
    breaks(
        "keys",
        found={
            (OF_GATEWAY, "keys"): "takes what is not in the file: mine",
            (OF_GATEWAY, "ollama-gateway"): "its files are others",
            (OF_GATEWAY, "files"): f"{KEYS} was edited",
        },
        broken=f"cp -p {KEYS} /root/keys.conf; {LET_IN}; {reloaded(401)}",
        mended=f"cp -p /root/keys.conf {KEYS}; {reloaded(401)}",
    ),
    breaks(
        "ports",
        found={
            (OF_GATEWAY, "ports"): "ollama-gateway.service at 0.0.0.0:8443",
            (OF_GATEWAY, "ollama-gateway"): "its files are others",
            (OF_GATEWAY, "files"): f"{NGINX} was edited",
        },
        broken=f"cp -p {NGINX} /root/nginx.conf; {WIDE}; systemctl reload ollama-gateway; "
        f"until {OPEN}; do sleep 0.1; done",
        mended=f"cp -p /root/nginx.conf {NGINX}; systemctl reload ollama-gateway; "
        f"while {OPEN}; do sleep 0.1; done",
    ),
    breaks(
        "ollama-balancer",
        found={(OF_GATEWAY, "ollama-balancer"): "active, disabled"},
        broken="systemctl disable -q ollama-balancer",
        mended="systemctl enable -q ollama-balancer",
    ),
    breaks(
        "ollama-address",
        found={(OF_GATEWAY, "ollama-address"): "active, disabled"},
        broken="systemctl disable -q ollama-address",
        mended="systemctl enable -q ollama-address",
    ),
    breaks(
        "ollama-address-check",
        found={(OF_GATEWAY, "ollama-address-check"): "active, disabled"},
        broken="systemctl disable -q ollama-address-check",
        mended="systemctl enable -q ollama-address-check",
    ),
    breaks(
        "certificate for clients",
        found={(OF_GATEWAY, "certificate for clients"): "there is none"},
        broken="mv /etc/ollama/gateway/tls/server.pem /root/server.pem",
        mended="mv /root/server.pem /etc/ollama/gateway/tls/server.pem",
    ),
    breaks(
        "certificate for clients",
        found={(OF_GATEWAY, "certificate for clients"): "5 days left, until 2"},
        # Into the same file, with its owner and mode. The sixth day has begun already.
        broken="cd /etc/ollama/gateway/tls; cp -p server.pem /root/; openssl req -x509 -key server.key "
        f"-subj /CN={GATEWAY} -days 6 >/root/soon.pem; cat /root/soon.pem >server.pem",
        mended="mv /root/server.pem /etc/ollama/gateway/tls/server.pem",
    ),
    breaks(
        "certificate for hosts",
        found={(OF_GATEWAY, "certificate for hosts"): "there is none"},
        broken="mv /etc/ollama/gateway/tls/hop.pem /root/hop.pem",
        mended="mv /root/hop.pem /etc/ollama/gateway/tls/hop.pem",
    ),
    breaks(
        "disk",
        found={(OF_GATEWAY, "disk"): "1 MiB free at /var/log"},
        **FULL_DISK,
    ),
    breaks(
        "clock",
        found={(OF_GATEWAY, "clock"): "as this machine; nothing sets it"},
        **UNKEPT_CLOCK,
    ),
]


@pytest.mark.parametrize("case", CASES)
def test_the_host_says_what_is_broken_and_nothing_else(fleet: Fleet, case: Case) -> None:
    _broken(fleet, HOST, case)
    try:
        found = asking.of_host(fleet, HOST)
    finally:
        _mended(fleet, HOST, case)
    _is_right(case, found)


@pytest.mark.parametrize("case", GATEWAY_CASES)
def test_the_gateway_says_what_is_broken_and_nothing_else(fleet: Fleet, case: Case) -> None:
    _broken(fleet, GATEWAY, case)
    try:
        found = asking.of_gateway(fleet, GATEWAY)
    finally:
        _mended(fleet, GATEWAY, case)
    _is_right(case, found)


# What somebody does to a slice on its host, how it is mended, and what the balancer then says of it. A
# full look would give one that is down the time in which others come up.
AWAY = [
    (
        "mkdir -p /var/lib/ollama/drained; echo tired >/var/lib/ollama/drained/code",
        "rm /var/lib/ollama/drained/code",
        *("(NOLB|DRAIN)", "full", ("warning", "it is drained"), "`fleet undrain` puts it back"),
    ),
    (
        "systemctl stop ollama-code",
        f"systemctl start ollama-code; {loaded(CODE)}",
        *("DOWN", "quick", ("failed", "DOWN"), "-u ollama-health -u ollama-code"),
    ),
]


@pytest.mark.breaks("slices")
@pytest.mark.parametrize(
    ("broken", "mended", "state", "mode", "said", "remedy"), AWAY, ids=["drained", "down"]
)
def test_the_gateway_says_which_slices_are_out_of_service(
    fleet: Fleet, broken: str, mended: str, state: str, mode: Mode, said: tuple, remedy: str
) -> None:
    stats = "echo 'show stat' | socat - UNIX-CONNECT:/run/ollama-gateway/admin.sock"
    seen = f"{stats} | cut -d , -f 1,2,18 | grep -qE '^slices,{HOST}.code,{state}'"
    fleet.sh(HOST, broken)
    try:
        fleet.sh(GATEWAY, f"""timeout 60 sh -c "until {seen}; do sleep 0.2; done" """)
        found = asking.of_gateway(fleet, GATEWAY, mode)
    finally:
        fleet.sh(HOST, mended)
    fleet.sh(GATEWAY, f"""timeout 60 sh -c "while {seen}; do sleep 0.2; done" """)
    assert apart(found) == {(OF_GATEWAY, "slices")}
    told = found[OF_GATEWAY, "slices"]
    assert (told.status, told.found) == said and remedy in told.remedy


@pytest.mark.breaks("inference")
def test_the_gateway_says_which_slice_gives_no_token(fleet: Fleet) -> None:
    """The host's own watch is not to be quicker: a slice that is down is not asked."""
    path = f"{MANIFESTS}/qwen3/1.7b"
    fleet.sh(HOST, f"systemctl stop ollama-health; mv {path} /root/manifest")
    try:
        found = asking.of_gateway(fleet, GATEWAY)
    finally:
        fleet.sh(HOST, f"mv /root/manifest {path}; systemctl start ollama-health")
    assert apart(found) == {(OF_GATEWAY, "inference")}
    told = found[OF_GATEWAY, "inference"]
    assert told.failed and told.expected == f"a token of qwen3:1.7b from {HOST}.code"
    assert "model 'qwen3:1.7b' not found" in told.found


@pytest.mark.breaks("clock")
def test_a_clock_that_is_not_as_the_asking_machines_is_told(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No container can have a clock of its own, so the one who asks is ahead and then behind."""
    words = []
    for ahead_s in (400, -400):

        class Shifted(datetime):
            @classmethod
            def now(cls, tz: Any = None, ahead_s: int = ahead_s) -> datetime:
                return datetime.now(UTC) + timedelta(seconds=ahead_s)

        monkeypatch.setattr(clock, "datetime", Shifted)
        host, gateway = asking.of_host(fleet, HOST), asking.of_gateway(fleet, GATEWAY)
        for found, where in ((host, "host"), (gateway, OF_GATEWAY)):
            assert apart(found) == {(where, "clock")} and found[where, "clock"].failed
            words.append(found[where, "clock"].found)
    for said in words[:2]:
        assert re.match(r"(400|3\d\d) s behind this machine's; ", said)
    for said in words[2:]:
        assert re.match(r"3\d\d s ahead of this machine's; ", said)


def test_all_is_well_when_everything_is_mended(fleet: Fleet) -> None:
    assert apart(asking.of_host(fleet, HOST)) == set()
    assert apart(asking.of_gateway(fleet, GATEWAY)) == set()


@pytest.mark.breaks("gpu health", "xid")
def test_a_gpu_that_is_lost_is_told_and_its_xid_until_the_driver_is_loaded_anew(
    fleet: Fleet,
) -> None:
    lost = Case(
        found={
            (SECOND, "gpu health"): "lost: it does not answer the driver",
            (SECOND, "xid"): "Xid 79 since its driver was loaded (fell off the bus)",
            (SECOND, "gpu settings"): "unknown",
            ("code", "environment"): "CUDA_VISIBLE_DEVICES=",
            ("code", "weights on gpu"): "0 MiB held on its GPUs; Ollama says 0 of ",
        },
        fault="gpu-lost",
        parameters={"gpu": 1},
        # The first one is told of an error, the next is served by the CPU, as without nvidia-uvm.
        broken=answering(CODE),
        mended=f"systemctl restart ollama-code; {loaded(CODE)}",
    )
    _broken(fleet, HOST, lost)
    try:
        found = asking.of_host(fleet, HOST)
    finally:
        _mended(fleet, HOST, lost)
    _is_right(lost, found)
    fleet.lab.fault(HOST, "xid", gpu=1, xid=63)
    fleet.sh(
        HOST, f"{LOOK}; until journalctl -q -b -t kernel | grep -q ': 63, '; do sleep 0.1; done"
    )
    found = asking.of_host(fleet, HOST)
    fleet.lab.clear(HOST, "xid")
    assert apart(found) == {(SECOND, "xid")}
    assert found[SECOND, "xid"].found == (
        "Xid 79 since its driver was loaded (fell off the bus); "
        "Xid 63 since its driver was loaded (a memory row is to be replaced at the next reset)"
    )
    fleet.lab.reboot(HOST)
    fleet.sh(
        HOST, "timeout 60 sh -c 'until systemctl is-active -q ollama.target; do sleep 0.2; done'"
    )
    fleet.sh(HOST, loaded(CHAT, CODE))
    assert apart(asking.of_host(fleet, HOST)) == set()


# The simulated driver looks for faults when it is asked, else a little later.
LOOK = "nvidia-smi -L >/dev/null || true"


def apart(found: Found, *asked: tuple[str, str]) -> set[tuple[str, str]]:
    """What is not well, without what goes along with any change by hand."""
    return {where for where in found if where[1] not in BESIDES or where in asked}


def _broken(fleet: Fleet, host: str, case: Case) -> None:
    if case.fault:
        fleet.lab.fault(host, case.fault, **case.parameters)
        fleet.sh(host, LOOK)
    if case.broken:
        fleet.sh(host, case.broken)


def _mended(fleet: Fleet, host: str, case: Case) -> None:
    if case.fault:
        fleet.lab.clear(host, case.fault)
        fleet.sh(host, LOOK)
    if case.mended:
        fleet.sh(host, case.mended)


def _is_right(case: Case, found: Found) -> None:
    said = {where: found[where].found for where in apart(found, *case.found)}
    assert set(said) == set(case.found), said
    unsaid = {where: words for where, words in case.found.items() if words not in said[where]}
    assert unsaid == {}, str(said)
    assert all(result.remedy and result.expected for result in found.values())
