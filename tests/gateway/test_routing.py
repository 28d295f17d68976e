"""Which slices a request comes to, and what it is then."""

import json
from typing import Any

import pytest

from tests.gateway.balancer import Reply
from tests.gateway.front import POOLS_BY_MODEL, Front

QWEN = POOLS_BY_MODEL["qwen3:8b"]
HF = "hf.co/Some/Model-GGUF:Q4_K_M"
WORK = [
    *("/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/api/show"),
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"),
]


@pytest.mark.parametrize("path", WORK)
def test_a_request_goes_to_the_slices_of_its_model_as_it_came(front: Front, path: str) -> None:
    body = '{ "stream":false, "big": 12345678901234567890, "model" : "qwen3:8b", "prompt": "h\\u00e9 é"}'
    assert front.post(path, body).status_code == 200
    [request] = front.balancer.requests
    assert (request.method, request.path, request.pool) == ("POST", path, QWEN)
    assert request.body == body.encode()


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("QWEN3:8B", "qwen3:8b"),
        ("library/qwen3:8b", "qwen3:8b"),
        ("registry.ollama.ai/library/Qwen3:8b", "qwen3:8b"),
        (HF, HF),
        (HF.lower(), HF),
    ],
)
def test_a_model_has_the_names_that_it_has_for_ollama(front: Front, name: str, model: str) -> None:
    assert front.post("/api/chat", {"model": name}).status_code == 200
    assert front.balancer.requests[-1].pool == POOLS_BY_MODEL[model]


@pytest.mark.parametrize(
    "name", ["qwen3", "qwen3:latest", "other/qwen3:8b", "https://qwen3:8b", "é"]
)
def test_a_name_that_is_no_model_of_the_fleet_is_not_found(front: Front, name: str) -> None:
    reply = front.post("/api/chat", {"model": name})
    assert reply.status_code == 404
    assert reply.json()["error"].startswith(f"model '{name}' not found; this fleet has gemma3:4b, ")
    assert not front.balancer.requests


def test_each_api_gets_errors_in_its_own_shape(front: Front) -> None:
    def told(path: str) -> Any:
        return front.post(path, {"model": "none"}).json()

    assert list(told("/api/generate")) == ["error"]
    assert list(told("/v1/chat/completions")["error"]) == ["message", "type", "param", "code"]
    assert told("/v1/embeddings")["error"]["type"] == "not_found_error"
    assert told("/v1/messages")["type"] == "error"
    assert told("/model/none/v1/messages")["error"]["type"] == "not_found_error"


@pytest.mark.parametrize(
    ("path", "pool"),
    [
        ("/model/qwen3:8b/api/chat", QWEN),
        ("/model/qwen3%3a8b/api/chat", QWEN),
        (f"/model/{HF}/v1/chat/completions", POOLS_BY_MODEL[HF]),
        ("/slice/gpu02/chat/api/chat", "slice.gpu02.chat"),
        ("/slice/GPU01/chat/v1/messages", "slice.gpu01.chat"),
    ],
)
def test_a_path_can_name_the_model_or_the_very_slice(front: Front, path: str, pool: str) -> None:
    model = HF if "hf.co" in path else "qwen3:8b"
    assert front.post(path, {"model": model}).status_code == 200
    [request] = front.balancer.requests
    assert request.pool == pool
    assert request.path == path[path.find("/v1" if "/v1" in path else "/api") :]


def test_a_model_in_the_path_is_put_into_the_body(front: Front) -> None:
    assert front.post("/model/qwen3:8b/api/generate", '{"prompt": "é"}').status_code == 200
    assert front.balancer.requests[-1].body == '{"model":"qwen3:8b","prompt": "é"}'.encode()
    assert front.post("/model/qwen3:8b/api/generate", "{}").status_code == 200
    assert front.balancer.requests[-1].json == {"model": "qwen3:8b"}


def test_path_and_body_must_mean_the_same_model(front: Front) -> None:
    assert front.post("/model/qwen3:8b/api/chat", {"model": "gemma3:4b"}).status_code == 400
    assert front.post("/slice/gpu02/chat/api/chat", {"model": "gemma3:4b"}).status_code == 404
    assert front.post("/slice/gpu09/chat/api/chat", {"model": "gemma3:4b"}).status_code == 404
    assert not front.balancer.requests


def test_the_old_word_for_the_model_is_taken(front: Front) -> None:
    assert front.post("/api/show", {"name": "qwen3:8b"}).status_code == 200
    assert front.balancer.requests[-1].json == {"name": "qwen3:8b", "model": "qwen3:8b"}
    assert front.post("/api/show", {"name": "gemma3:4b", "model": "qwen3:8b"}).status_code == 400


RELOADING = {
    "num_ctx": 99,
    "num_gpu": 0,
    "num_batch": 1,
    "main_gpu": 1,
    "num_thread": 2,
    "use_mmap": False,
}


