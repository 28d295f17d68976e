"""Which GPUs a server uses, and what it takes of them."""

import os
import re
import signal
from pathlib import Path

import pytest
from host import GPU_A, GPU_B, eventually
from standin import devices

MIB = 1 << 20


def devices_in(server):
    """(id, library) of each device that the journal line at start names."""
    return re.findall(r'msg="inference compute" id=(\S+) library=(\S+)', server.log.read_text())


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (None, [GPU_A, GPU_B]),
        (GPU_B, [GPU_B]),
        (f"{GPU_B}, {GPU_A}", [GPU_B, GPU_A]),
        ("1", [GPU_B]),
        (f"{GPU_A},bogus,{GPU_B}", [GPU_A]),
        (f"bogus,{GPU_A}", []),
        ("GPU-bbbb", [GPU_B]),
        ("-1", []),
        ("", []),
        ("7", []),
    ],
)
def test_visible_devices_choose_gpus(driver, nodes, tokens, found):
    seen = devices.Driver(driver.server_address, nodes)
    assert [gpu.uuid for gpu in devices.usable(seen, tokens, vulkan=False)] == found


def test_without_the_variable_every_gpu_is_found(ollama):
    assert devices_in(ollama) == [(GPU_A, "CUDA"), (GPU_B, "CUDA")]
    line = next(line for line in ollama.log.read_text().splitlines() if GPU_B in line)
    for part in ("compute=8.6", "name=CUDA1", "pci_id=0000:18:00.0", 'total="24.0 GiB"'):
        assert part in line


def test_bad_value_falls_silently_to_the_cpu(launch, driver, mirror):
    server = launch(CUDA_VISIBLE_DEVICES="bogus").wait()
    server.fill_store(mirror, "qwen3:0.6b")
    assert devices_in(server) == [("cpu", "cpu")]
    answer = server.generate("qwen3:0.6b", options={"num_predict": 2})
    assert answer.status_code == 200
    assert answer.json()["eval_count"] / answer.json()["eval_duration"] * 1e9 < 7
    assert server.ps()[0]["size_vram"] == 0 < server.ps()[0]["size"]
    assert driver.processes() == []


@pytest.mark.parametrize(
    ("missing", "found"),
    [("nvidia0", [GPU_B]), ("nvidia1", [GPU_A]), ("nvidiactl", []), ("nvidia-uvm", [])],
)
def test_closed_device_nodes_hide_gpus(driver, nodes, missing, found):
    (nodes / missing).unlink()
    seen = devices.Driver(driver.server_address, nodes)
    assert [gpu.uuid for gpu in devices.usable(seen, None, vulkan=False)] == found


@pytest.mark.parametrize(("fabric", "count"), [("In Progress", 0), ("Completed", 2), (None, 2)])
def test_gpus_behind_an_unfinished_fabric_are_not_found(driver, nodes, fabric, count):
    driver.fabric = fabric
    seen = devices.Driver(driver.server_address, nodes)
    assert len(devices.usable(seen, None, vulkan=False)) == count


def test_server_in_front_of_a_closed_node_never_names_that_gpu(launch, driver, nodes):
    (nodes / "nvidia1").unlink()
    assert devices_in(launch(CUDA_VISIBLE_DEVICES=f"{GPU_A},{GPU_B}").wait()) == [(GPU_A, "CUDA")]


def test_no_driver_is_a_server_on_the_cpu(launch):
    assert devices_in(launch().wait()) == [("cpu", "cpu")]


def test_vulkan_brings_hidden_gpus_back(launch, driver):
    server = launch(CUDA_VISIBLE_DEVICES=GPU_A, OLLAMA_VULKAN="").wait()
    assert devices_in(server) == [(GPU_A, "CUDA"), (GPU_B, "Vulkan")]


