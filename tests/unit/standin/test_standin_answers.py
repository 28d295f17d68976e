"""What a client of the inference routes sees."""

import json

import pytest


def records_of(shared, path, body):
    with shared.http.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.iter_lines()]


def test_generate_streams_words_and_ends_with_figures(shared):
    *words, last = records_of(
        shared, "/api/generate", {"model": "qwen3:0.6b", "prompt": "one two three", "think": False}
    )
    assert len(words) == 32 and not any(record["done"] for record in words)
    assert "qwen3:0.6b" in "".join(record["response"] for record in words)
    assert last["done"] and last["done_reason"] == "stop"
    assert last["eval_count"] == 32 and last["prompt_eval_count"] == 4
    assert 60 < last["eval_count"] / last["eval_duration"] * 1e9 <= 301
    assert last["total_duration"] > last["load_duration"] > 0


def test_words_come_one_by_one_at_the_speed_of_the_gpu(shared):
    body = {"model": "qwen3:8b", "prompt": "hi", "options": {"num_predict": 20}}
    *words, last = records_of(shared, "/api/generate", body)
    assert len(words) == 20 and last["done_reason"] == "length"
    expected = 936 * 0.6 / 4.869  # memory bandwidth over the bytes of the weights
    assert last["eval_count"] / last["eval_duration"] * 1e9 == pytest.approx(expected, rel=0.25)
    assert words[0]["created_at"] < words[-1]["created_at"]


def test_whole_answer_without_streaming(shared):
    answer = shared.generate("qwen3:0.6b", think=False)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["done"] and len(answer.json()["response"].split()) == 32


def test_a_model_that_can_think_spends_a_short_answer_on_it(shared):
    """As the real one: thinking is on unless the request says otherwise."""
    short = shared.generate("qwen3:0.6b", options={"num_predict": 16}).json()
    assert short["response"] == "" and len(short["thinking"].split()) == 16
    whole = shared.generate("qwen3:0.6b").json()
    assert whole["thinking"] and whole["response"]
    assert "thinking" not in shared.generate("qwen3:0.6b", think=False).json()


def test_chat_answers_with_messages(shared):
    messages = [{"role": "user", "content": "Hello"}]
    body = {"model": "qwen3:0.6b", "messages": messages, "think": False}
    *words, last = records_of(shared, "/api/chat", body)
    assert all(record["message"]["role"] == "assistant" for record in words)
    assert words[0]["message"]["content"] and last["done_reason"] == "stop"


def test_preload_and_unload_say_so_and_take_no_words(shared):
    loaded = shared.generate("qwen3:0.6b", prompt="").json()
    assert (loaded["done_reason"], loaded["response"]) == ("load", "")
    assert "qwen3:0.6b" in [entry["name"] for entry in shared.ps()]
    body = {"model": "qwen3:0.6b", "messages": [], "keep_alive": 0}
    assert shared.http.post("/api/chat", json=body).json()["done_reason"] == "unload"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/generate", {"model": "absent", "prompt": "x"}, 404, "model 'absent' not found"),
        ("/api/chat", {"messages": []}, 400, "model is required"),
        ("/api/show", {"model": "absent"}, 404, "model 'absent' not found"),
        ("/api/pull", {"model": "a/b/c/d:e"}, 400, "invalid model name"),
        ("/api/generate", {"model": "x:cloud", "prompt": "x"}, 403, "ollama cloud is disabled"),
    ],
)
def test_refusals_have_a_status_and_a_reason(shared, path, body, status, message):
    answer = shared.http.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(message)


def test_bad_requests_are_told_why(shared):
    post = shared.http.post
    assert post("/api/generate", content=b"{").status_code == 400
    assert post("/api/generate").json() == {"error": "missing request body"}
    bad_option = shared.generate("qwen3:0.6b", options={"num_ctx": "many"})
    assert bad_option.json() == {"error": 'option "num_ctx" must be of type integer'}
    embedder = shared.generate("nomic-embed-text")
    assert embedder.status_code == 400
    assert embedder.json()["error"] == '"nomic-embed-text" does not support generate'
    assert shared.generate("qwen3:0.6b", keep_alive="5").status_code == 400


def test_embeddings_are_unit_vectors_that_depend_on_the_text(shared):
    body = {"model": "nomic-embed-text", "input": ["one", "two", "one"]}
    vectors = shared.http.post("/api/embed", json=body).json()["embeddings"]
    assert [len(vector) for vector in vectors] == [768] * 3
    assert vectors[0] == vectors[2] != vectors[1]
    assert sum(value**2 for value in vectors[0]) == pytest.approx(1)
    legacy = {"model": "nomic-embed-text", "prompt": "one"}
    assert shared.http.post("/api/embeddings", json=legacy).json()["embedding"] == vectors[0]


def test_openai_routes_speak_their_own_shapes(shared):
    listed = shared.http.get("/v1/models").json()
    assert "qwen3:8b" in [entry["id"] for entry in listed["data"]]
    body = {"model": "qwen3:0.6b", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    whole = shared.http.post("/v1/chat/completions", json=body).json()
    assert whole["usage"]["completion_tokens"] == 5
    assert whole["choices"][0]["finish_reason"] == "length"
    text = shared.http.post("/v1/completions", json={"model": "qwen3:0.6b", "prompt": "x"}).json()
    assert "qwen3:0.6b" in text["choices"][0]["text"]
    wanted = {"model": "nomic-embed-text", "input": "x"}
    vectors = shared.http.post("/v1/embeddings", json=wanted).json()
    assert len(vectors["data"][0]["embedding"]) == 768
    missing = shared.http.post("/v1/chat/completions", json={**body, "model": "absent"})
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "not_found_error"


def test_openai_stream_is_events_that_end_with_done(shared):
    body = {"model": "qwen3:0.6b", "messages": [{"role": "user", "content": "x"}], "stream": True}
    with shared.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert events[-1] == "[DONE]" and len(events) == 32 + 2
    assert json.loads(events[0])["choices"][0]["delta"]["content"] == "Here"
