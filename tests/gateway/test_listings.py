"""What the fleet says of itself, put together from its slices."""

import json
import time
from collections.abc import Callable

import pytest

from ollama_fleet.planner.gateway import Upstream
from ollama_fleet.planner.model_pools import Member, ModelPool
from tests.gateway.balancer import Reply, Request, usual
from tests.gateway.front import KEYS, Front


def names(front: Front, path: str, key: str = KEYS["app"]) -> list[str]:
    reply = front.ask("GET", path, key)
    assert reply.status_code == 200, reply.text
    said = reply.json()
    return [one.get("id") or one["name"] for one in said.get("data", said.get("models"))]


@pytest.fixture
def fresh(make_front: Callable[..., Front]) -> Front:
    """Answers are kept for two seconds; this one has none yet."""
    return make_front()


def test_the_list_of_models_is_that_of_the_whole_fleet(fresh: Front) -> None:
    assert names(fresh, "/api/tags") == ["gemma3:4b", "qwen3:8b"]
    assert names(fresh, "/v1/models") == ["gemma3:4b", "qwen3:8b"]
    assert {request.pool for request in fresh.balancer.requests} == {
        *("model.gemma3_3a4b", "model.qwen3_3a8b", "model.hf.co_2fSome_2fModel-GGUF_3aQ4_5fK_5fM"),
    }


def test_what_no_request_can_be_sent_to_is_not_in_it(fresh: Front) -> None:
    for path in ("/api/tags", "/v1/models", "/api/ps", "/slice/gpu01/chat/api/tags"):
        assert "left-behind:1b" not in names(fresh, path)


def test_a_key_sees_its_models_only(fresh: Front) -> None:
    assert names(fresh, "/api/tags", KEYS["narrow"]) == ["gemma3:4b"]
    assert names(fresh, "/v1/models", KEYS["narrow"]) == ["gemma3:4b"]
    assert set(names(fresh, "/api/ps", KEYS["narrow"])) == {"gemma3:4b"}
    assert fresh.ask("GET", "/v1/models/qwen3:8b", KEYS["narrow"]).status_code == 403


def test_a_path_narrows_it(fresh: Front) -> None:
    assert names(fresh, "/model/qwen3:8b/api/tags") == ["qwen3:8b"]
    assert names(fresh, "/model/qwen3:8b/v1/models") == ["qwen3:8b"]
    assert names(fresh, "/slice/gpu01/chat/api/tags") == ["qwen3:8b", "gemma3:4b"]
    assert names(fresh, "/slice/gpu02/chat/v1/models") == ["qwen3:8b"]
    assert names(fresh, "/slice/gpu02/chat/api/ps") == ["qwen3:8b"]
    assert fresh.ask("GET", "/slice/gpu09/chat/api/tags").status_code == 404
    assert fresh.ask("GET", "/model/none/api/tags").status_code == 404


def test_loaded_models_are_those_of_all_slices(fresh: Front) -> None:
    assert names(fresh, "/api/ps") == ["qwen3:8b", "gemma3:4b", "qwen3:8b"]
    assert {request.pool for request in fresh.balancer.requests} == {
        "slice.gpu01.chat",
        "slice.gpu02.chat",
    }


def test_one_model_is_shown_as_openais_clients_ask(fresh: Front) -> None:
    for name in ("qwen3:8b", "qwen3%3A8b", "QWEN3:8B"):
        assert fresh.ask("GET", f"/v1/models/{name}").json() == {
            **{"id": "qwen3:8b", "object": "model", "created": 1787134272, "owned_by": "library"},
        }
    said = fresh.ask("GET", "/v1/models/none")
    assert (said.status_code, said.json()["error"]["code"]) == (404, "model_not_found")


def test_the_version_is_the_lowest(fresh: Front) -> None:
    assert fresh.ask("GET", "/api/version").json() == {"version": "0.32.9"}


def test_slices_that_do_not_answer_are_left_out(fresh: Front) -> None:
    def half(request: Request) -> Reply:
        if request.pool in ("model.gemma3_3a4b", "slice.gpu01.chat"):
            return Reply(503, (b"<html>",))
        return usual(request)

    fresh.balancer.reply = half
    assert names(fresh, "/api/tags") == ["qwen3:8b"]
    assert names(fresh, "/api/ps") == ["qwen3:8b"]
    assert fresh.ask("GET", "/v1/models/gemma3:4b").status_code == 503


@pytest.mark.parametrize(
    "said",
    [
        *(b"[1", b"[]", b"{}", b"null", b'{"models":7}', b'{"models":[{}]}', b'{"models":[null]}'),
        b'{"models":[{"name":{"toString":1}}]}',
        b'{"models":[{"name":["qwen3:8b"]}]}',
    ],
)
def test_nonsense_of_a_slice_is_left_out(fresh: Front, said: bytes) -> None:
    fresh.balancer.reply = lambda request: Reply(200, (said,))
    assert names(fresh, "/api/tags") == names(fresh, "/api/ps") == []
    assert fresh.ask("GET", "/api/version").status_code == 503


def test_many_who_ask_are_one_question_for_a_slice(fresh: Front) -> None:
    began = time.monotonic()
    for _ in range(20):
        names(fresh, "/api/ps")
        names(fresh, "/api/ps", KEYS["narrow"])
    # Its answer is good for two seconds.
    times = 1 + (time.monotonic() - began) // 2
    assert len(fresh.balancer.requests) <= 4 * times < 40


def test_a_slow_slice_does_not_hold_up_the_others(fresh: Front) -> None:
    def slow(request: Request) -> Reply:
        if request.pool == "slice.gpu01.chat":
            time.sleep(16)
        return usual(request)

    fresh.balancer.reply = slow
    began = time.monotonic()
    assert names(fresh, "/api/ps") == ["qwen3:8b"]
    assert time.monotonic() - began < 14


def test_a_large_fleet_is_listed(make_front: Callable[..., Front]) -> None:
    upstreams = tuple(Upstream(f"gpu{n:03}", "chat", "10.0.0.1", 2) for n in range(300))
    pools = tuple(
        ModelPool(
            f"family{n:03}:{size}b", tuple(Member(one.name, 2, 100) for one in upstreams[:40])
        )
        for n in range(100)
        for size in (1, 8)
    )
    front = make_front(upstreams=upstreams, pools=pools)

    def all_of_them(request: Request) -> Reply:
        models = [{"name": pool.model, "modified_at": "2026-08-19T10:11:12Z"} for pool in pools]
        return Reply(200, (json.dumps({"models": models}).encode(),))

    front.balancer.reply = all_of_them
    assert names(front, "/v1/models") == [pool.model for pool in pools]
    assert len(names(front, "/api/ps")) == 40 * 200
    assert front.post("/api/chat", {"model": "family099:8b"}).status_code == 200
    assert front.balancer.requests[-1].pool == "model.family099_3a8b"
    assert front.last(path="/api/ps")["seconds"] < 8
