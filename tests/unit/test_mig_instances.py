"""MIG instances of a host, out of recorded output of nvidia-smi."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ollama_fleet.hardware.found import HARDWARE_QUESTIONS
from ollama_fleet.hardware.instances import MigGpu, read_mig
from tests.unit import recorded_mig as real

UUID = "MIG-aaaaaaaa-0000-5000-8000-00000000000"


def found(folder: Path, **changes: str) -> tuple[MigGpu, ...]:
    """What is read when nvidia-smi prints the recorded text, with `changes`."""
    texts = {"modes": real.MODES, "lgi": real.LGI, "lci": real.LCI, "L": real.LIST, "q": real.XML}
    for name, text in {**texts, **changes}.items():
        (folder / name).write_text(text)
    smi = folder / "nvidia-smi"
    smi.write_text(
        f'#!/bin/sh\nfor last; do :; done\ncase "$*" in\n--query*) cat {folder}/modes ;;\n'
        f'"-q -x") cat {folder}/q ;;\n*) cat {folder}/"${{last#-}}" ;;\nesac\n'
    )
    smi.chmod(0o755)
    done = subprocess.run(
        [shutil.which("dash") or "sh", "-c", HARDWARE_QUESTIONS["smi"]],
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return read_mig(done.stdout, 3)


def test_each_instance_has_its_own_uuid_placement_and_memory(tmp_path: Path) -> None:
    cut, whole = found(tmp_path)
    assert (cut.current, cut.pending, whole.current) == (True, True, False)
    rows = [(i.profile, i.start, i.gi, i.ci, i.uuid, i.memory_mib) for i in cut.instances]
    assert rows == [
        ("2g.20gb", 0, 3, 0, f"{UUID}3", 20096),
        ("2g.20gb", 2, 5, 0, f"{UUID}5", 20096),
        ("3g.40gb", 4, 2, 0, f"{UUID}2", 40448),
    ]
    assert whole.instances == ()


def test_the_nth_instance_is_counted_by_placement(tmp_path: Path) -> None:
    cut, _ = found(tmp_path)
    assert [cut.instance("2g.20gb", n).uuid for n in (0, 1)] == [f"{UUID}3", f"{UUID}5"]
    assert cut.instance("2g.20gb", 2) is None
    assert cut.instance("1g.10gb", 0) is None


def test_the_device_index_of_the_xml_counts(tmp_path: Path) -> None:
    devices = (real.xml_device(0, 2, 1), real.xml_device(2, 3, 1), real.xml_device(1, 5, 1))
    cut, _ = found(tmp_path, q=real.xml(*devices))
    assert [cut.instance("2g.20gb", n).uuid for n in (0, 1)] == [f"{UUID}5", f"{UUID}3"]


def test_without_an_xml_devices_are_in_the_order_of_their_ids(tmp_path: Path) -> None:
    cut, _ = found(tmp_path, q="")
    assert [item.uuid for item in cut.instances] == [f"{UUID}3", f"{UUID}5", f"{UUID}2"]
    assert [item.memory_mib for item in cut.instances] == [None, None, None]


def test_an_order_that_does_not_agree_gives_no_uuid_rather_than_a_wrong_one(tmp_path: Path) -> None:
    swapped = real.LIST.replace("3g.40gb", "x").replace(
        "2g.20gb     Device  1", "3g.40gb Device  1"
    )
    cut, _ = found(tmp_path, q="", L=swapped)
    assert [item.uuid for item in cut.instances] == [None, f"{UUID}5", None]


def test_a_layout_holds_in_any_order(tmp_path: Path) -> None:
    cut, whole = found(tmp_path)
    assert cut.holds(("3g.40gb", "2g.20gb", "2g.20gb"))
    assert not cut.holds(("3g.40gb", "2g.20gb"))
    assert not cut.holds(("3g.40gb", "3g.40gb"))
    assert not whole.holds(())


@pytest.mark.parametrize("kind", ["missing", "split"])
def test_an_instance_that_cannot_compute_is_not_counted(tmp_path: Path, kind: str) -> None:
    row = "|   0      5       MIG 2g.20gb          1         0          0:2     |\n"
    half = row.replace("MIG 2g.20gb   ", "MIG 1c.2g.20gb")
    lci = real.LCI.replace(row, "" if kind == "missing" else half + half.replace(" 0   ", " 1   "))
    cut, _ = found(tmp_path, lci=lci)
    assert [item.ci for item in cut.instances] == [0, None, 0]
    assert not cut.holds(("3g.40gb", "2g.20gb", "2g.20gb"))
    assert not cut.holds(("3g.40gb", "2g.20gb"))


def test_attributes_of_a_profile_are_no_reason_to_miss_it(tmp_path: Path) -> None:
    lgi = real.LGI.replace("2g.20gb  ", "2g.20gb+me", 1)
    cut, _ = found(tmp_path, lgi=lgi)
    assert cut.instances[0].profile == "2g.20gb+me"
    assert cut.instances[0].uuid == f"{UUID}3"


def test_a_cut_card_without_instances(tmp_path: Path) -> None:
    only_gpus = "\n".join(line for line in real.LIST.splitlines() if line.startswith("GPU"))
    cut, _ = found(tmp_path, lgi=real.NOTHING, lci=real.NOTHING, L=only_gpus, q=real.xml())
    assert cut == MigGpu(0, True, True)


def test_a_mode_that_waits_for_a_reset_is_told(tmp_path: Path) -> None:
    _, waiting = found(tmp_path, modes="0, Enabled, Enabled\n1, Disabled, Enabled\n")
    assert (waiting.current, waiting.pending) == (False, True)


def test_a_card_without_mig_has_no_mode(tmp_path: Path) -> None:
    (none,) = found(tmp_path, modes="0, [N/A], [N/A]\n")
    assert none == MigGpu(0)
    assert not none.capable


def test_no_driver_no_mig() -> None:
    assert read_mig("NVIDIA-SMI has failed because it couldn't communicate", 13) == ()
