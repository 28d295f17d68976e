"""A server on a MIG device: which instance it finds, what it takes of it, what keeps it away."""

import pytest
from host import GPU_A, GPU_B
from standin import devices

MIG = [f"MIG-0000000{n}-1111-5222-8333-444444444444" for n in range(2)]
CAPS = [["nvidia-caps/nvidia-cap12", "nvidia-caps/nvidia-cap13"],
        ["nvidia-caps/nvidia-cap21", "nvidia-caps/nvidia-cap22"]]  # fmt: skip


def instance(driver, number):
    total = 9728
    return {
        "index": number,
        "uuid": MIG[number],
        "name": "1g.10gb",
        "share": 0.125,
        "nodes": CAPS[number],
        "memory_total_mib": total,
        "memory_used_mib": driver.used_mib(MIG[number]),
        "memory_free_mib": total - driver.used_mib(MIG[number]),
    }


@pytest.fixture
def mig(driver, nodes):
    """GPU A in MIG mode with two instances, GPU B whole."""
    (nodes / "nvidia-caps").mkdir()
    for name in (*CAPS[0], *CAPS[1]):
        (nodes / name).touch(mode=0o444)
    driver.gpus[0]["mig_devices"] = [instance(driver, 0), instance(driver, 1)]
    return driver


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        (MIG[1], [MIG[1]]),
        (f"{MIG[1]},{MIG[0]}", [MIG[1]]),
        (f"{MIG[0]},{GPU_B}", [MIG[0]]),
        (f"{GPU_B},{MIG[0]}", [GPU_B]),
        ("0", [MIG[0]]),
        ("1", [GPU_B]),
        (None, [MIG[0]]),
        (GPU_A, []),
        (MIG[0].replace("0000", "9999"), []),
    ],
)
def test_one_mig_device_per_process(mig, nodes, tokens, found):
    seen = devices.Driver(mig.server_address, nodes)
    assert [gpu.uuid for gpu in devices.usable(seen, tokens, vulkan=False)] == found


def test_mig_gpu_without_instances_is_no_device(mig, nodes):
    mig.gpus[0]["mig_devices"] = []
    seen = devices.Driver(mig.server_address, nodes)
    assert [gpu.uuid for gpu in devices.usable(seen, "0", vulkan=False)] == [GPU_B]
    assert [gpu.uuid for gpu in devices.usable(seen, None, vulkan=False)] == [GPU_B]


@pytest.mark.parametrize("missing", ["nvidia0", "nvidiactl", *CAPS[0]])
def test_every_node_of_the_instance_is_needed(mig, nodes, missing):
    (nodes / missing).unlink()
    seen = devices.Driver(mig.server_address, nodes)
    assert devices.usable(seen, MIG[0], vulkan=False) == []


def test_index_counts_only_instances_that_may_be_opened(mig, nodes):
    (nodes / CAPS[0][1]).unlink()
    seen = devices.Driver(mig.server_address, nodes)
    assert [gpu.uuid for gpu in devices.usable(seen, "0", vulkan=False)] == [MIG[1]]


def test_vulkan_does_not_bring_instances_back(mig, nodes):
    seen = devices.Driver(mig.server_address, nodes)
    assert [gpu.uuid for gpu in devices.usable(seen, MIG[0], vulkan=True)] == [MIG[0], GPU_B]


def test_server_on_an_instance_sees_and_takes_its_memory_only(launch, mig, mirror):
    server = launch(CUDA_VISIBLE_DEVICES=MIG[1]).wait()
    server.fill_store(mirror, "qwen3:8b")
    line = next(line for line in server.log.read_text().splitlines() if MIG[1] in line)
    assert 'total="9.5 GiB"' in line and "MIG 1g.10gb" in line
    server.generate("qwen3:8b", prompt="")
    (entry,), (process,) = server.ps(), mig.processes()
    assert entry["size"] == entry["size_vram"]
    assert process["gpu_uuid"] == MIG[1]


def test_model_larger_than_the_instance_stays_partly_on_the_cpu(launch, mig, mirror):
    server = launch(CUDA_VISIBLE_DEVICES=MIG[0]).wait()
    server.fill_store(mirror, "qwen3:32b")
    server.generate("qwen3:32b", prompt="")
    (entry,) = server.ps()
    assert 0 < entry["size_vram"] < entry["size"]
    assert mig.used_mib(MIG[0]) <= 9728 and mig.used_mib(GPU_B) == 0


def test_stale_instance_means_cpu_without_an_error(launch, mig, mirror):
    server = launch(CUDA_VISIBLE_DEVICES="MIG-ffffffff-1111-5222-8333-444444444444").wait()
    server.fill_store(mirror, "qwen3:0.6b")
    assert server.generate("qwen3:0.6b", options={"num_predict": 1}).status_code == 200
    assert server.ps()[0]["size_vram"] == 0
