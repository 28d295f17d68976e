"""Large requests: images, and prompts that fill the longest contexts."""

import json
import random
import time
from collections.abc import Callable

import pytest

from tests.gateway.front import Front

MIB = 2**20
WORDS = ["".join(random.choices("abcdefghijklmnopqrstuvwxyzé", k=6)) for _ in range(5000)]


def prompt(tokens: int) -> str:
    """About so many tokens of text, as code and tables are: full of quotes and line breaks."""
    return " ".join(random.choices([*WORDS, '"\n', "\\", "{", "}"], k=tokens))


@pytest.fixture(scope="module")
def big(make_front: Callable[..., Front]) -> Front:
    return make_front(max_body_mib=64)


@pytest.mark.parametrize("rewritten", [False, True])
def test_an_image_and_a_full_context_go_through_in_a_moment(big: Front, rewritten: bool) -> None:
    message = {"role": "user", "content": prompt(256 * 1024), "images": ["A" * 38 * MIB]}
    chat = {"model": "qwen3:8b", "messages": [message], "stream": False}
    sent = {**chat, "keep_alive": "5m", "options": {"num_ctx": 1, "seed": 1}} if rewritten else chat
    data = json.dumps(sent).encode()
    began = time.monotonic()
    assert big.ask("POST", "/api/chat", data=data).status_code == 200
    print(f"{len(data) / MIB:.0f} MiB in {time.monotonic() - began:.2f} s")
    got = big.balancer.requests.pop()
    if rewritten:
        assert got.json == {**chat, "options": {"seed": 1}}
    else:
        assert got.body == data
    assert time.monotonic() - began < 10


def test_a_prompt_never_touches_the_disk(big: Front) -> None:
    data = json.dumps({"model": "qwen3:8b", "prompt": "A" * 60 * MIB}).encode()
    assert big.ask("POST", "/api/generate", data=data).status_code == 200
    pieces = (data[at : at + 65536] for at in range(0, len(data), 65536))
    assert big.ask("POST", "/api/generate", data=pieces).status_code == 200
    assert big.balancer.requests.pop().body == data
    # What is there is below /run, in memory, and gone.
    assert not [path for path in (big.folder / "run/body").rglob("*") if path.is_file()]


def test_the_largest_body_is_taken_and_one_byte_more_is_not(front: Front) -> None:
    frame = len(json.dumps({"model": "qwen3:8b", "prompt": ""}))
    largest = {"model": "qwen3:8b", "prompt": "A" * (8 * MIB - frame)}
    assert front.post("/api/generate", largest).status_code == 200
    largest["prompt"] += "A"
    reply = front.post("/v1/completions", largest)
    assert reply.status_code == 413
    assert "8 MiB" in reply.json()["error"]["message"]


def test_many_members_and_values_are_fine(front: Front) -> None:
    numbers = {"model": "qwen3:8b", "input": list(range(200_000))}
    assert front.post("/v1/embeddings", numbers).status_code == 200
    texts = {"model": "qwen3:8b", "input": ["ab"] * 200_000}
    assert front.post("/api/embed", texts).status_code == 200
    deep: object = 1
    for _ in range(200):
        deep = {"properties": [deep]}
    assert front.post("/api/chat", {"model": "qwen3:8b", "format": deep}).status_code == 200
    assert front.balancer.requests[-1].json["format"] == deep
