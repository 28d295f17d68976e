"""What nobody may get through the gateway: one table of tricks, each with its answer, and nothing of any of
them at the slices."""

import json
import time

import pytest

from tests.gateway.balancer import Reply
from tests.gateway.front import KEYS, Front

KEY = f"Authorization: Bearer {KEYS['app']}\r\n"
GOOD = b'{"model":"qwen3:8b"}'
LENGTH = f"Content-Length: {len(GOOD)}\r\n"


def http(line: str, headers: str = "", body: bytes = b"") -> bytes:
    head = f"{line}\r\nHost: gw\r\nConnection: close\r\n{KEY}{headers}\r\n"
    return head.encode("latin-1") + body


def status(said: bytes) -> int:
    assert said.startswith(b"HTTP/1.1 "), said[:200]
    return int(said.split(b" ", 2)[1])


CLOSED = [
    *("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/sha256:00"),
    *("/api/me", "/api/signout", "/api/experimental/x", "/api/user/keys"),
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", CLOSED)
def test_what_changes_a_server_is_closed(front: Front, method: str, path: str) -> None:
    prefixes = ("", "/model/qwen3:8b", "/slice/gpu01/chat")
    for prefix in prefixes:
        data = GOOD if method in ("POST", "PUT", "PATCH") else None
        assert front.ask(method, prefix + path, data=data).status_code == 403
    assert not front.balancer.requests


# Trick: what the gateway says.
PATHS = {
    "/api%2Fchat": 404,
    "/api%2fchat": 404,
    "/%61pi/chat": 404,
    "//api/chat": 404,
    "/api//chat": 404,
    "/api/chat/": 404,
    "/api/./chat": 404,
    "/api/../api/chat": 404,
    "/api/x/../pull": 404,
    "/api/chat/../pull": 404,
    "/api/chat%00": 400,
    "/api/chat%0d%0aX-Ollama-Pool:%20x": 404,
    "/api/%2e%2e/api/pull": 404,
    "/../api/pull": 400,
    "/..%2fapi/pull": 400,
    "/api/chat;a": 404,
    "/api\\chat": 404,
    "/API/CHAT": 404,
    "/api/chat#x": 404,
    "/-fleet/api/tags": 404,
    "/-fleet/error/400": 404,
    "/x/../-fleet/api/tags?pool=slice.gpu01.chat": 404,
    "/fleet/configuration": 404,
    "/fleet/health": 404,
    "/model/../api/pull": 403,
    "/model/a/../../api/chat": 400,
    "/model/qwen3:8b%2f..%2f..%2fapi%2fpull/api/chat": 400,
    "/model/qwen3%003a8b/api/chat": 400,
    "/model/%0aqwen3/api/chat": 400,
    "/model//api/chat": 404,
    "/model/qwen3:8b/api/pull": 403,
    "/model/qwen3:8b/x": 405,
    "/model/qwen3:8b//api/chat": 400,
    "/model/x/model/qwen3:8b/api/chat": 400,
    "/slice/gpu01/chat/slice/gpu02/chat/api/chat": 404,
    "/slice/gpu01/../api/chat": 404,
    "/slice/gpu01.chat/x/api/chat": 404,
    "/slice/gpu01%2fchat/api/chat": 404,
    "/v1/models/qwen3:8b/../../api/pull": 400,
    "/" + "a" * 5000: 404,
    "/" + "a" * 9000: 414,
}


@pytest.mark.parametrize("path", PATHS)
def test_tricks_with_paths(front: Front, path: str) -> None:
    found = status(front.raw(http(f"POST {path} HTTP/1.1", LENGTH, GOOD)))
    if path.startswith("/v1/models/"):
        assert found in (400, 405)
    else:
        assert found == PATHS[path]
    assert not [one for one in front.balancer.requests if one.method != "GET"]


CHUNKED = "Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD)
# Trick: the bytes, and what the gateway says; None: it only closes.
REQUESTS: dict[str, tuple[bytes, int | None]] = {
    "length and chunks": (http("POST /api/chat HTTP/1.1", LENGTH + CHUNKED, CHUNKS), 400),
    "chunks and length": (http("POST /api/chat HTTP/1.1", CHUNKED + LENGTH, CHUNKS), 400),
    "two lengths": (http("POST /api/chat HTTP/1.1", LENGTH + "Content-Length: 5\r\n", GOOD), 400),
    "the same length twice": (http("POST /api/chat HTTP/1.1", LENGTH + LENGTH, GOOD), 400),
    "a negative length": (http("POST /api/chat HTTP/1.1", "Content-Length: -1\r\n", GOOD), 400),
    "a length with a sign": (http("POST /api/chat HTTP/1.1", "Content-Length: +20\r\n", GOOD), 400),
    "chunks twice": (http("POST /api/chat HTTP/1.1", CHUNKED + CHUNKED, CHUNKS), 400),
    "an unknown coding": (http("POST /api/chat HTTP/1.1", "Transfer-Encoding: x\r\n", GOOD), 400),
    "chunked, hidden": (
        http("POST /api/chat HTTP/1.1", "Transfer-Encoding: x, chunked\r\n", CHUNKS),
        400,
    ),
    "bad chunks": (http("POST /api/chat HTTP/1.1", CHUNKED, b"zz\r\nhello\r\n0\r\n\r\n"), 400),
    "chunks with HTTP/1.0": (http("POST /api/chat HTTP/1.0", CHUNKED, CHUNKS), 400),
    "a body with GET": (http("GET /api/tags HTTP/1.1", LENGTH, GOOD), 400),
    "a body with GET /": (http("GET / HTTP/1.1", LENGTH, GOOD), 400),
    "a space before the colon": (http("POST /api/chat HTTP/1.1", "Content-Length : 5\r\n"), 400),
    "NUL in a header": (http("POST /api/chat HTTP/1.1", "X-A: a\0b\r\n" + LENGTH, GOOD), 400),
    "NUL in the path": (http("POST /api/ch\0at HTTP/1.1", LENGTH, GOOD), 400),
    "a space in the path": (http("POST /api/chat x HTTP/1.1", LENGTH, GOOD), 400),
    "a huge header": (http("POST /api/chat HTTP/1.1", f"X-A: {'a' * 20000}\r\n"), 431),
    "many headers": (http("POST /api/chat HTTP/1.1", "X-A: aaaaaaaaaaaaaaa\r\n" * 4000), 431),
    "no host": (f"POST /api/chat HTTP/1.1\r\n{KEY}{LENGTH}\r\n".encode() + GOOD, 400),
    "two hosts": (http("POST /api/chat HTTP/1.1", "Host: b\r\n" + LENGTH, GOOD), 400),
    "a bad host": (b"GET /api/tags HTTP/1.1\r\nHost: a/../b\r\n" + KEY.encode() + b"\r\n", 400),
    "HTTP/2 without TLS": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/3": (http("GET /api/tags HTTP/3.0"), 400),
    "no version": (b"GET /api/tags\r\n", None),
    "a method of one's own": (http("BREW /api/chat HTTP/1.1", LENGTH, GOOD), 405),
    "CONNECT": (http("CONNECT 10.0.0.1:11434 HTTP/1.1"), 400),
    "TRACE": (http("TRACE /api/chat HTTP/1.1"), 405),
    "OPTIONS *": (http("OPTIONS * HTTP/1.1"), 400),
    "TLS where none is": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "a second request that waits behind a refused body": (
        http("POST /api/pull HTTP/1.1", LENGTH, GOOD + http("POST /api/delete HTTP/1.1")),
        403,
    ),
    "1 GB": (http("POST /api/chat HTTP/1.1", f"Content-Length: {2**30}\r\n", b"{"), 413),
    "2^64 bytes": (http("POST /api/chat HTTP/1.1", f"Content-Length: {2**64}\r\n", b"{"), 400),
    "1 GB without a key": (
        f"POST /api/chat HTTP/1.1\r\nHost: a\r\nContent-Length: {2**30}\r\n\r\n".encode(),
        413,
    ),
    "a chunk of 1 GB": (http("POST /api/chat HTTP/1.1", CHUNKED, b"40000000\r\n{"), 413),
}


@pytest.mark.parametrize("trick", REQUESTS)
def test_tricks_with_requests(front: Front, trick: str) -> None:
    data, says = REQUESTS[trick]
    said = front.raw(data)
    if says is None:
        assert b"model" not in said.replace(b"models", b"")
    else:
        assert status(said) == says
        body = said.partition(b"\r\n\r\n")[2]
        assert "TRACE" in trick or json.loads(body)["error"]
    assert not front.balancer.requests


def test_an_absolute_uri_is_only_its_path(front: Front) -> None:
    for line in ("http://10.0.0.1:11434/api/pull", "http://gw/api/pull", "HTTP://gw:80/api/pull?x"):
        assert status(front.raw(http(f"POST {line} HTTP/1.1", LENGTH, GOOD))) == 403
    assert status(front.raw(http("GET http://10.0.0.1/fleet/health HTTP/1.1"))) == 404
    assert status(front.raw(http("POST http://10.0.0.1/api/chat HTTP/1.1", LENGTH, GOOD))) == 200
    [request] = front.balancer.requests
    assert (request.path, request.headers["Host"]) == ("/api/chat", "localhost")


DEEP = "[" * 100_000 + "]" * 100_000
# Trick: the body.
BODIES: dict[str, str | bytes] = {
    "nothing": "",
    "spaces": "  ",
    "no JSON": "model=qwen3:8b",
    "a list": '["qwen3:8b"]',
    "a string": '"qwen3:8b"',
    "null": "null",
    "an empty object": "{}",
    "half an object": '{"model":"qwen3:8b"',
    "a comma too many": '{"model":"qwen3:8b",}',
    "no comma": '{"model":"qwen3:8b" "stream":true}',
    "a comment": '{"model":"qwen3:8b"/**/}',
    "single quotes": "{'model':'qwen3:8b'}",
    "something behind it": '{"model":"qwen3:8b"}{"model":"gemma3:4b"}',
    "a letter behind it": '{"model":"qwen3:8b"}x',
    "a byte order mark": b'\xef\xbb\xbf{"model":"qwen3:8b"}',
    "UTF-16": '{"model":"qwen3:8b"}'.encode("utf-16"),
    "NUL behind it": '{"model":"qwen3:8b"}\0',
    "NUL before it": '\0{"model":"qwen3:8b"}',
    "a bad nested value": '{"model":"qwen3:8b","x":{"a":[1,2,}]}',
    "brackets that cross": '{"model":"qwen3:8b","x":[{]}}',
    "a bad number": '{"model":"qwen3:8b","x":01}',
    "a bad escape": '{"model":"qwen3:8b","x":"\\x41"}',
    "a line break in a string": '{"model":"qwen3:8b","x":"a\nb"}',
    "NaN": '{"model":"qwen3:8b","x":NaN}',
    "the model twice": '{"model":"qwen3:8b","model":"gemma3:4b"}',
    "the model twice, far apart": '{"model":"qwen3:8b","x":"' + "a" * 500_000 + '","model":"b"}',
    "the model twice, in capitals": '{"model":"qwen3:8b","MODEL":"gemma3:4b"}',
    "the model twice, escaped": '{"model":"qwen3:8b","\\u006dodel":"gemma3:4b"}',
    "the model in capitals": '{"Model":"qwen3:8b"}',
    "options twice": '{"model":"qwen3:8b","options":{},"options":{"num_ctx":1}}',
    "options twice, in capitals": '{"model":"qwen3:8b","options":{},"Options":{"num_ctx":1}}',
    "options in capitals": '{"model":"qwen3:8b","OPTIONS":{"num_ctx":1}}',
    "an option twice": '{"model":"qwen3:8b","options":{"num_ctx":1,"num_ctx":2}}',
    "keep_alive twice": '{"model":"qwen3:8b","keep_alive":0,"keep_alive":1}',
    "keep_alive in capitals": '{"model":"qwen3:8b","Keep_Alive":0}',
    "keep_alive with the Kelvin sign": '{"model":"qwen3:8b","\u212aeep_alive":0}',
    "keep_alive with the Kelvin sign, escaped": '{"model":"qwen3:8b","\\u212aeep_alive":0}',
    "options with a long s": '{"model":"qwen3:8b","option\u017f":{"num_ctx":1}}',
    "stream twice": '{"model":"qwen3:8b","stream":true,"stream":false}',
    "any name twice": '{"model":"qwen3:8b","x":1,"x":2}',
    "__proto__ twice": '{"model":"qwen3:8b","__proto__":1,"__proto__":{"model":"x"}}',
    "a model that is a number": '{"model":8}',
    "a model that is null": '{"model":null}',
    "a model that is a list": '{"model":["qwen3:8b"]}',
    "a model that is an object": '{"model":{"model":"qwen3:8b"}}',
    "no model": '{"prompt":"a"}',
    "an empty model": '{"model":""}',
    "a model with a line break": '{"model":"qwen3:8b\\n"}',
    "a model with NUL": '{"model":"qwen3:8b\\u0000"}',
    "a model with an escape character": '{"model":"\\u001b[31mqwen3:8b"}',
    "a long model": '{"model":"' + "a" * 300 + '"}',
    "a very long model": '{"model":"' + "a" * 1_000_000 + '"}',
    "a very long name": '{"' + "a" * 1_000_000 + '":1,"model":"qwen3:8b"}',
    "too deep": '{"model":"qwen3:8b","x":' + DEEP + "}",
    "deep and not closed": '{"model":"qwen3:8b","x":' + "[" * 4_000_000,
    "many members": "{" + ",".join(f'"a{n}":1' for n in range(300_000)) + "}",
    "many members with many values": "{"
    + ",".join(f'"a{n}":[{"1," * 20_000}1]' for n in range(150))
    + ',"model":"qwen3:8b"}',
    "many values": '{"model":"qwen3:8b","x":[' + '"",' * 2_600_000 + '""]}',
}


@pytest.mark.parametrize("trick", BODIES)
def test_tricks_with_bodies(front: Front, trick: str) -> None:
    reply = front.post("/api/generate", BODIES[trick])
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]
    assert not front.balancer.requests
    assert front.last(status=400)["fault"] == ""


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "qwen3:8b/../x", "$fleet_pool", "default", "slice gpu01.chat", "a\u0085b"],
)
def test_strange_names_of_models_are_no_models(front: Front, name: str) -> None:
    reply = front.post("/api/generate", {"model": name})
    assert reply.status_code == 404
    assert not front.balancer.requests
    assert front.last(status=404)["model"] == ""


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_a_body_in_pieces_is_the_same_body(front: Front, chunk: int) -> None:
    body = json.dumps({"model": "qwen3:8b", "keep_alive": 0, "prompt": "é" * 20_000}).encode()
    pieces = (body[at : at + chunk] for at in range(0, len(body), chunk))
    reply = front.ask("POST", "/api/generate", data=pieces)
    assert reply.status_code == 200
    assert front.balancer.requests[-1].json == {"model": "qwen3:8b", "prompt": "é" * 20_000}


