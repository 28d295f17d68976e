"""Bad input on the real command line: a clear line, an exit code, no traceback, the host untouched."""

import os
import subprocess
from pathlib import Path

import pytest

from lab.lab import Lab
from tests.lab.conftest import HOSTS, MADE
from tests.lab.fleet import BIN, ROOT, Fleet

CHAT = {"name": "chat", "gpus": [0], "port": 11434}


@pytest.fixture(autouse=True, scope="module")
def present(lab: Lab) -> None:
    """The host whose address these inventories name; none of them gets as far as changing it."""
    lab.ensure("t1", HOSTS["t1"])
    MADE.add("t1")


def deploy(inventory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "pyinfra"), str(inventory), "deploy.py", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        env={**os.environ, "PYINFRA_PROGRESS": "off"},
    )


def refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert words in said
    assert "Traceback" not in said and "Connecting to hosts" not in said


WRONG = {
    "unknown key": ({**CHAT, "prot": 1}, "slices[0].prot: unknown key; did you mean 'port'?"),
    "wrong type": ({**CHAT, "context": "long"}, "slices[0].context: should be a valid integer"),
    "reserved port": ({**CHAT, "port": 49152}, "49152 is in the range from 49152 up"),
    "privileged port": ({**CHAT, "port": 80}, "80 needs root to bind; choose 1024 or higher"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_never_reach_a_host(fleet: Fleet, case: str, lab) -> None:
    item, words = WRONG[case]
    fleet.add("t1", item)
    refused(deploy(fleet.inventory, "-y"), words)


def test_unreadable_yaml_names_line_and_column(fleet: Fleet, lab) -> None:
    script = fleet.inventory
    script.with_suffix(".yml").write_text("version: 1\nhosts: {t1: [}\n")
    refused(deploy(script, "-y"), "test.yml:2:14: is not valid YAML")


def test_missing_inventory_file_is_named(fleet: Fleet, lab) -> None:
    fleet.add("t1", CHAT)
    script = fleet.inventory
    script.with_suffix(".yml").unlink()
    refused(deploy(script, "-y"), "test.yml: cannot be read: No such file or directory")


@pytest.mark.parametrize("option", ["--limit", "--exclude"])
def test_unknown_host_in_limit_is_refused(fleet: Fleet, lab, option: str) -> None:
    fleet.add("t1", CHAT)
    done = deploy(fleet.inventory, "-y", option, "t11")
    refused(done, f"{option} t11: no such host or group; the inventory has t1")


def test_missing_key_file_is_named(fleet: Fleet, lab) -> None:
    fleet.add("t1", CHAT, ssh={"key": "keys/none"})
    refused(deploy(fleet.inventory, "-y"), "keys/none hosts.t1.ssh.key: cannot be read")


def test_without_a_terminal_nothing_is_asked(fleet: Fleet, lab) -> None:
    fleet.add("t1", CHAT)
    refused(deploy(fleet.inventory), "add -y to apply, or --dry to look only")


def test_a_gpu_that_the_host_turns_out_not_to_have_is_refused_there(fleet: Fleet, t1: str) -> None:
    fleet.add(t1, {**CHAT, "gpus": [2]})
    run = fleet.deploy()
    assert run.code == 1 and "slice 'chat': no GPU 2; the host has 0: NVIDIA" in run.text
    assert "Traceback" not in run.text
    assert fleet.sh(t1, "ls /opt") == ""


def test_an_old_release_never_reaches_a_host(fleet: Fleet, lab) -> None:
    fleet.add("t1", CHAT, ollama={"version": "0.30.0"})
    refused(deploy(fleet.inventory, "-y"), "t1: Ollama 0.30.0 has known security holes")


def test_an_old_release_of_group_data_is_refused_as_well(fleet: Fleet, t1: str) -> None:
    fleet.add(t1, CHAT)
    run = fleet.deploy("--data", "ollama_version=0.30.0")
    assert run.code == 1 and "t1: Ollama 0.30.0 has known security holes" in run.text
    assert "Traceback" not in run.text
    assert fleet.sh(t1, "ls /opt") == ""


@pytest.mark.parametrize("form", ["hosts_from", "plain data"])
def test_an_inventory_in_plain_python_works_too(fleet: Fleet, t1: str, form: str) -> None:
    fleet.add(t1, CHAT)
    script = fleet.inventory
    text = script.with_suffix(".yml").read_text()
    script.with_suffix(".yml").unlink()
    if form == "hosts_from":
        script.write_text(
            "import yaml\nfrom ollama_fleet.inventory import hosts_from\n"
            f"hosts = hosts_from(yaml.safe_load({text!r}), __file__)\n"
        )
    else:
        script.write_text(
            "import yaml\nfrom ollama_fleet.inventory import load\n"
            f"data = yaml.safe_load({text!r})\n"
            "_sums = open(data['ollama']['sha256_file']).read().split()\n"
            "hosts = [(name, {'ssh_hostname': host['address'], 'ssh_key': data['ssh']['key'],\n"
            "  'ssh_user': 'root', 'ssh_known_hosts_file': data['ssh']['known_hosts'],\n"
            "  'slices': host['slices'], 'ollama_sha256': {'amd64': _sums[0]},\n"
            "  'ollama_release_url': data['ollama']['release_url'],\n"
            "  'ollama_registry': data['ollama']['registry']})\n"
            "  for name, host in data['hosts'].items()]\n"
        )
    done = deploy(script, "-y")
    assert done.returncode == 0, done.stdout + done.stderr
    assert fleet.sh(t1, "systemctl is-active ollama-chat") == "active"


def test_wrong_host_data_in_plain_python_is_explained(fleet: Fleet, t1: str) -> None:
    fleet.add(t1, CHAT)
    script = fleet.inventory
    state = fleet.lab.paths.root
    script.write_text(
        f"hosts = [('t1', {{'ssh_hostname': '{fleet.lab.address(t1)}', 'ssh_user': 'root',\n"
        f"  'ssh_key': '{state}/ssh/id_ed25519', 'ssh_known_hosts_file': '{state}/ssh/known_hosts',\n"
        "  'slices': [{'name': 'chat', 'gpus': [0], 'prot': 1}]})]\n"
    )
    done = deploy(script, "-y")
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "slices[0].prot: unknown key; did you mean 'port'?" in said
    assert "Traceback" not in said
