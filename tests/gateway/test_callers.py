"""Who may call the gateway, and how often."""

import json
import threading
import time
from collections.abc import Callable

import pytest

from tests.gateway.balancer import Reply
from tests.gateway.front import KEYS, Front

CHAT = {"model": "qwen3:8b"}


@pytest.mark.parametrize(
    "key", [None, "", "sk-wrong", KEYS["app"][:-1], KEYS["app"] + "0", "a" * 3000]
)
def test_without_a_valid_key_nothing_is_told(front: Front, key: str | None) -> None:
    asked = [
        front.ask("GET", "/api/tags", key),
        front.ask("GET", "/v1/models", key),
        front.post("/api/chat", CHAT, key),
        front.post("/api/chat", "{", key),
        front.post("/api/pull", CHAT, key),
        front.post("/no/such/path", CHAT, key),
    ]
    assert {reply.status_code for reply in asked} == {401}
    assert len({reply.json()["error"] if "/v1" not in reply.url else "" for reply in asked}) == 2
    assert {reply.headers["WWW-Authenticate"] for reply in asked} == {"Bearer"}
    assert not front.balancer.requests


def test_a_body_without_a_key_is_not_even_awaited(front: Front) -> None:
    head = "POST /api/chat HTTP/1.1\r\nHost: gw\r\nContent-Length: 5000000\r\n\r\n"
    assert front.raw(head.encode()).startswith(b"HTTP/1.1 401 ")


def test_the_answer_without_a_key_has_the_shape_of_the_api(front: Front) -> None:
    assert list(front.ask("GET", "/v1/models", None).json()["error"]) == [
        "message",
        "type",
        "param",
        "code",
    ]
    said = front.post("/v1/messages", CHAT, None).json()
    assert (said["type"], said["error"]["type"]) == ("error", "authentication_error")


def test_anybody_may_ask_whether_it_runs(front: Front) -> None:
    assert front.ask("GET", "/", None).text == "Ollama is running"
    assert front.ask("HEAD", "/", None).status_code == 200
    assert front.ask("POST", "/", None).status_code == 401


def test_a_key_may_come_as_anthropics_clients_send_it(front: Front) -> None:
    reply = front.ask("POST", "/v1/messages", None, json=CHAT, headers={"x-api-key": KEYS["app"]})
    assert reply.status_code == 200
    headers = {"Authorization": f"bearer {KEYS['app']}"}
    assert front.ask("POST", "/v1/messages", None, json=CHAT, headers=headers).status_code == 200
    headers = {"Authorization": f"Basic {KEYS['app']}"}
    assert front.ask("POST", "/v1/messages", None, json=CHAT, headers=headers).status_code == 401


def test_two_keys_are_none(front: Front) -> None:
    twice = f"Authorization: Bearer {KEYS['app']}\r\n" * 2
    said = front.raw(f"GET /api/tags HTTP/1.1\r\nHost: a\r\n{twice}\r\n".encode())
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 "))


def test_an_expired_key_is_told_so(front: Front) -> None:
    reply = front.post("/api/chat", CHAT, KEYS["old"])
    assert (reply.status_code, reply.json()["error"]) == (403, "the key 'old' has expired")


def test_a_key_has_its_models_only(front: Front) -> None:
    assert front.post("/api/chat", {"model": "gemma3:4b"}, KEYS["narrow"]).status_code == 200
    for path in ("/api/chat", "/model/qwen3:8b/api/chat", "/slice/gpu01/chat/api/chat"):
        reply = front.post(path, CHAT, KEYS["narrow"])
        assert reply.status_code == 403
        assert reply.json()["error"] == "the key 'narrow' may not use the model 'qwen3:8b'"
    said = front.post("/api/chat", {"model": "x"}, KEYS["narrow"]).json()["error"]
    assert said == "model 'x' not found; this fleet has gemma3:4b"
    assert len(front.balancer.requests) == 1


def test_who_is_too_quick_is_told_when_to_come_again(make_front: Callable[..., Front]) -> None:
    front = make_front()
    asked = [front.post("/v1/chat/completions", CHAT, KEYS["slow"]) for _ in range(4)]
    assert [reply.status_code for reply in asked] == [200, 200, 429, 429]
    assert asked[2].headers["Retry-After"] == "30"
    assert asked[2].json()["error"]["type"] == "rate_limit_error"
    assert front.post("/api/chat", CHAT).status_code == 200


def test_a_request_that_goes_through_counts_once(make_front: Callable[..., Front]) -> None:
    """Though nginx looks at it again after it is routed, and asks slices on its behalf."""
    front = make_front()
    assert front.ask("GET", "/api/ps", KEYS["slow"]).status_code == 200
    assert front.post("/api/chat", {**CHAT, "keep_alive": 0}, KEYS["slow"]).status_code == 200
    assert front.post("/api/chat", CHAT, KEYS["slow"]).status_code == 429


def test_a_key_has_so_many_requests_at_a_time(front: Front) -> None:
    go = threading.Event()
    front.balancer.reply = lambda request: Reply(200, (b"{}",), wait=lambda: go.wait(30))
    data = json.dumps(CHAT)
    with front.ask("POST", "/api/chat", KEYS["one"], data=data, stream=True) as running:
        assert front.post("/api/chat", CHAT, KEYS["one"]).status_code == 429
        go.set()
        assert running.content == b"{}"
    until = time.monotonic() + 20
    while front.post("/api/chat", CHAT, KEYS["one"]).status_code != 200:
        assert time.monotonic() < until


def test_a_fleet_may_ask_for_no_keys(make_front: Callable[..., Front]) -> None:
    front = make_front(needs_key=False)
    assert front.post("/api/chat", CHAT, None).status_code == 200
    assert front.post("/api/chat", CHAT, "sk-any").status_code == 200
    assert front.ask("GET", "/api/version", None).json() == {"version": "0.32.9"}
    assert front.post("/api/pull", CHAT, None).status_code == 403
