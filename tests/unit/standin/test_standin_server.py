"""How the server starts, what it refuses, and what it leaves behind."""

import os
import socket
import stat
import subprocess
import time

import httpx
import pytest


def test_health_routes(shared):
    assert shared.http.get("/").text == "Ollama is running"
    assert shared.http.head("/").status_code == 200
    assert shared.http.get("/api/version").json() == {"version": "0.32.15"}
    assert shared.http.head("/api/tags").status_code == 200
    assert shared.http.get("/api/status").json()["cloud"]["disabled"] is True


def test_unknown_path_and_wrong_method_are_plain_text(shared):
    missing = shared.http.get("/nothing")
    assert (missing.status_code, missing.text) == (404, "404 page not found")
    wrong = shared.http.get("/api/generate")
    assert (wrong.status_code, wrong.text) == (405, "405 method not allowed")


def test_loopback_listener_refuses_foreign_hosts(shared):
    for host in ("ollama_slices", "example.com"):
        refused = shared.http.get("/", headers={"Host": host})
        assert (refused.status_code, refused.content) == (403, b"")
    for host in ("localhost:1234", "10.0.0.5", "name.internal", socket.gethostname()):
        assert shared.http.get("/", headers={"Host": host}).status_code == 200


def test_listener_on_every_address_checks_no_host(launch, environment):
    port = environment["OLLAMA_HOST"].rpartition(":")[2]
    server = launch(OLLAMA_HOST=f"0.0.0.0:{port}").wait()
    assert server.http.get("/", headers={"Host": "example.com"}).status_code == 200


def test_browser_pages_from_elsewhere_are_refused(launch):
    http = launch(OLLAMA_ORIGINS="https://*.example.com").wait().http
    assert http.get("/", headers={"Origin": "https://evil.test"}).status_code == 403
    for origin in ("http://localhost:3000", "https://app.example.com"):
        assert http.get("/", headers={"Origin": origin}).status_code == 200


def test_nothing_is_answered_before_discovery_is_done(launch, environment):
    server = launch()
    host, _, port = environment["OLLAMA_HOST"].partition(":")
    while True:
        try:
            connection = socket.create_connection((host, int(port)))
            break
        except ConnectionRefusedError:
            time.sleep(0.005)
    assert "inference compute" not in server.log.read_text()
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert "inference compute" in server.log.read_text()


def test_first_start_makes_a_private_key_that_ssh_can_read(shared):
    key = shared.home / ".ollama" / "id_ed25519"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    command = ["ssh-keygen", "-y", "-f", str(key)]
    public = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert public.strip() == key.with_suffix(".pub").read_text().strip()


def run_to_its_end(launch, **environment):
    server = launch(**environment)
    return server.process.wait(5), server.log.read_text()


def test_start_fails_where_the_key_cannot_be_written(launch):
    code, log = run_to_its_end(launch, HOME="/proc/nowhere")
    assert code == 1 and "could not create directory" in log


def test_start_panics_without_home(launch):
    code, log = run_to_its_end(launch, HOME="")
    assert code == 2 and "panic: $HOME is not defined" in log


def test_start_fails_on_a_port_in_use(launch, ollama):
    code, log = run_to_its_end(launch)
    assert code == 1 and "bind: address already in use" in log


def test_restart_takes_the_port_again_at_once(launch, environment):
    first = launch().wait()
    first.http.get("/", headers={"Connection": "close"})  # leaves the port in TIME_WAIT
    first.end()
    assert launch().wait().http.get("/").status_code == 200


def old_blob(models, name):
    path = models / "blobs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, (0, 0))
    return path


@pytest.mark.parametrize(("no_prune", "survives"), [("0", False), ("1", True)])
def test_start_prunes_old_blobs_that_nobody_names(launch, tmp_path, no_prune, survives):
    old = old_blob(tmp_path / "models", f"sha256-{'0' * 64}")
    partial = old_blob(tmp_path / "models", f"sha256-{'1' * 64}-partial")
    young = old_blob(tmp_path / "models", f"sha256-{'2' * 64}")
    os.utime(young)
    launch(OLLAMA_NOPRUNE=no_prune).wait()
    assert (old.exists(), partial.exists(), young.exists()) == (survives, survives, True)


def test_prune_keeps_what_manifests_name_and_stops_at_a_corrupt_one(launch, ollama):
    for blob in (ollama.models / "blobs").iterdir():
        os.utime(blob, (0, 0))
    stray = old_blob(ollama.models, f"sha256-{'0' * 64}")
    corrupt = ollama.models / "manifests" / "registry.ollama.ai" / "library" / ".DS_Store"
    corrupt.write_text("x")
    ollama.end()
    launch(OLLAMA_NOPRUNE="0").wait().end()
    assert stray.exists()
    corrupt.unlink()
    server = launch(OLLAMA_NOPRUNE="0").wait()
    assert not stray.exists()
    assert server.generate("qwen3:8b").status_code == 200


def test_terminated_server_closes_at_once_and_takes_its_runners_along(ollama, driver):
    ollama.generate("qwen3:0.6b")
    assert driver.processes()
    ollama.process.terminate()
    assert ollama.process.wait(20) == 0
    deadline = time.monotonic() + 20
    while driver.processes():
        assert time.monotonic() < deadline
    with pytest.raises(httpx.TransportError):
        ollama.http.get("/")


def test_killed_server_leaves_no_runner_behind(ollama, driver):
    ollama.generate("qwen3:0.6b")
    ollama.process.kill()
    deadline = time.monotonic() + 20
    while driver.processes():
        assert time.monotonic() < deadline


def test_commands_go_to_the_server_over_http(ollama):
    assert ollama.command("--version").stdout == "ollama version is 0.32.15\n"
    assert "Here qwen3:0.6b" in ollama.command("run", "qwen3:0.6b", "hello").stdout
    assert "100% GPU" in ollama.command("ps").stdout
    assert ollama.command("cp", "qwen3:0.6b", "mine").returncode == 0
    assert "mine:latest" in ollama.command("list").stdout
    assert "completion" in ollama.command("show", "mine").stdout
    assert ollama.command("rm", "mine").stdout == "deleted 'mine'\n"
    assert ollama.command("rm", "mine").returncode == 1
    ollama.command("stop", "qwen3:0.6b")
    deadline = time.monotonic() + 20
    while ollama.ps():
        assert time.monotonic() < deadline


def test_command_says_when_there_is_no_server(ollama):
    ollama.end()
    failed = ollama.command("list")
    assert failed.returncode == 1 and "could not connect to ollama server" in failed.stderr
    assert "client version is 0.32.15" in ollama.command("-v").stdout
