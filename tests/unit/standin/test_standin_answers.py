"""What a client of the inference routes sees."""

import json


def test_generate_streams_words_and_ends_with_figures(ollama):
    body = {"model": "qwen3:0.6b", "prompt": "one two three"}
    with ollama.http.stream("POST", "/api/generate", json=body) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        records = [json.loads(line) for line in answer.iter_lines()]
    *words, last = records
    assert len(words) == 32 and not any(record["done"] for record in words)
    assert "qwen3:0.6b" in "".join(record["response"] for record in words)
    assert last["done"] and last["done_reason"] == "stop"
    assert last["eval_count"] == 32 and last["prompt_eval_count"] == 4
    assert 200 < last["eval_count"] / last["eval_duration"] * 1e9 <= 300
    assert last["total_duration"] > last["load_duration"] > 0
