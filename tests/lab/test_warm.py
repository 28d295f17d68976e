"""Slices have their models in memory before anybody asks, and an operator uses them without thinking of
ports: on a host with real systemd, which starts, restarts and boots."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import Fleet

HOST = "warm1"
EMBEDS = "nomic-embed-text:latest"
CHAT = {
    "name": "chat",
    "gpus": [0],
    "port": 11434,
    "models": ["qwen3:8b", "nomic-embed-text"],
    "context": 8192,
}
CODE = {"name": "code", "gpus": [1], "port": 11435, "models": ["qwen2.5-coder:7b"], "default": True}
# As planned; the model that only embeds was trained for less.
PLANNED = {"qwen3:8b": 8192, EMBEDS: 2048}
NEWEST = "/var/lib/ollama/models/manifests/registry.ollama.ai/library"


@pytest.fixture(scope="module")
def host(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A host that was bare, just deployed."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    fleet.add(bare(lab, HOST, "2x-rtx3090"), CHAT, CODE)
    run = fleet.deploy()
    assert run.code == 0, run.text
    yield fleet
    lab.remove(HOST)


@pytest.fixture
def warm(host: Fleet) -> Iterator[Fleet]:
    """It; a test that changes its slices need not put them back."""
    usual = dict(host.hosts)
    yield host
    if host.hosts != usual:
        host.hosts = usual
        assert host.deploy().code == 0


def memory(fleet: Fleet, port: int = 11434) -> dict[str, int]:
    """Models that a slice has in memory, with their context; all of them for ever."""
    models: list[dict[str, Any]] = json.loads(fleet.sh(HOST, f"curl -fs 127.0.0.1:{port}/api/ps"))[
        "models"
    ]
    assert all(model["expires_at"] > "2300" for model in models)
    return {model["name"]: model["context_length"] for model in models}


def finished(fleet: Fleet, name: str = "chat") -> str:
    """How the warming of a slice ended: its result and exit code."""
    unit = f"ollama-warm-{name}"
    return fleet.sh(
        HOST,
        f"timeout 60 sh -c 'while systemctl is-active -q ollama-{name}.service || exit 1; "
        f'[ "$(systemctl show -p ExecMainStartTimestampMonotonic --value {unit})" = 0 ] || '
        f"systemctl is-active -q {unit}; do sleep 0.1; done'; "
        f"systemctl show -p Result,ExecMainStatus --value {unit} | xargs",
    )


def loads(fleet: Fleet) -> str:
    """Loads of models by the chat slice since it started; requests are the health watch's as well."""
    pid = fleet.pids(HOST, "chat")["chat"]
    return fleet.sh(HOST, f"journalctl _PID={pid} -o cat | grep -c load_tensors || true")


def test_a_deploy_leaves_every_model_in_memory(warm: Fleet) -> None:
    assert memory(warm) == PLANNED
    assert memory(warm, 11435) == {"qwen2.5-coder:7b": 4096}
    assert warm.deploy().changed() == {}


def test_a_restart_loads_them_again_without_a_request(warm: Fleet) -> None:
    warm.sh(HOST, "systemctl restart ollama-chat")
    assert finished(warm) == "success 0"
    assert memory(warm) == PLANNED
    assert loads(warm) == "2"


def test_a_crash_loads_them_again(warm: Fleet) -> None:
    before = warm.pids(HOST, "chat")["chat"]
    warm.sh(
        HOST,
        f"kill -KILL {before}; timeout 30 sh -c "
        f"'until curl -fs 127.0.0.1:11434/api/ps | grep -q {EMBEDS}; do sleep 0.2; done'",
    )
    assert finished(warm) == "success 0"
    assert memory(warm) == PLANNED


