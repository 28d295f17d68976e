"""Answers of a real H100 and a real H200 to the very questions that hosts are asked, against every reader of
them, and the simulated driver against what the real one printed."""

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.profile import hardware, load_profile
from lab.sim.labsim.smi.fields import QUERY_GPU, forgotten
from lab.sim.testing import SimHost
from ollama_fleet.catalogue import find_gpu
from ollama_fleet.checks.driver import UNREGISTERED
from ollama_fleet.checks.gpu_values import read_table
from ollama_fleet.cli.ask_host import LOCAL, Login
from ollama_fleet.cli.discovered import discovered
from ollama_fleet.driver.flavour import needs_of
from ollama_fleet.driver.state import _flavour
from ollama_fleet.gpu_settings import SETTINGS_QUESTIONS, read_settings
from ollama_fleet.hardware.found import Gpu, Hardware, number, parse_processes, read_hardware
from ollama_fleet.hardware.instances import MIG_ROWS
from ollama_fleet.mig.layout import GPUS_SCRIPT, LAYOUT_FILE
from ollama_fleet.mig.problems import read_profiles
from ollama_fleet.questions import Answer
from ollama_fleet.render import gpu_files
from tests.unit.examples import host_plan
from tests.unit.gpu_findings import advice, judged, trouble
from tests.unit.test_mig_instances import found as instances_of

DATA = Path(__file__).parent / "data" / "real"
UUID = "GPU-00000000-1111-2222-3333-444444444444"
CARDS = {
    "h100": ("NVIDIA H100 80GB HBM3", 81559, 81079),
    "h200": ("NVIDIA H200", 143771, 143155),
}
Card = dict[str, Any]


