"""nvidia-smi of the lab speaks as the real one: fields, units, non-values, exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.profile import hardware, load_profile
from lab.sim.labsim.smi.fields import (
    QUERY_COMPUTE_APPS,
    QUERY_GPU,
    QUERY_REMAPPED_ROWS,
    forgotten,
)
from lab.sim.testing import SimHost

FIELDS_OF_FACTS = """
    index uuid name serial pci.bus_id pci.device_id driver_version vbios_version compute_cap
    memory.total memory.reserved memory.used memory.free utilization.gpu utilization.memory
    temperature.gpu temperature.memory temperature.gpu.tlimit power.draw power.limit
    power.min_limit power.max_limit fan.speed pstate persistence_mode compute_mode
    mig.mode.current mig.mode.pending ecc.mode.current ecc.mode.pending
    ecc.errors.corrected.volatile.dram ecc.errors.corrected.aggregate.sram
    ecc.errors.uncorrected.volatile.total ecc.errors.uncorrected.aggregate.total
    retired_pages.pending retired_pages.sbe retired_pages.dbe clocks.sm clocks.mem
    gsp.mode.current pcie.link.gen.current pcie.link.gen.max pcie.link.width.current
    pcie.link.width.max fabric.state fabric.status addressing_mode
    clocks_event_reasons.active clocks_throttle_reasons.active
    clocks_event_reasons.hw_thermal_slowdown gpu_recovery_action