def test_models_that_go_by_themselves_are_loaded_once_and_not_missed_later(warm: Fleet) -> None:
    warm.add(HOST, CHAT | {"keep_alive": "20s"}, CODE)
    assert warm.deploy().code == 0
    said = warm.sh(HOST, "journalctl -u ollama-warm-chat -o cat -n 5")
    assert f"{EMBEDS} is loaded" in said
    names = 'curl -fs 127.0.0.1:11434/api/ps | grep -o \'"name":"[^"]*\' | cut -d \'"\' -f 4'
    warm.sh(
        HOST,
        f"timeout 60 sh -c 'while curl -fs 127.0.0.1:11434/api/ps | grep -q {EMBEDS}; do sleep 0.2; done'",
    )
    run = warm.deploy()
    assert run.code == 0 and run.changed() == {}, run.text
    # The proof asked for this one.
    assert warm.sh(HOST, names) == "qwen3:8b"


def test_a_reboot_loads_them_again_and_is_over_before(warm: Fleet) -> None:
    warm.lab.reboot(HOST)
    for name in ("chat", "code"):
        warm.sh(
            HOST,
            f"timeout 60 sh -c 'until systemctl is-active -q ollama-{name}; do sleep 0.2; done'",
        )
        assert finished(warm, name) == "success 0"
    assert memory(warm) == PLANNED and loads(warm) == "2"
    assert memory(warm, 11435) == {"qwen2.5-coder:7b": 4096}
    assert warm.deploy().changed() == {}


def test_warming_is_hardened_and_has_no_gpu(warm: Fleet) -> None:
    line = warm.sh(HOST, "systemd-analyze security --no-pager ollama-warm-chat | tail -n 1")
    assert float(line.rpartition(": ")[2].split()[0]) <= 1.5, line
    allowed = warm.sh(HOST, "systemctl show -p DeviceAllow ollama-warm-chat")
    assert "nvidia" not in allowed


def test_another_preload_restarts_no_slice(warm: Fleet) -> None:
    before = warm.pids(HOST, "chat", "code")
    warm.add(HOST, CHAT | {"preload": ["nomic-embed-text"]}, CODE | {"preload": False})
    assert warm.deploy().code == 0
    assert warm.pids(HOST, "chat", "code") == before
    units = warm.sh(HOST, "cd /etc/systemd/system && ls -d ollama-warm-* ollama-code.service.d/*")
    assert units.split() == ["ollama-code.service.d/10-order.conf", "ollama-warm-chat.service"]
    warm.sh(HOST, "systemctl restart ollama-chat ollama-code")
    assert finished(warm) == "success 0"
    assert memory(warm) == {EMBEDS: 2048} and memory(warm, 11435) == {}


def test_a_slice_that_serves_something_else_is_left_alone(warm: Fleet) -> None:
    """A client loaded a model that the slice is not planned for."""
    load = json.dumps({"model": "qwen2.5-coder:7b", "keep_alive": -1})
    warm.sh(
        HOST, f"systemctl restart ollama-chat; curl -fs 127.0.0.1:11434/api/generate -d '{load}'"
    )
    finished(warm)
    serving = memory(warm)
    assert "qwen2.5-coder:7b" in serving
    warm.sh(HOST, "systemctl start ollama-warm-chat")
    assert finished(warm) == "success 0"
    assert memory(warm) == serving
    said = warm.sh(HOST, "journalctl -u ollama-warm-chat -o cat -n 20")
    assert "qwen2.5-coder:7b is in memory and not of this slice" in said

    run = warm.deploy()
    assert run.code == 0 and run.changed() == {}, run.text
    assert f"{HOST} chat: warm is worth a look" in run.text
    assert "qwen2.5-coder:7b serves there" in run.text

    warm.sh(HOST, "ollama-slice chat stop qwen2.5-coder:7b; sleep 0.5")
    run = warm.deploy()
    assert run.changed() == {"Warm | Load the models": [HOST]}
    assert memory(warm) == PLANNED
    assert warm.deploy().changed() == {}


def test_a_model_that_is_missing_is_loaded_when_it_has_been_fetched(warm: Fleet) -> None:
    warm.sh(HOST, f"rm {NEWEST}/nomic-embed-text/latest; systemctl restart ollama-chat")
    assert finished(warm) == "success 75"
    assert memory(warm) == {"qwen3:8b": 8192}
    assert warm.sh(HOST, "systemctl --failed --no-legend") == ""
    run = warm.deploy()
    assert run.code == 0, run.text
    assert next(iter(run.changed())) == "Downloads | Start the downloads"
    assert list(run.changed())[-1] == "Warm | Load the models"
    assert memory(warm) == PLANNED


