"""GPU memory in the lab belongs to a process: it comes, shows everywhere and goes with it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.testing import SimHost, wait_until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with SimHost(tmp_path, hardware(load_profile("2x-rtx3090"), "unit01")) as host:
        yield host


@pytest.fixture
def uuids(host: SimHost) -> list[str]:
    return [gpu["uuid"] for gpu in host.hardware["gpus"]]


def used(host: SimHost) -> list[int]:
    return [int(row[0]) for row in host.query("memory.used")]


def test_memory_shows_in_every_output_while_its_process_lives(
    host: SimHost, uuids: list[str]
) -> None:
    process, answer = host.hold("/opt/ollama/bin/ollama", {uuids[1]: 5000})

    assert answer == {"ok": True}
    assert used(host) == [1, 5001]
    apps = host.smi("--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv")
    assert apps.splitlines() == [
        "gpu_uuid, pid, process_name, used_gpu_memory [MiB]",
        f"{uuids[1]}, {process.pid}, /opt/ollama/bin/ollama, 5000 MiB",
    ]
    table = host.smi()
    assert f"{process.pid}      C   /opt/ollama/bin/ollama" in table and "5000MiB" in table
    second = list(ET.fromstring(host.smi("-q", "-x")).iter("gpu"))[1]
    assert second.findtext("processes/process_info/pid") == str(process.pid)
    assert second.findtext("processes/process_info/used_memory") == "5000 MiB"


def test_memory_goes_when_its_process_is_killed(host: SimHost, uuids: list[str]) -> None:
    process, _ = host.hold("ollama", {uuids[0]: 5000})

    process.kill()

    wait_until(lambda: used(host) == [1, 1])
    assert host.ask("processes") == {"processes": []}
    assert "No running processes found" in host.smi()


def test_idle_host_prints_only_the_header_of_compute_apps(host: SimHost) -> None:
    assert host.smi("--query-compute-apps=pid,used_memory", "--format=csv") == (
        "pid, used_gpu_memory [MiB]\n"
    )


def test_what_does_not_fit_is_refused_and_changes_nothing(host: SimHost, uuids: list[str]) -> None:
    host.hold("first", {uuids[0]: 20000})

    _, answer = host.hold("second", {uuids[1]: 1000, uuids[0]: 5000})

    assert answer["error"].startswith(f"out of memory: {uuids[0]} has 4279 MiB free")
    assert used(host) == [20001, 1]


def test_all_free_memory_can_be_taken_but_not_a_mib_more(host: SimHost, uuids: list[str]) -> None:
    free = host.ask("devices")["gpus"][0]["memory_free_mib"]

    assert "out of memory" in host.hold("greedy", {uuids[0]: free + 1})[1]["error"]
    assert host.hold("exact", {uuids[0]: free})[1] == {"ok": True}
    assert host.query("memory.free")[0] == ["0"]


def test_second_request_of_a_connection_replaces_the_first(host: SimHost, uuids: list[str]) -> None:
    import json
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(host.socket))
        answers = sock.makefile()
        for mib in (20000, 23000):
            request = {"op": "allocate", "name": "ollama", "mib": {uuids[0]: mib}}
            sock.sendall(json.dumps(request).encode() + b"\n")
            assert json.loads(answers.readline()) == {"ok": True}
            assert used(host) == [mib + 1, 1]


def test_unknown_gpu_is_refused(host: SimHost) -> None:
    assert host.hold("ollama", {"GPU-none": 1})[1] == {"error": "no such device: GPU-none"}


@pytest.mark.parametrize("request_", [{"op": "fly"}, {"op": "allocate"}, {"op": "make-nodes"}])
def test_bad_request_gets_an_error_and_the_driver_lives(
    host: SimHost, request_: dict[str, str]
) -> None:
    assert "error" in host.ask(**request_)
    assert len(host.ask("devices")["gpus"]) == 2


def test_a_busy_gpu_is_warmer_and_draws_more(host: SimHost, uuids: list[str]) -> None:
    fields = "power.draw,temperature.gpu,utilization.gpu"
    idle, _ = ([float(cell) for cell in row] for row in host.query(fields))

    host.hold("ollama", {uuids[0]: 5000})

    busy, other = ([float(cell) for cell in row] for row in host.query(fields))
    assert all(more > less for more, less in zip(busy, idle, strict=True))
    assert other[2] == 0