def test_no_client_makes_a_slice_load_or_unload(front: Front) -> None:
    body = {
        "model": "qwen3:8b",
        "keep_alive": 0,
        "options": {"seed": 3, **RELOADING, "stop": ["a}", "é"]},
        "prompt": 'é "x" }',
    }
    assert front.post("/api/generate", body).status_code == 200
    assert front.balancer.requests[-1].json == {
        "model": "qwen3:8b",
        "prompt": 'é "x" }',
        "options": {"seed": 3, "stop": ["a}", "é"]},
    }


def test_what_is_kept_of_a_request_is_kept_byte_for_byte(front: Front) -> None:
    kept = (
        ' "model":"qwen3:8b", "tools":[{"z":1.0,"a":12345678901234567890,"z":"\\ud83d\\ude00 😀"}]'
    )
    assert front.post("/api/chat", "{" + kept + ', "keep_alive": "5m"}').status_code == 200
    assert front.balancer.requests[-1].body == ("{" + kept + "}").encode()


def test_a_slice_is_told_nothing_of_the_client_but_the_body(front: Front) -> None:
    headers = {
        **{
            "X-Ollama-Pool": "model.gemma3_3a4b",
            "X-Ollama-Slice": "gpu02.chat",
            "Origin": "http://x",
        },
        **{"X-Forwarded-For": "1.2.3.4", "Cookie": "a=b", "x-api-key": "sk", "Host": "evil"},
    }
    front.ask("POST", "/api/chat?a=b", data='{"model":"qwen3:8b"}', headers=headers)
    [request] = front.balancer.requests
    assert request.path == "/api/chat"
    del request.headers["X-Request-Id"]
    assert {name.lower(): value for name, value in request.headers.items()} == {
        "host": "localhost",
        "content-type": "application/json",
        "content-length": "20",
        "x-ollama-pool": QWEN,
    }


def test_a_client_sees_nothing_of_the_slice_that_served_it(front: Front) -> None:
    reply = front.post("/api/chat", {"model": "qwen3:8b"})
    assert not {"x-served-by", "via"} & {name.lower() for name in reply.headers}
    assert reply.headers["Server"] == "nginx"


def test_what_a_slice_refuses_comes_as_the_slice_says_it(front: Front) -> None:
    said = b'{"error":"\\"qwen3:8b\\" does not support chat"}'
    front.balancer.reply = lambda request: Reply(400, (said,))
    reply = front.post("/api/chat", {"model": "qwen3:8b"})
    assert (reply.status_code, reply.content) == (400, said)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_who_finds_all_slices_busy_is_told_when_to_come_again(front: Front, status: int) -> None:
    front.balancer.reply = lambda request: Reply(status, (b"<html>",))
    reply = front.post("/v1/chat/completions", {"model": "qwen3:8b"})
    assert reply.status_code == status
    assert int(reply.headers["Retry-After"]) > 0
    assert reply.headers["Content-Type"] == "application/json"
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_a_stream_comes_piece_by_piece(front: Front) -> None:
    import threading

    go = threading.Semaphore(0)
    pieces = tuple(b'{"response":"%d"}\n' % number for number in range(5))
    front.balancer.reply = lambda request: Reply(200, pieces, wait=lambda: go.acquire(timeout=5))
    go.release()
    data = json.dumps({"model": "qwen3:8b"})
    with front.ask("POST", "/api/generate", data=data, stream=True) as reply:
        came = reply.iter_content(None)
        for piece in pieces:
            assert next(came) == piece
            go.release()


def test_a_client_that_leaves_ends_its_request_at_the_slice(front: Front) -> None:
    import time

    front.balancer.reply = lambda request: Reply(
        200, (b"x" * 1000,) * 200, wait=lambda: time.sleep(0.02)
    )
    data = json.dumps({"model": "qwen3:8b"})
    front.ask("POST", "/api/generate", data=data, stream=True).close()
    until = time.monotonic() + 20
    while not front.balancer.broken:
        assert time.monotonic() < until, "the slice goes on for nobody"
        time.sleep(0.02)


@pytest.mark.parametrize("more", [{}, {"keep_alive": 0}])
def test_a_slice_that_is_just_gone_is_tried_no_more_and_nobody_notices(
    front: Front, more: dict[str, Any]
) -> None:
    """The balancer says 425 while it does not know yet; bodies of any size are sent again."""
    body = {"model": "qwen3:8b", "prompt": "word " * 100_000, **more}
    usual_reply, left = front.balancer.reply, [425, 425]

    def reply(request: Any) -> Reply:
        return Reply(left.pop(), ()) if left else usual_reply(request)

    front.balancer.reply = reply
    answer = front.post("/api/generate", body)
    assert answer.status_code == 200 and answer.json()["response"] == "hello"
    assert [request.json["prompt"] for request in front.balancer.requests] == [body["prompt"]] * 3

    front.balancer.reply = lambda request: Reply(425, ())
    for path, error in (("/api/chat", ""), ("/v1/chat/completions", "message")):
        refused = front.post(path, {"model": "qwen3:8b"})
        assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
        said = refused.json()["error"]
        assert "try again" in (said[error] if error else said)