@pytest.mark.breaks("warm")
def test_a_warming_that_fails_is_told_and_the_slice_goes_on(warm: Fleet) -> None:
    # One that has served, and then crashes when it is asked, is repaired by the watchdog.
    warm.sh(HOST, "systemctl stop ollama-chat")
    warm.lab.fault(HOST, "ollama-crashed", slice="chat")
    try:
        warm.sh(HOST, "systemctl start ollama-chat")
        before = warm.pids(HOST, "chat")
        run = warm.deploy()
        assert warm.pids(HOST, "chat") == before
        failed = warm.sh(HOST, "systemctl --failed --no-legend --plain | cut -d ' ' -f 1")
    finally:
        warm.lab.clear(HOST, "ollama-crashed")
    assert run.code == 1 and f"{HOST} chat: warm failed" in run.text
    assert "qwen3:8b cannot be loaded: llama-server process has terminated" in run.text
    assert failed == "ollama-warm-chat.service"
    run = warm.deploy()
    assert run.code == 0, run.text
    assert memory(warm) == PLANNED
    assert warm.sh(HOST, "systemctl --failed --no-legend") == ""


# Interactive use


@pytest.mark.parametrize("user", ["root", "operator"])
def test_ollama_means_the_default_slice_and_ollama_slice_the_others(warm: Fleet, user: str) -> None:
    def said(command: str) -> str:
        done = warm.lab.ssh(HOST, command, user=user)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return str(done.stdout)

    for command in ("ollama ps", "sudo ollama ps", "env -i /usr/local/bin/ollama ps"):
        assert "qwen2.5-coder:7b" in said(command) and "qwen3:8b" not in said(command)
    for name in ("qwen3:8b", EMBEDS, "qwen2.5-coder:7b"):
        assert name in said("ollama list")
    assert "qwen3:8b" in said("ollama-slice chat ps")
    assert "Here qwen2.5-coder:7b is answering" in said("ollama run qwen2.5-coder:7b hello")
    assert "Here qwen3:8b" in said("echo hello | ollama-slice chat run qwen3:8b")
    assert said("bash -lc 'echo $OLLAMA_HOST'").strip() == "127.0.0.1:11435"
    rows = [line.split() for line in said("ollama-slice").splitlines()]
    assert ["chat", "11434", "active", "qwen3:8b,nomic-embed-text:latest"] in rows
    assert ["code", "11435", "active,default", "qwen2.5-coder:7b"] in rows


def test_a_model_cannot_be_pulled_through_a_slice_and_that_is_said(warm: Fleet) -> None:
    for command in ("ollama pull qwen3:14b", "ollama-slice chat run qwen3:14b hello"):
        done = warm.lab.ssh(HOST, command, user="operator")
        assert done.returncode == 1
        assert "`models:` of a slice in the inventory, and deploy" in done.stderr


def test_a_program_that_somebody_else_put_there_stays(warm: Fleet) -> None:
    warm.sh(HOST, "cp /usr/local/bin/ollama /root/ours; echo 'echo mine' >/usr/local/bin/ollama")
    run = warm.deploy()
    assert run.code == 0, run.text
    assert warm.sh(HOST, "cat /usr/local/bin/ollama") == "echo mine"
    assert warm.sh(HOST, "sha256sum -c --quiet /var/lib/ollama/manifest") == ""
    assert warm.deploy().changed() == {}
    # A link of earlier deploys is nobody else's.
    warm.sh(HOST, "ln -sfn /opt/ollama/current/bin/ollama /usr/local/bin/ollama")
    assert warm.deploy().code == 0
    assert warm.sh(HOST, "cmp /usr/local/bin/ollama /root/ours && ls /usr/local/bin") == (
        "ollama\nollama-slice"
    )
