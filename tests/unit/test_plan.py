"""Planning and binding: which environment, which port, which device nodes."""

import pytest

from ollama_fleet.hardware.found import Hardware
from ollama_fleet.planner.bind import CannotBindError, bind
from tests.unit.examples import UUIDS, bound, hardware, host_plan


def test_a_slice_is_told_its_gpus_by_uuid() -> None:
    (chat,) = bound(host_plan({"name": "chat", "gpus": [2, 0]}))
    assert chat.environment["CUDA_VISIBLE_DEVICES"] == f"{UUIDS[2]},{UUIDS[0]}"


def test_device_nodes_follow_the_driver_s_minor_and_not_the_index() -> None:
    (chat,) = bound(host_plan({"name": "chat", "gpus": [1]}))
    assert "/dev/nvidia6" in chat.devices
    assert not {"/dev/nvidia1", "/dev/nvidia7"} & set(chat.devices)


def test_settings_of_the_slice_reach_its_server() -> None:
    plan = host_plan(
        {
            "name": "chat",
            "gpus": [0],
            "context": 8192,
            "parallel": 2,
            "kv_cache": "q8_0",
            "flash_attention": True,
            "keep_alive": "30m",
            "env": {"OLLAMA_DEBUG": True},
        }
    )
    environment = plan.slices[0].environment
    assert environment["OLLAMA_HOST"] == "127.0.0.1:11434"
    assert environment["OLLAMA_CONTEXT_LENGTH"] == "8192"
    assert environment["OLLAMA_NUM_PARALLEL"] == "2"
    assert environment["OLLAMA_KV_CACHE_TYPE"] == "q8_0"
    assert environment["OLLAMA_FLASH_ATTENTION"] == "1"
    assert environment["OLLAMA_KEEP_ALIVE"] == "30m"
    assert environment["OLLAMA_DEBUG"] == "1"
    fixed = ("OLLAMA_VULKAN", "OLLAMA_NOPRUNE", "OLLAMA_NO_CLOUD")
    assert [environment[name] for name in fixed] == ["0", "1", "1"]


@pytest.mark.parametrize("selector", [1, UUIDS[1], UUIDS[1].lower(), "0000:11:00.0", "11:00.0"])
def test_a_gpu_is_found_by_index_uuid_and_address(selector: int | str) -> None:
    (item,) = bound(host_plan({"name": "chat", "gpus": [selector]}))
    assert item.uuids == (UUIDS[1],)


def test_one_gpu_under_two_names_is_refused() -> None:
    plan = host_plan({"name": "a", "gpus": [0]}, {"name": "b", "gpus": [UUIDS[0]]})
    with pytest.raises(CannotBindError, match="is in slice 'a' too"):
        bound(plan)


def test_every_slice_that_cannot_be_bound_is_named() -> None:
    plan = host_plan({"name": "a", "gpus": [4]}, {"name": "b", "gpus": [5]})
    with pytest.raises(CannotBindError) as caught:
        bound(plan)
    assert "slice 'a': no GPU 4" in str(caught.value) and "slice 'b'" in str(caught.value)


def test_a_host_without_gpus_is_said_to_have_none() -> None:
    with pytest.raises(CannotBindError, match="the host has none"):
        bind(host_plan({"name": "a", "gpus": [0]}), Hardware())


def test_models_of_all_slices_are_wanted_once() -> None:
    plan = host_plan(
        {"name": "a", "gpus": [0], "models": ["qwen3:8b", "nomic-embed-text"]},
        {"name": "b", "gpus": [1], "models": ["qwen3:8b"]},
        models={"extra": ["tinyllama"]},
    )
    assert plan.models == ("qwen3:8b", "nomic-embed-text:latest", "tinyllama:latest")
    assert hardware(2).gpus[0].minor == 7


def test_removing_a_slice_moves_no_port() -> None:
    a, b, c = ({"name": name, "gpus": [gpu]} for gpu, name in enumerate("abc"))
    before = {item.name: item.port for item in host_plan(a, b, c).slices}
    after = {item.name: item.port for item in host_plan(b, c).slices}
    assert after == {"b": before["b"], "c": before["c"]}
    assert before == {"a": 11434, "b": 11435, "c": 11436}