""".split()  # noqa: SIM905
NON_VALUE = re.compile(r"N/A|\[(N/A|Not Supported|Requested functionality has been deprecated)\]")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SimHost]:
    with SimHost(tmp_path, hardware(load_profile("2x-rtx3090"), "unit01")) as host:
        yield host


@pytest.fixture
def nvswitch_host(tmp_path: Path) -> Iterator[SimHost]:
    with SimHost(tmp_path, hardware(load_profile("8x-h100"), "unit01")) as host:
        yield host


def test_every_documented_field_answers_on_both_kinds_of_card(
    host: SimHost, tmp_path: Path
) -> None:
    known = QUERY_GPU.keys() - forgotten("580.95.05")
    with SimHost(tmp_path / "h100", hardware(load_profile("8x-h100"), "unit02")) as h100:
        for machine in (host, h100):
            rows = machine.query(",".join([*FIELDS_OF_FACTS, *known]))
            assert {len(row) for row in rows} == {len(FIELDS_OF_FACTS) + len(known)}
            assert all(cell for row in rows for cell in row)


def test_units_are_in_the_header_and_in_each_value_unless_nounits(host: SimHost) -> None:
    units = {name: unit for name, (unit, _) in QUERY_GPU.items() if unit}
    header, first, _ = host.smi(f"--query-gpu={','.join(units)}", "--format=csv").splitlines()
    bare = host.query(",".join(units))[0]

    assert header.split(", ") == [f"{name} [{unit}]" for name, unit in units.items()]
    assert first.split(", ") == [
        f"{number} {unit}" for number, unit in zip(bare, units.values(), strict=True)
    ]
    assert all(float(number) >= 0 for number in bare)


def test_what_a_card_has_not_is_no_number(host: SimHost) -> None:
    fields = "ecc.mode.current,mig.mode.current,serial,temperature.memory,fabric.state"
    fields += ",retired_pages.pending"

    assert all(NON_VALUE.fullmatch(cell) for row in host.query(fields) for cell in row)


def test_fabric_state_has_its_odd_prefix_on_nvswitch_hosts(nvswitch_host: SimHost) -> None:
    assert nvswitch_host.query("fabric.state,fabric.status,mig.mode.current")[7] == [
        "state  Completed",
        "Success",
        "Disabled",
    ]


def test_unknown_field_fails_the_whole_query(host: SimHost) -> None:
    result = host.run("nvidia-smi", "--query-gpu=index,speed", "--format=csv")

    assert result.returncode == 2
    assert result.stdout.startswith('Field "speed" is not a valid field to query.')


@pytest.mark.parametrize(
    "arguments",
    [["--query-gpu=index"], ["--query-gpu=index", "--format=json"], ["--fly"], ["-i"], ["topo"]],
)
def test_bad_arguments_end_with_2(host: SimHost, arguments: list[str]) -> None:
    assert host.run("nvidia-smi", *arguments).returncode == 2


def test_one_gpu_is_chosen_by_index_uuid_or_bus_id(host: SimHost) -> None:
    gpu = host.hardware["gpus"][1]
    for wanted in ("1", gpu["uuid"], gpu["pci_bus_id"], gpu["pci_bus_id"].lower()[-12:]):
        assert host.query("uuid", "-i", wanted) == [[gpu["uuid"]]]
        assert host.smi("-L", f"--id={wanted}").count("\n") == 1

    assert host.query("index", "-i", "0,1") == [["0"], ["1"]]
    missing = host.run("nvidia-smi", "-L", "-i", "7")
    assert (missing.returncode, missing.stdout) == (6, "No devices were found\n")


def test_no_gpu_and_no_driver_have_their_own_exit_codes(tmp_path: Path) -> None:
    empty = {**hardware(load_profile("2x-rtx3090"), "unit01"), "gpus": []}
    with SimHost(tmp_path, empty) as host:
        assert host.run("nvidia-smi", "-L").returncode == 6
    unloaded = host.run("nvidia-smi", "-L")

    assert unloaded.returncode == 9
    assert "couldn't communicate with the NVIDIA driver" in unloaded.stdout


def test_other_queries_answer_each_of_their_fields(host: SimHost) -> None:
    host.hold("ollama", {host.hardware["gpus"][0]["uuid"]: 100})
    for query, table in (
        ("--query-compute-apps", QUERY_COMPUTE_APPS),
        ("--query-remapped-rows", QUERY_REMAPPED_ROWS),
    ):
        header, first, *_ = host.smi(f"{query}={','.join(table)}", "--format=csv").splitlines()
        assert len(header.split(", ")) == len(first.split(", ")) == len(table)


def test_persistence_mode_is_kept_by_the_driver(host: SimHost) -> None:
    assert host.query("persistence_mode") == [["Disabled"], ["Disabled"]]

    assert "All done." in host.smi("-pm", "1", "-i", "1")

    assert host.query("persistence_mode") == [["Disabled"], ["Enabled"]]
    assert " On  |" in host.smi()
    assert host.smi("-pm", "1", "-i", "1").startswith("Persistence mode is already Enabled")


@pytest.mark.parametrize(("profile", "links"), [("2x-rtx3090", {"PHB"}), ("8x-h100", {"NV18"})])
def test_topology_header_is_underlined_even_in_a_pipe(
    tmp_path: Path, profile: str, links: set[str]
) -> None:
    with SimHost(tmp_path, hardware(load_profile(profile), "unit01")) as host:
        header, *rows = host.smi("topo", "-m").splitlines()
    count = len(host.hardware["gpus"])

    assert header.startswith("\t\x1b[4mGPU0\t") and header.endswith("GPU NUMA ID\x1b[0m")
    cells = [row.split("\t")[1 : count + 1] for row in rows[:count]]
    assert [row[n] for n, row in enumerate(cells)] == [" X "] * count
    assert {cell for row in cells for cell in row} - {" X "} == links


def test_topology_of_two_sockets_crosses_the_system_bus(tmp_path: Path) -> None:
    with SimHost(tmp_path, hardware(load_profile("8x-rtx3090"), "unit01")) as host:
        first = host.smi("topo", "-m").splitlines()[1].split("\t")

    assert first[1:9] == [" X ", "PIX", "PHB", "PHB", "SYS", "SYS", "SYS", "SYS"]


def test_mig_lists_find_nothing_while_mig_is_off(host: SimHost) -> None:
    for listing in ("-lgi", "-lci", "-lgip"):
        assert host.run("nvidia-smi", "mig", listing).returncode == 6
    warned = host.run("nvidia-smi", "-mig", "1")
    assert warned.returncode == 0 and "Treating as warning" in warned.stdout
    assert host.query("mig.mode.current") == [["[N/A]"], ["[N/A]"]]


def test_table_lines_are_all_equally_wide(nvswitch_host: SimHost) -> None:
    gpu = nvswitch_host.hardware["gpus"][5]
    nvswitch_host.hold("/opt/ollama/0.32.15/lib/ollama/llama-server", {gpu["uuid"]: 61234})
    table = nvswitch_host.smi().splitlines()[1:]

    assert {len(line) for line in table if line} == {91}
    assert any("...0.32.15/lib/ollama/llama-server" in line for line in table)


def test_text_report_has_a_section_per_gpu(host: SimHost) -> None:
    text = host.smi("-q")

    assert re.findall(r"^GPU (\S+)$", text, re.M) == [
        gpu["pci_bus_id"] for gpu in host.hardware["gpus"]
    ]
    assert re.search(r"^    GPU Recovery Action +: None$", text, re.M)
    assert re.search(r"^        Total +: 24576 MiB$", text, re.M)
