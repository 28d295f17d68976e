"""What somebody changed on a deployed host, and what nobody asked for, is told by `fleet verify` with what
to do; when that is done it is well again.

Faults come together, for each is told by itself: what is found has to be exactly what was done.
"""

from typing import Any

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.drifted import found, verified, words
from tests.lab.fleet import Fleet

HOST = "dr1"
SECRET = "/etc/ollama-secret.env"
UNITS = "/etc/systemd/system"
CHAT = {"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:8b"]}
CODE = {
    **{"name": "code", "gpus": [1], "port": 11435, "models": ["qwen3:0.6b"]},
    "env_file": SECRET,
}
# Holds memory of a GPU for as long as it runs.
HOLD = """
import json, socket, sys, time
driver = socket.socket(socket.AF_UNIX)
driver.connect("/run/lab-driver.sock")
ask = {"op": "allocate", "name": "/usr/bin/train", "mib": {sys.argv[1]: int(sys.argv[2])}}
driver.sendall(json.dumps(ask).encode() + b"\\n")
print(driver.recv(4096), flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def deployed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A host with two slices, whose store is to hold nothing else."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    bare(lab, HOST, "2x-rtx3090")
    fleet.sh(HOST, f"umask 077; echo TOKEN=one >{SECRET}")
    describe(fleet)
    run = fleet.deploy()
    assert run.code == 0, run.text
    return fleet


def describe(fleet: Fleet, **code: Any) -> None:
    gpus = [{"model": "RTX 3090", "count": 2}]
    fleet.add(HOST, CHAT, CODE | code, gpus=gpus, models={"keep_unlisted": False})


@pytest.mark.breaks("files", "inventory", "in force")
def test_files_that_were_changed_and_an_inventory_that_nobody_deployed_are_told_apart(
    deployed: Fleet,
) -> None:
    assert found(deployed) == {}
    deployed.sh(
        HOST,
        f"""cd {UNITS}
sed -i 's/^\\[Service\\]/&\\nNice=5/' ollama-loader.service
cp ollama-chat.service ollama-copy.service
ln -sf /dev/null ollama-warm-code.service
systemctl daemon-reload
chmod 666 /etc/ollama/slices
rm /opt/ollama/libexec/ollama-client""",
    )
    describe(deployed, default=True)
    results = found(deployed)
    told = words(results)
    assert told.keys() == {("host", "files"), ("host", "inventory"), ("code", "in force")}
    assert set(told["host", "files"].split("; ")) >= {
        f"{UNITS}/ollama-copy.service is left over",
        f"{UNITS}/ollama-loader.service was edited",
        f"{UNITS}/ollama-warm-code.service is missing",
        "/opt/ollama/libexec/ollama-client is missing",
    }
    assert "/usr/local/bin/ollama is of an older inventory" in told["host", "inventory"]
    assert told["code", "in force"] == "ollama-warm-code.service is masked"
    assert "pyinfra … deploy.py` puts it back" in results["host", "files"]["remedy"]
    assert "`systemctl unmask ollama-warm-code.service`" in results["code", "in force"]["remedy"]

    deployed.sh(HOST, "systemctl unmask ollama-warm-code.service")
    run = deployed.deploy()
    assert run.code == 0, run.text
    assert found(deployed) == {}


@pytest.mark.breaks("drop-ins", "in force", "foreign processes", "strange units")
@pytest.mark.breaks("other servers", "other stores", "unlisted models")
def test_what_nobody_asked_for_is_told_with_whose_it_is(deployed: Fleet) -> None:
    gpus = deployed.sh(HOST, "nvidia-smi --query-gpu=uuid --format=csv,noheader").split()
    store = "/var/lib/ollama/models/manifests/registry.ollama.ai/library"
    stranger = "[Service]\\nEnvironment=OLLAMA_HOST=127.0.0.1:11999 HOME=/tmp/x\\n"
    deployed.sh(
        HOST,
        f"""mkdir -p {UNITS}/ollama-chat.service.d {UNITS}/ollama-.service.d
printf '[Service]\\nLimitNOFILE=99999\\n' >{UNITS}/ollama-chat.service.d/mine.conf
printf '# fleet: keep: INC-1\\n[Service]\\nLimitCORE=0\\n' >{UNITS}/ollama-.service.d/kept.conf
printf '{stranger}ExecStart=/opt/ollama/current/bin/ollama serve\\n' >{UNITS}/ollama-extra.service
systemctl daemon-reload
systemctl restart ollama-chat
systemctl start ollama-extra
echo TOKEN=two >{SECRET}
mkdir -p /root/.ollama/models/blobs
head -c 4000000 /dev/urandom >/root/.ollama/models/blobs/sha256-aa
cp -p {store}/qwen3/8b {store}/qwen3/extra
cat >/opt/hold.py <<'END'
{HOLD}
END
systemd-run -q --unit=training python3 /opt/hold.py {gpus[0]} 300
systemd-run -q --unit=rendering --uid=nobody sh -c "python3 - {gpus[1]} 22000 </opt/hold.py"
sleep 1""",
    )
    results = found(deployed)
    told = words(results)
    assert told.keys() == {
        *(("chat", "drop-ins"), ("code", "in force")),
        *(("chat", "foreign processes"), ("code", "foreign processes")),
        *(("host", name) for name in ("strange units", "other servers", "other stores")),
        ("host", "unlisted models"),
    }, told
    assert told["chat", "drop-ins"] == f"{UNITS}/ollama-chat.service.d/mine.conf"
    assert told["code", "in force"] == (
        f"ollama-code.service was started before {SECRET} was changed"
    )
    assert "root, training.service): 300 MiB" in told["chat", "foreign processes"]
    assert "rendering.service): 22000 MiB" in told["code", "foreign processes"]
    assert told["host", "strange units"] == f"{UNITS}/ollama-extra.service"
    assert "root, ollama-extra.service" in told["host", "other servers"]
    assert told["host", "unlisted models"] == "qwen3:extra"
    assert "/root/.ollama/models: 0.0 GiB" in told["host", "other stores"]
    failed = {key for key, one in results.items() if one["status"] == "failed"}
    assert failed == {
        *(("chat", "drop-ins"), ("code", "in force"), ("code", "foreign processes")),
        ("host", "unlisted models"),
    }
    assert results["code", "in force"]["remedy"] == "`systemctl restart ollama-code.service`"

    deployed.sh(
        HOST,
        f"""systemctl stop training rendering
systemctl disable --now ollama-extra 2>/dev/null
rm {UNITS}/ollama-extra.service {UNITS}/ollama-chat.service.d/mine.conf
systemctl daemon-reload
systemctl restart ollama-chat ollama-code.service
rm -r /root/.ollama""",
    )
    run = deployed.deploy()
    assert run.code == 0, run.text
    now = verified(deployed)
    assert [one for one in now if one["status"] != "ok"] == []
    kept = f"none but ours; {UNITS}/ollama-.service.d/kept.conf may stay"
    assert kept in [one["found"] for one in now if one["check"] == "drop-ins"]
    deployed.sh(HOST, f"rm -r {UNITS}/ollama-.service.d && systemctl daemon-reload")