def test_more_than_the_largest_body_in_pieces_is_refused(front: Front) -> None:
    data = http("POST /api/chat HTTP/1.1", CHUNKED)
    data += b"100000\r\n" + b"a" * 2**20 + b"\r\n"
    data += b"".join(b"100000\r\n" + b"a" * 2**20 + b"\r\n" for _ in range(8))
    assert status(front.raw(data)) == 413


def test_the_error_log_says_nothing_of_a_request(front: Front) -> None:
    front.ask("POST", "/api/chat?key=sk-secret", data="{")
    front.balancer.reply = lambda request: (_ for _ in ()).throw(OSError)  # type: ignore[arg-type]
    assert front.ask("POST", "/api/chat?key=sk-secret", data=GOOD).status_code == 502
    for text in (front.errors(), json.dumps(front.log())):
        assert "sk-" not in text
    assert "exited on signal" not in front.errors()


@pytest.mark.parametrize(
    "header",
    [
        ("X-Accel-Redirect", "/-fleet/api/tags?pool=model.gemma3_3a4b"),
        ("X-Accel-Redirect", "@balancer"),
        ("X-Accel-Limit-Rate", "1"),
    ],
)
def test_a_slice_that_was_taken_over_cannot_steer_the_gateway(
    front: Front, header: tuple[str, str]
) -> None:
    said = b'{"response":"' + 4000 * b"x" + b'"}'
    front.balancer.reply = lambda request: Reply(200, (said,), headers=(header,))
    began = time.monotonic()
    reply = front.post("/api/generate", {"model": "qwen3:8b"})
    assert (reply.status_code, reply.content) == (200, said)
    assert len(front.balancer.requests) == 1
    assert time.monotonic() - began < 20
