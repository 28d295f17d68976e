"""One address for two hosts: a gateway on a machine of its own, as clients, strangers and operators see it.

Real nginx, HAProxy and certificates; the official `ollama` and `openai` clients, unchanged.
"""

import base64
import json
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, ROOT, Fleet
from tests.lab.reach import open_ports

GATEWAY, ONE, TWO = "gt0", "gt1", "gt2"
PORT, HOP_PORT, SSH_PORT = 443, 11443, 22
CHAT, EYES, EMBEDS = "llama3.2:1b", "gemma3:4b", "nomic-embed-text"
ASKED = [{"role": "user", "content": "What is the weather?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "required": ["place"],
            "properties": {"place": {"type": "string"}},
        },
    },
}
IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(3_000_000)).decode()


@dataclass
class Site:
    """A fleet with a gateway in front, and the key of a caller who may do everything."""

    fleet: Fleet
    key: str = ""
    refused: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"https://{self.fleet.lab.address(GATEWAY)}"

    @property
    def ca(self) -> str:
        """What clients trust."""
        return str(self.fleet.folder / "test.ca/ca.pem")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`fleet WORDS`, as an operator types it."""
        return subprocess.run(
            [BIN / "fleet", *words], cwd=ROOT, capture_output=True, text=True, timeout=200
        )

    def add_key(self, name: str, *options: str) -> str:
        """A new key, in force on the gateway."""
        done = self.command("key", "add", str(self.inventory), name, "--yes", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    @property
    def inventory(self) -> Path:
        return self.fleet.inventory

    def client(self, key: str | None = None, timeout: float = 60) -> httpx.Client:
        """A plain client."""
        chosen = self.key if key is None else key
        headers = {"Authorization": f"Bearer {chosen}"} if chosen else {}
        context = ssl.create_default_context(cafile=self.ca)
        return httpx.Client(
            base_url=self.url, headers=headers, verify=context, timeout=timeout, trust_env=False
        )

    def ask(self, body: dict[str, Any], path: str = "/api/chat", key: str | None = None) -> Any:
        """One answer."""
        with self.client(key) as client:
            return client.post(path, json=body)

    def log(self) -> list[dict[str, Any]]:
        """The gateway's access log."""
        text = self.fleet.sh(GATEWAY, "cat /var/log/ollama-gateway/access.log")
        return [json.loads(line) for line in text.splitlines()]


