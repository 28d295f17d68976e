"""An inventory file as pyinfra sees it."""

from pathlib import Path

import pytest

from ollama_fleet.inventory import hosts_from, load

YAML = """\
version: 1
ssh: {user: operator, sudo: true, key: keys/fleet}
ollama: {version: 0.32.15, sha256_file: sums.txt, registry: "http://mirror"}
hosts:
  gpu01: {address: 10.0.0.1, slices: [{name: chat, gpus: [0]}, {name: code, gpus: [1], port: 11434}]}
  gpu02: {ssh: {port: 2222}}
"""
SUMS = f"{'1' * 64}  ./ollama-linux-amd64.tar.zst\n{'2' * 64}  ./ollama-linux-amd64-rocm.tar.zst\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/fleet").write_text("key")
    (tmp_path / "sums.txt").write_text(SUMS)
    (tmp_path / "prod.yml").write_text(YAML)
    (tmp_path / "prod.py").write_text("hosts = load(__file__)\n")
    return tmp_path


def test_hosts_become_pyinfra_hosts(folder: Path) -> None:
    hosts = dict(load(str(folder / "prod.py")))
    first, second = hosts["gpu01"], hosts["gpu02"]
    assert (first["ssh_hostname"], first["ssh_user"]) == ("10.0.0.1", "operator")
    assert first["_sudo"] is True
    assert first["ssh_key"] == str(folder / "keys/fleet")
    assert (second["ssh_hostname"], second["ssh_port"]) == ("gpu02", 2222)


def test_the_pin_comes_from_the_release_s_own_list(folder: Path) -> None:
    ((_, data), _) = load(str(folder / "prod.py"))
    assert data["ollama_sha256"] == {"amd64": "1" * 64}
    assert data["ollama_registry"] == "http://mirror"


def test_free_ports_are_given_around_written_ones(folder: Path) -> None:
    ((_, data), _) = load(str(folder / "prod.py"))
    assert [(item.name, item.port) for item in data["plan"].slices] == [
        ("chat", 11435),
        ("code", 11434),
    ]


def test_missing_key_file_stops_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "keys/fleet").unlink()
    with pytest.raises(SystemExit) as stopped:
        load(str(folder / "prod.py"))
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert f"{folder}/keys/fleet hosts.gpu01.ssh.key: cannot be read: No such file" in said
    assert "Nothing was touched." in said


def test_python_inventory_takes_the_same_data(tmp_path: Path) -> None:
    data = {"version": 1, "hosts": {"a": {"slices": [{"name": "x", "gpus": [0]}]}}}
    ((name, host),) = hosts_from(data, str(tmp_path / "prod.py"))
    assert (name, host["plan"].slices[0].port) == ("a", 11434)


def test_local_connection_uses_pyinfra_s_local_connector(tmp_path: Path) -> None:
    data = {"version": 1, "hosts": {"me": {"connection": "local"}}}
    ((name, host),) = hosts_from(data, str(tmp_path / "local.py"))
    assert name == "@local"
    assert "ssh_hostname" not in host
