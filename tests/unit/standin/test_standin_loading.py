"""When models are loaded, shared, reloaded, evicted; and what a server in trouble does."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from host import GPU_A, eventually, runner_pids


def load(server, model, **more):
    assert server.generate(model, prompt="", **more).json()["done_reason"] == "load"


def names(server):
    return sorted(entry["name"] for entry in server.ps())


def test_another_context_reloads_and_the_same_does_not(ollama, driver):
    load(ollama, "qwen3:0.6b")
    first = runner_pids(driver)
    load(ollama, "qwen3:0.6b", options={"num_ctx": 4096})
    assert runner_pids(driver) == first
    load(ollama, "qwen3:0.6b", options={"num_ctx": 8192})
    assert runner_pids(driver).isdisjoint(first)
    assert ollama.ps()[0]["context_length"] == 8192
    load(ollama, "qwen3:0.6b", options={"num_ctx": 999999})
    assert ollama.ps()[0]["context_length"] == 40960


def test_default_context_follows_the_memory_of_the_gpus(launch, driver, mirror):
    server = launch(OLLAMA_CONTEXT_LENGTH="").wait()
    server.fill_store(mirror, "qwen3:8b")
    load(server, "qwen3:8b")
    assert server.ps()[0]["context_length"] == 40960  # the tier of 262144, cut to the model's own


def test_keep_alive_of_the_server_and_of_a_request(launch, driver, mirror):
    server = launch(OLLAMA_KEEP_ALIVE="300ms").wait()
    server.fill_store(mirror, "qwen3:0.6b", "qwen3:8b")
    load(server, "qwen3:8b", keep_alive=-1)
    load(server, "qwen3:0.6b")
    assert names(server) == ["qwen3:0.6b", "qwen3:8b"]
    eventually(lambda: names(server) == ["qwen3:8b"])
    assert server.ps()[0]["expires_at"] > "2300"
    load(server, "qwen3:8b", keep_alive="100ms")
    eventually(lambda: not server.ps() and not driver.processes())


def test_zero_keep_alive_unloads_after_the_answer(ollama, driver):
    assert ollama.generate("qwen3:0.6b", keep_alive=0).json()["eval_count"] == 32
    eventually(lambda: not ollama.ps() and not driver.processes())


def test_nothing_is_sent_before_the_first_word(ollama):
    body = {"model": "qwen3:8b", "prompt": "x", "options": {"num_predict": 1}}
    begun = time.monotonic()
    with ollama.http.stream("POST", "/api/generate", json=body) as answer:
        headers_after_s = time.monotonic() - begun
        load_ns = json.loads(list(answer.iter_lines())[-1])["load_duration"]
    assert headers_after_s > 0.23 and load_ns > 0.23e9


def test_client_that_leaves_while_loading_aborts_the_load(ollama, driver):
    body = b'{"model":"qwen3:32b","prompt":"x"}'
    head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    with socket.create_connection(("127.0.0.1", int(ollama.url.rpartition(":")[2]))) as client:
        client.sendall(head + body)
        eventually(lambda: names(ollama) == ["qwen3:32b"] and driver.processes())
    eventually(lambda: not ollama.ps() and not driver.processes())
    eventually(lambda: "| 499 |" in ollama.log.read_text())


def test_full_queue_refuses_but_not_for_a_loaded_model(launch, driver, mirror):
    server = launch(OLLAMA_MAX_QUEUE="1").wait()
    server.fill_store(mirror, "qwen3:0.6b", "qwen3:8b", "qwen3:32b")
    load(server, "qwen3:0.6b")
    loading = threading.Thread(target=server.generate, args=("qwen3:8b", ""))
    loading.start()
    eventually(lambda: "qwen3:8b" in names(server))
    refused = server.generate("qwen3:32b")
    assert refused.status_code == 503
    assert refused.json()["error"].startswith("server busy, please try again.  maximum pending")
    assert server.generate("qwen3:0.6b").status_code == 200
    loading.join()


def test_limit_of_loaded_models_evicts_the_oldest(launch, driver, mirror):
    server = launch(OLLAMA_MAX_LOADED_MODELS="2").wait()
    server.fill_store(mirror, "qwen3:0.6b", "qwen3:8b", "nomic-embed-text")
    load(server, "qwen3:8b")
    load(server, "qwen3:0.6b")
    server.http.post("/api/embed", json={"model": "nomic-embed-text", "input": "x"})
    assert names(server) == ["nomic-embed-text:latest", "qwen3:0.6b"]
    assert len(runner_pids(driver)) == 2


def test_model_that_needs_the_room_evicts_others(launch, driver, mirror):
    server = launch(CUDA_VISIBLE_DEVICES=GPU_A, OLLAMA_NUM_PARALLEL="2").wait()
    server.fill_store(mirror, "qwen3:0.6b", "qwen3:14b")
    load(server, "qwen3:0.6b")
    load(server, "qwen3:14b", options={"num_ctx": 40960})  # 21 of 24 GiB
    assert names(server) == ["qwen3:14b"]
    assert server.ps()[0]["size_vram"] == server.ps()[0]["size"]


@pytest.mark.parametrize(("parallel", "least_s", "most_s"), [("1", 4.0, 20.0), ("2", 2.0, 3.99)])
def test_parallel_slots_share_a_model(launch, driver, mirror, parallel, least_s, most_s):
    server = launch(OLLAMA_NUM_PARALLEL=parallel).wait()
    server.fill_store(mirror, "qwen3:0.6b")
    load(server, "qwen3:0.6b")
    driver.faults = {"ollama-slow": {"tokens_per_s": 20}}
    ask = {"options": {"num_predict": 40}}
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(server.generate, "qwen3:0.6b", **ask) for _ in range(2)]
    assert all(answer.result().status_code == 200 for answer in answers)
    assert least_s < time.monotonic() - begun < most_s


def test_unknown_cache_type_fails_the_load(launch, driver, mirror):
    server = launch(OLLAMA_KV_CACHE_TYPE="q7").wait()
    server.fill_store(mirror, "qwen3:0.6b")
    assert server.generate("qwen3:0.6b").status_code == 500


def test_slow_fault_is_slow_on_the_server_of_its_port_alone(ollama, driver):
    port = int(ollama.url.rpartition(":")[2])
    driver.faults = {"ollama-slow": {"tokens_per_s": 20, "port": port}}
    slow = ollama.generate("qwen3:0.6b", options={"num_predict": 4}).json()
    assert slow["eval_count"] / slow["eval_duration"] * 1e9 == pytest.approx(20, rel=0.2)
    driver.faults = {"ollama-slow": {"tokens_per_s": 20, "port": port + 1}}
    quick = ollama.generate("qwen3:0.6b", options={"num_predict": 4}).json()
    assert quick["eval_duration"] < slow["eval_duration"] / 2


def test_hung_server_accepts_and_never_answers(ollama, driver):
    driver.faults = {"ollama-hung": {}}
    with pytest.raises(httpx.ReadTimeout):
        ollama.http.post("/api/chat", json={"model": "qwen3:0.6b", "messages": []}, timeout=0.4)
    assert ollama.http.get("/api/version").status_code == 200


def test_crashed_runner_is_a_500_and_the_server_lives(ollama, driver):
    driver.faults = {"ollama-crashed": {}}
    crashed = ollama.generate("qwen3:0.6b")
    assert crashed.status_code == 500
    assert crashed.json()["error"].startswith("llama-server process has terminated")
    driver.faults = {}
    assert ollama.generate("qwen3:0.6b").status_code == 200


def test_crashed_server_exits(ollama, driver):
    driver.faults = {"ollama-crashed": {"server": True}}
    with pytest.raises(httpx.TransportError):
        ollama.generate("qwen3:0.6b")
    assert ollama.process.wait(2) == 1