def settings(**more: Any) -> dict[str, Any]:
    return {
        "gateway": {"names": ["llm.example.org"], "wait_s": 20, **more},
        "gateways": {GATEWAY: {"address": "set below"}},
    }


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two hosts with two GPUs each, and a gateway in front of them, just deployed."""
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), lab)
    bare(lab, GATEWAY, "no-gpu")
    for host in (ONE, TWO):
        fleet.add(
            bare(lab, host, "2x-rtx3090"),
            {"name": "a", "gpus": [0], "models": [CHAT, EMBEDS], "parallel": 2},
            {"name": "b", "gpus": [1], "models": [CHAT, *([EYES] if host == ONE else [])]},
        )
    fleet.settings = settings()
    fleet.settings["gateways"][GATEWAY]["address"] = lab.address(GATEWAY)
    run = fleet.deploy()
    assert run.code == 0, run.text
    found = Site(fleet)
    found.key = found.add_key("everything")
    yield found
    for host in (GATEWAY, ONE, TWO):
        lab.remove(host)


@pytest.fixture
def native(site: Site) -> ollama.Client:
    return ollama.Client(
        host=site.url,
        verify=ssl.create_default_context(cafile=site.ca),
        headers={"Authorization": f"Bearer {site.key}"},
        trust_env=False,
    )


@pytest.fixture
def compatible(site: Site) -> Iterator[openai.OpenAI]:
    http = httpx.Client(verify=ssl.create_default_context(cafile=site.ca), trust_env=False)
    with openai.OpenAI(
        base_url=f"{site.url}/v1", api_key=site.key, http_client=http, max_retries=0
    ) as client:
        yield client


def test_a_second_run_changes_nothing(site: Site) -> None:
    run = site.fleet.deploy()
    assert run.code == 0, run.text
    assert run.changed() == {}


def test_ollamas_own_client_works_unchanged(native: ollama.Client) -> None:
    assert CHAT in native.generate(CHAT, "Hello").response
    parts = list(native.chat(CHAT, ASKED, stream=True))
    assert len(parts) > 5 and parts[-1].done and parts[-1].eval_count
    assert len(native.embed(EMBEDS, ["a", "b"]).embeddings) == 2
    assert native.embeddings(EMBEDS, "a").embedding
    assert {model.model for model in native.list().models} == {CHAT, EYES, f"{EMBEDS}:latest"}
    assert CHAT in {model.model for model in native.ps().models}
    assert native.show(CHAT).details
    assert native.chat(CHAT, ASKED, tools=[TOOL]).message.tool_calls[0].function.name == "weather"
    seen = native.chat(EYES, [{"role": "user", "content": "What is it?", "images": [IMAGE]}])
    assert seen.message.content
    with pytest.raises(ollama.ResponseError, match=f"'nothing:1b' not found.*{CHAT}") as refused:
        native.chat("nothing:1b", ASKED)
    assert refused.value.status_code == 404
    for forbidden in (lambda: native.pull(CHAT), lambda: native.delete(CHAT)):
        with pytest.raises(ollama.ResponseError) as refused:
            forbidden()
        assert refused.value.status_code in (403, 404, 405)


def test_openais_client_works_unchanged(compatible: openai.OpenAI) -> None:
    made = compatible.chat.completions.create(model=CHAT, messages=ASKED)  # type: ignore[arg-type]
    assert made.usage and made.usage.completion_tokens
    chunks = list(
        compatible.chat.completions.create(model=CHAT, messages=ASKED, stream=True)  # type: ignore[call-overload]
    )
    assert len(chunks) > 5 and chunks[-1].choices[0].finish_reason == "stop"
    assert len(compatible.embeddings.create(model=EMBEDS, input=["a", "b"]).data) == 2
    assert compatible.completions.create(model=CHAT, prompt="Hello").choices[0].text
    assert {model.id for model in compatible.models.list()} == {CHAT, EYES, f"{EMBEDS}:latest"}
    called = compatible.chat.completions.create(model=CHAT, messages=ASKED, tools=[TOOL])  # type: ignore[call-overload]
    assert called.choices[0].message.tool_calls[0].function.name == "weather"
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
    seen = compatible.chat.completions.create(
        model=EYES,
        messages=[{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}],  # type: ignore[list-item,misc]
    )
    assert seen.choices[0].message.content
    with pytest.raises(openai.NotFoundError, match=CHAT):
        compatible.chat.completions.create(model="nothing", messages=ASKED)  # type: ignore[arg-type]


def test_requests_go_to_every_slice_of_a_model_and_wait_their_turn(site: Site) -> None:
    """Six places on four slices; thirty at once are all answered."""
    body = {"model": CHAT, "messages": ASKED, "stream": False, "options": {"num_predict": 30}}
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: site.ask(body), range(30)))
    assert [answer.status_code for answer in answers] == [200] * 30
    served = {line["slice"] for line in site.log()[-30:]}
    assert served == {f"{host}.{name}" for host in (ONE, TWO) for name in ("a", "b")}


def test_a_client_cannot_make_a_slice_reload_or_unload(site: Site) -> None:
    fleet = site.fleet
    ps = "{ curl -fs 127.0.0.1:11434/api/ps; curl -fs 127.0.0.1:11435/api/ps; }"
    loaded = f"{ps} | grep -o '\"context_length\":[0-9]*'"
    before = [fleet.sh(host, loaded) for host in (ONE, TWO)]
    assert len("".join(before)) > 100
    for more in (
        {"options": {"num_ctx": 512}},
        {"keep_alive": 0},
        {"keep_alive": 0, "messages": []},
    ):
        body = {"model": CHAT, "messages": ASKED, "stream": False, **more}
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _, body=body: site.ask(body), range(6)))  # type: ignore[misc]
        assert {answer.status_code for answer in answers} == {200}
    assert [fleet.sh(host, loaded) for host in (ONE, TWO)] == before


def test_a_path_names_a_slice(site: Site) -> None:
    body = {"model": CHAT, "messages": ASKED, "stream": False}
    assert site.ask(body, f"/slice/{TWO}/b/api/chat").status_code == 200
    assert site.log()[-1]["slice"] == f"{TWO}.b"
    assert site.ask({"model": EYES}, f"/slice/{TWO}/b/api/generate").status_code == 404


def test_keys_come_go_and_limit_without_a_restart(site: Site) -> None:
    pids = "systemctl show -p MainPID --value ollama-gateway ollama-balancer"
    before = site.fleet.sh(GATEWAY, pids)
    few = site.add_key("few", "--models", EMBEDS, "--rate", "3/m")
    body = {"model": EMBEDS, "input": "a"}
    with site.client(few) as client:
        named = [model["name"] for model in client.get("/api/tags").json()["models"]]
    assert named == [f"{EMBEDS}:latest"]
    assert site.ask({"model": CHAT, "messages": ASKED}, key=few).status_code == 403
    statuses = [site.ask(body, "/api/embed", few).status_code for _ in range(8)]
    assert statuses[-1] == 429, statuses
    again = site.ask(body, "/api/embed", few)
    assert int(again.headers["retry-after"]) > 0 and "too many" in again.json()["error"]
    assert site.ask(body, "/api/embed").status_code == 200, "others are not held up"
    done = site.command("key", "revoke", str(site.inventory), "few", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    for key in (few, "wrong", ""):
        assert site.ask(body, "/api/embed", key).status_code == 401
    assert site.fleet.sh(GATEWAY, pids) == before


def test_nothing_but_the_gateways_port_can_be_reached(site: Site) -> None:
    """From another machine of the lab: every TCP port of the gateway and of a host is tried."""
    lab = site.fleet.lab
    assert open_ports(lab, TWO, GATEWAY) == {PORT, SSH_PORT}
    assert open_ports(lab, GATEWAY, ONE) == {HOP_PORT, SSH_PORT}
    assert open_ports(lab, TWO, ONE) == {SSH_PORT}, "only gateways may knock at the hop"
    hop = f"https://{lab.address(ONE)}:{HOP_PORT}/api/tags"
    stranger = f"curl -sk -o /dev/null -w '%{{http_code}}' -H 'X-Ollama-Slice: {ONE}.a' {hop} || :"
    assert site.fleet.sh(GATEWAY, stranger) == "400", "no certificate, no answer"


def test_the_log_tells_who_what_where_and_how_long_and_no_more(site: Site) -> None:
    secret = "the-word-that-nobody-must-find"
    body = {"model": CHAT, "messages": [{"role": "user", "content": secret}], "stream": False}
    assert site.ask(body).status_code == 200
    line = site.log()[-1]
    assert (line["key"], line["model"], line["status"]) == ("everything", CHAT, 200)
    assert line["slice"].partition(".")[0] in (ONE, TWO)
    assert line["tokens_out"] > 0 and line["tokens_in"] > 0 and line["seconds"] > 0
    where = "/var/log/ollama-gateway /run/ollama-gateway"
    found = (
        f"grep -rlsF -e {secret} -e {site.key} {where}; journalctl -o cat | grep -cF {secret}; true"
    )
    assert site.fleet.sh(GATEWAY, found) == "0"


def test_every_unit_of_it_is_shut_in(site: Site) -> None:
    for host, units in ((GATEWAY, "gateway balancer"), (ONE, "hop health")):
        for unit in units.split():
            said = site.fleet.sh(
                host, f"systemd-analyze security --no-pager ollama-{unit} | grep Overall"
            )
            assert float(said.split(":")[1].split()[0]) <= 1.5, said


def test_a_gateway_is_given_up(site: Site) -> None:
    """Last: nothing of it stays, and the hosts close their doors."""
    fleet = site.fleet
    fleet.settings["gateways"][GATEWAY]["state"] = "absent"
    fleet.settings["gateways"]["gt-here"] = {"host": ONE}
    run = fleet.deploy()
    assert run.code == 0, run.text
    left = "ls -d /etc/ollama* /run/ollama* /var/log/ollama* /etc/systemd/system/ollama* 2>/dev/null; true"
    assert fleet.sh(GATEWAY, left) == ""
    assert fleet.sh(GATEWAY, "getent passwd ollama-gateway; true") == ""
    assert fleet.sh(ONE, "systemctl is-active ollama-gateway") == "active"
    fleet.settings.clear()
    run = fleet.deploy()
    assert run.code == 0, run.text
    kept = "/etc/ollama/gateway /etc/ollama/hop /run/ollama-gateway /etc/sysusers.d/ollama-gateway.conf"
    for host in (ONE, TWO):
        assert fleet.sh(host, f"ls -d {kept} 2>/dev/null; getent passwd ollama-gateway; true") == ""
        assert open_ports(fleet.lab, GATEWAY, host) == {SSH_PORT}
