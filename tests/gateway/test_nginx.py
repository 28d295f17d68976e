"""The gateway's nginx as a service: certificates, addresses, and changes while requests run."""

import json
import re
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from ollama_fleet.gateway import places
from ollama_fleet.gateway.machine import Machine
from ollama_fleet.gateway.nginx import canonical_name, nginx_digest, nginx_files
from ollama_fleet.planner.gateway import TlsPlan
from ollama_fleet.planner.model_pools import Member, ModelPool
from tests.gateway.balancer import Reply
from tests.gateway.front import KEYS, POOLS, Front, plan

CHAT = {"model": "qwen3:8b"}


def conf(**changed: object) -> str:
    files = {file.path: file.text for file in nginx_files(plan(**changed), Machine())}
    return files[places.NGINX_CONF]


def test_the_running_nginx_says_which_configuration_it_has(
    make_front: Callable[..., Front],
) -> None:
    front = make_front()
    assert front.status() == nginx_digest(front.plan, Machine())
    front.plan = replace(front.plan, wait_s=9)
    front.write()
    front.reload()
    until = time.monotonic() + 20
    while front.status() != nginx_digest(front.plan, Machine()):
        assert time.monotonic() < until
    assert "Active connections" in front.status("/fleet/connections")


def test_the_same_plan_gives_the_same_files() -> None:
    assert nginx_files(plan(), Machine()) == nginx_files(plan(), Machine())
    assert nginx_digest(plan(), Machine()) != nginx_digest(plan(port=81), Machine())
    assert nginx_digest(plan(), Machine()) != nginx_digest(
        plan(), Machine("/usr/lib64/nginx/modules")
    )


def test_every_file_says_whose_it_is_and_is_known_as_the_gateways() -> None:
    for file in nginx_files(plan(), Machine()):
        assert "Managed by Ollama Fleet" in file.text.splitlines()[0]
        assert file.path in places.OF_GATEWAY


def test_it_listens_where_it_is_told() -> None:
    everywhere = Machine(has_ipv6=True)
    both = ["0.0.0.0:80", "[::]:80"]
    assert re.findall(r"listen (\S+);", conf(listen=None, port=80))[:2] == both
    assert "listen [::1]:80;" in conf(listen="::1", port=80)
    assert "listen 10.0.0.5:443 ssl;" in conf(listen="10.0.0.5", port=443, tls=TlsPlan("internal"))
    text = nginx_files(plan(listen=None), replace(everywhere, has_ipv6=False))[0].text
    assert "[::]" not in text


def test_with_acme_port_80_has_the_challenges_and_nothing_else() -> None:
    text = conf(listen=None, port=443, tls=TlsPlan("acme"), names=("llm.example.com",))
    [block] = [part for part in text.split("server {") if "acme-challenge" in part]
    assert "listen 0.0.0.0:80;" in block and "listen [::]:80;" in block
    assert "server_name llm.example.com;" in block and "js_content" not in block
    assert "acme-challenge" not in conf(tls=TlsPlan("internal"))


def test_two_names_of_one_model_are_one() -> None:
    twice = (*POOLS, ModelPool("library/qwen3:8b", (Member("gpu02.chat", 2, 100),)))
    assert conf(pools=twice).count('"qwen3:8b" "model.') == 1
    assert canonical_name("registry.ollama.ai/library/Qwen3") == "qwen3:latest"
    assert canonical_name("hf.co:443/a/b") == "hf.co:443/a/b:latest"


def test_a_name_that_nginx_would_read_otherwise_is_refused() -> None:
    for name in ('a"b:1', "a$b:1", "a\nb:1", "a;b:1", "a\\b:1", "a{b:1"):
        with pytest.raises(ValueError, match=r"cannot stand in nginx\.conf"):
            conf(pools=(ModelPool(name, ()),))


@pytest.fixture(scope="module")
def secure(make_front: Callable[..., Front]) -> Front:
    return make_front(tls=TlsPlan("files"))


def test_it_speaks_tls(secure: Front) -> None:
    assert secure.post("/api/chat", CHAT).status_code == 200
    assert secure.post("/api/chat", CHAT, None).status_code == 401


def test_who_speaks_plain_http_to_it_is_told(secure: Front) -> None:
    said = secure.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400 ") and b'{"error":' in said


@pytest.mark.parametrize(
    ("most", "works"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)]
)
def test_old_versions_of_tls_are_refused(secure: Front, most: str, works: bool) -> None:
    context = ssl.create_default_context(cafile=str(secure.certificate))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):  # Python, too, finds them too old
        context.minimum_version = context.maximum_version = ssl.TLSVersion[most]
    with socket.create_connection(("127.0.0.1", secure.port)) as plain:
        if works:
            context.wrap_socket(plain, server_hostname="127.0.0.1").close()
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_weak_ciphers_are_refused(secure: Front) -> None:
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", "-tls1_2", "-cipher"]
    weak = "AES128-SHA:AES256-SHA:DES-CBC3-SHA:NULL:@SECLEVEL=0"
    done = subprocess.run([*words, weak], input=b"", capture_output=True)
    assert done.returncode != 0 and b"handshake failure" in done.stderr


def test_reloads_lose_no_request(make_front: Callable[..., Front]) -> None:
    front = make_front()
    front.balancer.reply = lambda request: Reply(200, (b"a",) * 5, wait=lambda: time.sleep(0.01))
    stop = threading.Event()
    wrong: list[object] = []
    served: list[int] = []

    def client() -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {KEYS['app']}"
            while not stop.is_set():
                try:
                    reply = session.post(f"{front.url}/api/chat", json=CHAT, timeout=10)
                    served.append(reply.status_code)
                    if reply.content != b"aaaaa":
                        wrong.append(reply.content)
                except requests.RequestException as error:
                    wrong.append(error)

    clients = [threading.Thread(target=client) for _ in range(6)]
    for one in clients:
        one.start()
    for _ in range(30):
        front.reload()
        time.sleep(0.02)
    stop.set()
    for one in clients:
        one.join()
    assert not wrong
    assert len(served) > 50 and set(served) == {200}


def test_a_stream_outlives_a_reload(make_front: Callable[..., Front]) -> None:
    front = make_front()
    go = threading.Event()
    front.balancer.reply = lambda request: Reply(200, (b"a", b"b"), wait=lambda: go.wait(5))
    with front.ask("POST", "/api/chat", data=json.dumps(CHAT), stream=True) as running:
        front.reload()
        go.set()
        assert running.content == b"ab"


def test_nothing_but_crashes_is_in_the_error_log(secure: Front, tmp_path: Path) -> None:
    assert secure.errors() == ""