def test_loaded_model_holds_memory_of_one_gpu_until_it_is_unloaded(ollama, driver):
    ollama.generate("qwen3:8b", prompt="")
    entry, (process,) = ollama.ps()[0], driver.processes()
    cache_mib = 4096 * 147456 / MIB
    assert entry["size"] == entry["size_vram"]
    assert entry["size"] / MIB == pytest.approx(4869313952 / MIB + cache_mib + 300, abs=2)
    assert process["used_mib"] == entry["size"] // MIB + 305
    assert process["name"].endswith("/lib/ollama/llama-server")
    assert "llama-server" in Path(f"/proc/{process['pid']}/cmdline").read_text()
    assert process["pid"] != ollama.process.pid
    ollama.generate("qwen3:8b", prompt="", keep_alive=0)
    eventually(lambda: not driver.processes() and not ollama.ps())


def large(launch, mirror, **more):
    """A server with one model that takes 28 GiB, loaded."""
    server = launch(OLLAMA_NUM_PARALLEL="3", OLLAMA_CONTEXT_LENGTH="40960", **more).wait()
    server.fill_store(mirror, "qwen3:14b")
    server.generate("qwen3:14b", prompt="")
    return server


def test_large_model_is_spread_over_the_gpus(launch, driver, mirror):
    (entry,) = large(launch, mirror).ps()
    assert entry["size"] == entry["size_vram"]
    assert driver.used_mib(GPU_A) > 10000 and driver.used_mib(GPU_B) > 10000


def test_model_that_does_not_fit_stays_partly_on_the_cpu(launch, driver, mirror):
    server = large(launch, mirror, CUDA_VISIBLE_DEVICES=GPU_A)
    (entry,) = server.ps()
    assert 0 < entry["size_vram"] < entry["size"]
    assert 20000 < driver.used_mib(GPU_A) <= 24576
    answer = server.generate("qwen3:14b", options={"num_predict": 1}).json()
    assert answer["eval_duration"] > 0.05e9  # the share on the CPU sets the pace


@pytest.mark.parametrize(
    ("more", "factor"),
    [
        ({"OLLAMA_KV_CACHE_TYPE": "q8_0"}, 34 / 64),
        ({"OLLAMA_KV_CACHE_TYPE": "q4_0"}, 18 / 64),
        ({"OLLAMA_NUM_PARALLEL": "4"}, 4),
    ],
)
def test_cache_grows_with_slots_and_shrinks_with_its_type(launch, driver, mirror, more, factor):
    server = launch(**more).wait()
    server.fill_store(mirror, "qwen3:0.6b")
    server.generate("qwen3:0.6b", prompt="")
    cache_mib = server.ps()[0]["size"] / MIB - 429124960 / MIB - 300
    assert cache_mib == pytest.approx(factor * 4096 * 114688 / MIB, abs=2)


def test_refused_memory_means_cpu_without_an_error(ollama, driver):
    driver.refuses_memory = True
    assert ollama.generate("qwen3:0.6b", options={"num_predict": 1}).status_code == 200
    assert ollama.ps()[0]["size_vram"] == 0


def test_lost_gpu_fails_once_and_is_then_done_without(launch, driver, mirror):
    server = launch(CUDA_VISIBLE_DEVICES=GPU_A).wait()
    server.fill_store(mirror, "qwen3:0.6b")
    server.generate("qwen3:0.6b", prompt="")
    driver.gpus[0]["state"] = "lost"
    failed = server.generate("qwen3:0.6b")
    assert failed.status_code == 500
    assert failed.json()["error"].startswith("llama-server process has terminated")
    assert server.generate("qwen3:0.6b", options={"num_predict": 1}).status_code == 200
    assert server.ps()[0]["size_vram"] == 0


def test_killed_runner_ends_a_stream_with_an_error_record(ollama, driver):
    driver.faults = {"ollama-slow": {"tokens_per_s": 10}}
    body = {"model": "qwen3:0.6b", "prompt": "x"}
    with ollama.http.stream("POST", "/api/generate", json=body) as answer:
        lines = answer.iter_lines()
        next(lines)
        os.kill(driver.processes()[0]["pid"], signal.SIGKILL)
        *_, last = lines
    assert answer.status_code == 200 and "llama-server process has terminated" in last
    driver.faults = {}
    assert ollama.generate("qwen3:0.6b").status_code == 200
