"""What an operator reads of each request, and what nobody may read there."""

import json
import time

from tests.gateway.balancer import Reply
from tests.gateway.front import KEYS, Front

SECRET = "the cat sat on the mat"
CHAT = {"model": "qwen3:8b", "prompt": SECRET, "messages": [{"role": "user", "content": SECRET}]}


def test_a_line_says_who_asked_what_of_which_slice(front: Front) -> None:
    front.post("/model/QWEN3:8B/api/chat?a=b", CHAT)
    line = front.last(status=200, path="/model/QWEN3:8B/api/chat")
    assert line["time"].startswith("20") and len(line["id"]) == 32
    assert (line["client"], line["key"], line["method"]) == ("127.0.0.1", "app", "POST")
    assert (line["model"], line["slice"]) == ("qwen3:8b", "gpu01.model.qwen3_3a8b")
    assert line["bytes_in"] > 100 and line["bytes_out"] > 50
    assert 0 <= line["first_byte_seconds"] <= line["upstream_seconds"] <= line["seconds"] + 0.01
    assert (line["tokens_in"], line["tokens_out"]) == (7, 11)


def tokens(front: Front, *pieces: str) -> tuple[int | None, int | None]:
    front.balancer.reply = lambda request: Reply(200, tuple(piece.encode() for piece in pieces))
    before = len(front.log())
    assert front.post("/api/generate", CHAT).content == "".join(pieces).encode()
    until = time.monotonic() + 20
    while len(front.log()) == before:
        assert time.monotonic() < until
        time.sleep(0.01)
    line = front.log()[before]
    return line["tokens_in"], line["tokens_out"]


def test_tokens_are_counted_where_the_response_tells(front: Front) -> None:
    def count(*pieces: str) -> tuple[int | None, int | None]:
        return tokens(front, *pieces)

    end = '{"done":true,"context":[%s],"prompt_eval_count":26,"eval_count":298,"eval_duration":1}\n'
    assert count('{"response":"é"}\n', '{"response":"ü"}\n', end % "1") == (26, 298)
    assert count(end % ",".join(["123456"] * 20_000)) == (26, 298)
    assert count('{"done":true,"prompt_eval', '_count":5,"eval_co', 'unt":6}') == (5, 6)
    assert count('{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}') == (3, 4)
    assert count('data: {"usage":{"input_tokens": 8, "output_tokens": 9}}\n\n') == (8, 9)
    assert count('{"embeddings":[[0.1]],"prompt_eval_count":2}') == (2, None)
    assert count('{"response":"say \\"eval_count\\":5"}') == (None, None)
    assert count("x" * 100_000, "y") == (None, None)


def test_refused_requests_are_in_the_log_too(front: Front) -> None:
    front.post("/api/pull", CHAT)
    assert front.last(path="/api/pull")["status"] == 403
    front.post("/api/chat", CHAT, "sk-wrong")
    assert front.last(status=401)["key"] == ""
    front.raw(b"GARBAGE\r\n\r\n")
    assert front.last(status=400)["method"] == ""
    front.balancer.reply = lambda request: Reply(503, (b"",))
    front.post("/api/embed", CHAT)
    assert front.last(path="/api/embed")["status"] == 503


def test_no_prompt_and_no_key_is_in_any_log(front: Front) -> None:
    front.post(f"/api/chat?key={KEYS['app']}&p={SECRET.replace(' ', '+')}", CHAT)
    front.post(f"/api/chat?key={KEYS['app']}", '{"model":"' + SECRET)
    front.post("/api/chat", {**CHAT, "model": SECRET})
    front.post("/api/chat", {**CHAT, "keep_alive": SECRET, "options": {SECRET: SECRET}})
    front.ask("POST", "/api/chat", None, data=json.dumps(CHAT), headers={"x-api-key": SECRET})
    front.raw(f"POST /api/chat?key={KEYS['app']} HTTP/1.1\r\nBad Header\r\n\r\n".encode())
    front.raw(f"GET /{KEYS['app'] * 1000} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    text = front.errors() + json.dumps(front.log())
    assert SECRET not in text and "sat" not in text
    assert KEYS["app"] not in text.replace(f"/{KEYS['app']}", "")