@pytest.fixture(params=CARDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def card(name: str) -> Card:
    """What was recorded on it: answers, commands and fields of --query-gpu."""
    recorded: Card = yaml.safe_load((DATA / f"{name}.yml").read_text(encoding="utf-8"))
    return recorded


def answers(card: Card) -> dict[str, Answer]:
    found = {name: Answer(row["text"], row["code"]) for name, row in card["answers"].items()}
    return found | {"gpu clocks locked": Answer()}


def seen(card: Card) -> tuple[Hardware, Gpu]:
    hardware = read_hardware(answers(card))
    (gpu,) = hardware.gpus
    return hardware, gpu


def said(card: Card, command: str) -> str:
    return str(card["commands"][command]["text"])


def test_the_card_is_read_as_it_is(card: Card, name: str) -> None:
    hardware, gpu = seen(card)
    model, memory, _ = CARDS[name]
    assert (gpu.name, gpu.memory_total_mib, gpu.memory_used_mib) == (model, memory, 0)
    assert (gpu.uuid, gpu.minor, gpu.pci_bus_id) == (UUID, 0, "0000:00:06.0")
    assert (gpu.compute_cap, gpu.persistence, gpu.ecc_uncorrected) == ("9.0", True, 0)
    assert not gpu.lost and (gpu.temperature_c or 0) > 20
    assert hardware.pci_gpus == (gpu.pci_bus_id,)
    assert hardware.loaded_driver == gpu.driver_version == "580.159.04"
    assert hardware.uvm_loaded and hardware.smi_code == 0 and hardware.smi_message == ""
    mig = hardware.mig_of(gpu)
    assert (mig.capable, mig.current, mig.pending, mig.instances) == (True, False, False, ())


def test_its_kernel_modules_are_open_and_fit_its_device_id(card: Card) -> None:
    assert _flavour(card["answers"]["driver.loaded"]["text"]) == "open"
    device = int(card["answers"]["driver.pci"]["text"].split()[1], 16)
    assert "open" in needs_of([device]).flavours


def test_it_is_healthy_and_what_it_does_not_know_is_not_judged(card: Card) -> None:
    tables = [read_table(card["answers"][f"health.{part}"]["text"]) for part in ("gpus", "rows")]
    values = tables[0][UUID] | tables[1][UUID]
    assert values["remapped_rows.failure"] == "No", "a word, where older drivers print 0 or 1"
    assert "reset_status.reset_required" not in values, "this driver does not know it any more"
    gpu = seen(card)[1]
    assert trouble(gpu, values) == advice(gpu, values) == {}
    known = {"gpu health", "ecc", "row remapping", "throttling", "pcie width", "xid"}
    assert judged(gpu, values) == known
    assert answers(card)["health.fabric"].text not in UNREGISTERED


@pytest.mark.parametrize("field", ["remapped_rows.pending", "remapped_rows.failure"])
@pytest.mark.parametrize("value", ["Yes", "1"])
def test_rows_that_it_calls_broken_are_trouble(card: Card, field: str, value: str) -> None:
    values = read_table(card["answers"]["health.rows"]["text"])[UUID]
    assert trouble(seen(card)[1], values | {field: value}).keys() == {"row remapping"}


def test_its_limits_are_read(card: Card) -> None:
    hardware, _ = seen(card)
    assert card["answers"].keys() >= SETTINGS_QUESTIONS.keys() - {"gpu clocks locked"}
    (state,) = read_settings(answers(card), hardware)
    assert (state.power_w, state.least_power_w, state.most_power_w) == (700, 200, 700)
    assert (state.compute_mode, state.ecc, state.ecc_pending) == ("default", True, True)
    assert state.most_graphics_mhz == 1980 and (state.most_memory_mhz or 0) > 2000


def test_the_catalogue_knows_its_memory_and_its_mig_profiles(card: Card, name: str) -> None:
    """A slice that is estimated larger than it is would be filled beyond its end."""
    model, memory, for_cuda = CARDS[name]
    known = find_gpu(model)
    assert (known.vram_mib, known.usable_mib) == (memory, for_cuda)
    listed = said_profiles(card)
    assert {p.name: p.max_instances for p in known.mig_profiles} == read_profiles(
        card["answers"]["mig profiles"]["text"]
    )[0]
    for profile in known.mig_profiles:
        # Printed with two digits: 19.62 stands for 19.625.
        assert abs(profile.memory_mib(known) - listed[profile.name] * 1024) < 6


def said_profiles(card: Card) -> dict[str, float]:
    """GiB of each profile in `nvidia-smi mig -lgip`."""
    rows = re.findall(r"MIG (\S+) +\d+ +\d/\d +([\d.]+)", card["answers"]["mig profiles"]["text"])
    return {name: float(gib) for name, gib in rows}


def test_a_card_that_is_not_cut_has_no_instances(card: Card, tmp_path: Path) -> None:
    outputs = {
        "lgi": said(card, "nvidia-smi mig -lgi"),
        "lci": said(card, "nvidia-smi mig -lci"),
        "L": said(card, "nvidia-smi -L"),
        "q": said(card, "nvidia-smi -q -x"),
    }
    assert "mig -lgi" in MIG_ROWS and "-q -x" in MIG_ROWS
    cut, _ = instances_of(tmp_path, **outputs)
    assert cut.instances == ()


def test_what_holds_its_memory_is_read(card: Card) -> None:
    apps = "--query-compute-apps=gpu_uuid,pid,process_name,used_memory"
    (process,) = parse_processes(said(card, f"nvidia-smi {apps} --format=csv,noheader,nounits"))
    assert (process.gpu_uuid, process.pid, process.used_mib) == (UUID, 4711, 1036)


def test_an_inventory_is_made_of_it(card: Card, name: str) -> None:
    found = discovered(Login(LOCAL), "vm", seen(card)[0])
    (host,) = found.inventory["hosts"].values()
    assert find_gpu(host["gpus"][0]["model"]).name == CARDS[name][0]
    assert host["slices"][0]["models"]


def test_no_field_that_is_no_number_is_read_as_one(card: Card) -> None:
    words = {text for text in card["fields"].values() if not re.fullmatch(r"-?[\d.]+", str(text))}
    assert "[Requested functionality has been deprecated]" in words
    assert [number(str(word)) for word in words] == [None] * len(words)


def test_exit_codes_are_what_they_are(card: Card) -> None:
    codes = {command: row["code"] for command, row in card["commands"].items()}
    assert codes["nvidia-smi --query-gpu=index,nonsense --format=csv"] == 2
    assert codes["nvidia-smi -i 7 --query-gpu=index --format=csv"] == 6
    assert codes["nvidia-smi mig -lgi"] == 0, "though no GPU has MIG enabled"


@pytest.fixture
def simulated(tmp_path: Path) -> SimHost:
    return SimHost(tmp_path, hardware(load_profile("1x-h100"), "unit01"))


def test_the_simulated_driver_knows_no_field_and_prints_no_element_that_the_real_one_does_not(
    simulated: SimHost,
) -> None:

    card = yaml.safe_load((DATA / "h100.yml").read_text(encoding="utf-8"))
    with simulated as host:
        ours, theirs = host.smi("-q", "-x"), said(card, "nvidia-smi -q -x")
    assert QUERY_GPU.keys() - forgotten("580.95.05") <= card["fields"].keys()
    assert _elements(ours) <= _elements(theirs)


def _elements(report: str) -> set[str]:
    return {element.tag for element in ET.fromstring(report).iter()}


@pytest.mark.parametrize(
    "command", ["nvidia-smi mig -lgi", "nvidia-smi mig -lgipp", "nvidia-smi mig -lgip"]
)
def test_the_simulated_driver_prints_the_very_tables(simulated: SimHost, command: str) -> None:
    card = yaml.safe_load((DATA / "h100.yml").read_text(encoding="utf-8"))
    real = card["commands"].get(command) or card["answers"]["mig profiles"]
    with simulated as host:
        assert host.smi(*command.split()[1:]).strip() == real["text"]


# As the card, for whoever only looks; whoever would change something is written down.
ONLY_LOOKS = """#!/bin/sh
all="$*"
case $all in
*--query-gpu=*)
    fields=${{all#*--query-gpu=}} fields=${{fields%% *}}
    row=
    for field in $(echo "$fields" | tr , ' '); do
        row="$row, $(sed -n "s/^$field	//p" {folder}/fields)"
    done
    echo "${{row#, }}" ;;
*--query-compute-apps=*) ;;
*) echo "nvidia-smi $*" >>{folder}/changes ;;
esac
"""


def test_the_hosts_own_script_finds_a_real_card_as_it_is_asked_to_be(
    card: Card, tmp_path: Path
) -> None:
    """Whole, 700 W, default compute mode, ECC on: so nothing is to be changed."""
    fields = {**card["fields"], "pci.bus_id": "00000000:00:06.0"}
    (tmp_path / "fields").write_text("".join(f"{name}\t{text}\n" for name, text in fields.items()))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvidia-smi").write_text(ONLY_LOOKS.format(folder=tmp_path))
    (tmp_path / "bin/nvidia-smi").chmod(0o755)
    at = "0000:00:06.0"
    said, code = scripted(
        tmp_path, f"whole {at}", f"set {at} -pl 700", f"set {at} -c default", f"set {at} -e 1"
    )
    assert (said, code, (tmp_path / "changes").exists()) == ("", 0, False)
    said, code = scripted(tmp_path, f"set {at} -pl 600")
    assert "nvidia-smi -i 0 -pl 600" in (tmp_path / "changes").read_text()
    assert code == 1 and "leaves it at 700.00" in said


def scripted(folder: Path, *layout: str) -> tuple[str, int]:
    """What the script says to this layout, and its exit code."""
    (folder / "layout").write_text("".join(f"{line}\n" for line in layout))
    plan = host_plan({"name": "chat", "gpus": [0]})
    (script,) = [file.text for file in gpu_files(plan, (), Hardware()) if file.path == GPUS_SCRIPT]
    for path in (LAYOUT_FILE, "/run/ollama-fleet", "/run/systemd/system", "/proc/driver"):
        script = script.replace(
            path, str(folder / "layout" if path == LAYOUT_FILE else folder / path[1:])
        )
    (folder / "proc/driver/nvidia/gpus/0000:00:06.0").mkdir(parents=True, exist_ok=True)
    (folder / "proc/driver/nvidia/gpus/0000:00:06.0/information").write_text("Device Minor: \t 0\n")
    (folder / "script").write_text(script.replace("PATH=/usr", f"PATH={folder}/bin:/usr", 1))
    done = subprocess.run(["sh", folder / "script"], capture_output=True, text=True)
    return done.stdout + done.stderr, done.returncode
