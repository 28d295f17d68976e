"""Verification of slices on MIG instances, on answers of a healthy host and of broken ones."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ollama_fleet.checks import units
from ollama_fleet.checks.processes import CHECK as FOREIGN
from ollama_fleet.checks.processes import PROCESSES, read_tenants
from ollama_fleet.checks.registry import judge, verification_questions
from ollama_fleet.checks.weights import read_instances
from ollama_fleet.questions import Answer
from tests.unit.examples import UUIDS
from tests.unit.test_checks import assembled
from tests.unit.test_mig import FIRST, plan

PLAN = plan({"name": "chat", "on": "0/2g.20gb/1", "models": ["qwen3:8b"]})
CHAT = PLAN.slices[0]
SIZE = 6000 * 2**20
MIG = """Enabled, Enabled
0 0 2 2g.20gb 3 0 MIG-3 20096
0 2 2 2g.20gb 5 0 MIG-5 20096
0 4 4 3g.40gb 2 0 MIG-2 40448
"""
RIGHTS = "/proc/driver/nvidia/capabilities/gpu4/mig/gi"
USE = "instance 00000000:10:00.0 3 12\ninstance 00000000:10:00.0 5 6100\nprocess 00000000:10:00.0 5 101\n"
DROP_IN = "/run/systemd/system/ollama-chat.service.d/20-mig.conf"

REPORT = """<nvidia_smi_log><gpu id="00000000:10:00.0">
<mig_devices>
<mig_device><index>1</index>
<gpu_instance_id>3</gpu_instance_id>
<compute_instance_id>0</compute_instance_id>
<fb_memory_usage><total>20096 MiB</total>
<reserved>0 MiB</reserved>
<used>12 MiB</used>
</fb_memory_usage>
<bar1_memory_usage>
<used>1 MiB</used>
</bar1_memory_usage>
</mig_device>
<mig_device>
<gpu_instance_id>5</gpu_instance_id>
<fb_memory_usage>
<used>6100 MiB</used>
</fb_memory_usage>
</mig_device>
</mig_devices>
<fb_memory_usage>
<used>6200 MiB</used>
</fb_memory_usage>
<processes>
<process_info>
<gpu_instance_id>5</gpu_instance_id>
<compute_instance_id>0</compute_instance_id>
<pid>101</pid>
<used_memory>6100 MiB</used_memory>
</process_info>
</processes></gpu></nvidia_smi_log>"""


def smi(mig: str) -> str:
    """The GPU's row, which ends with its two MIG modes; `mig` is those and the instances."""
    row = (
        f"0, {UUIDS[0]}, NVIDIA H100 80GB HBM3, 00000000:10:00.0, 580.95.05, 81559, 100, 9.0, 40, "
    )
    return f"{row}Enabled, 0, {mig}"


def healthy() -> dict[str, str]:
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-5", **CHAT.environment}
    models = {"models": [{"size": SIZE, "size_vram": SIZE}]}
    tags = {"models": [{"name": "qwen3:8b"}]}
    answer = {"response": "Yes.", "done": True, "eval_count": 16, "eval_duration": 10**8}
    return dict.fromkeys(verification_questions(PLAN), "") | {
        "smi": smi(MIG),
        "minors": f"/proc/driver/nvidia/gpus/{FIRST}/information:Device Minor: \t 4",
        "driver": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release",
        "pci": f"{FIRST} 0x10de 0x030200",
        "units": "Id=ollama-chat.service\nActiveState=active\nUnitFileState=enabled\nMainPID=11\n"
        + f"DropInPaths={DROP_IN}\n"
        + "\n".join(f"{key}={value}" for key, value in units.HARDENING.items()),
        "environments": "".join(f"/proc/11/environ:{k}={v}\n" for k, v in environment.items()),
        "devices chat": "open /dev/nvidia4\nrefused /dev/nvidia-caps/nvidia-cap1\n"
        "refused /dev/nvidia-caps/nvidia-cap30\nopen /dev/nvidia-caps/nvidia-cap48\n"
        "open /dev/nvidia-caps/nvidia-cap49\n",
        "rights": f"{RIGHTS}3/access:DeviceFileMinor: 30\n{RIGHTS}5/access:DeviceFileMinor: 48\n"
        f"{RIGHTS}3/ci0/access:DeviceFileMinor: 31\n{RIGHTS}5/ci0/access:DeviceFileMinor: 49\n",
        "apps": f"{UUIDS[0]}, 101, llama-server, [N/A]",
        "instances": USE,
        "ports": f"unit {CHAT.unit} 11\nprogram 11\nlistens 11 0100007F:{CHAT.port:04X}",
        "discovery": f"holds {CHAT.unit} 1",
        "owners": "/proc/101/cgroup:0::/system.slice/ollama-chat.service",
        "generation chat": json.dumps(answer),
        "api": f'{{"version":"0.32.15"}}\n#{CHAT.url}/api/version\n'
        f"{json.dumps(tags)}\n#{CHAT.url}/api/tags\n",
        "ps": f"{json.dumps(models)}\n#{CHAT.url}/api/ps\n",
    }


def failed(**changes: str) -> dict[str, str]:
    texts = {**healthy(), **{name.replace("_", " "): text for name, text in changes.items()}}
    results = judge(PLAN, {name: Answer(text) for name, text in assembled(texts).items()})
    ours = ("mig layout", "environment", "isolation", "hardening", "weights on gpu", "unit", "plan")
    assert {result.check for result in results} >= set(ours[:-1])
    return {r.check: r.found for r in results if r.failed and r.check in ours}


def test_a_healthy_slice_on_an_instance_passes() -> None:
    assert failed() == {}


@pytest.mark.parametrize(
    ("mig", "found"),
    [
        ("Disabled, Enabled", "MIG off (on is pending), no instances"),
        (MIG.replace("Enabled, Enabled", "Enabled, Disabled"), "MIG on (off is pending)"),
        (MIG.rsplit("0 4", 1)[0], "MIG on, 2g.20gb, 2g.20gb"),
        (MIG.replace("MIG-2 ", "- "), "3g.40gb (unusable)"),
        ("[N/A], [N/A]", "MIG unknown, no instances"),
    ],
)
def test_another_layout_than_planned_fails(mig: str, found: str) -> None:
    assert found in failed(smi=smi(mig))["mig layout"]


def test_a_server_that_still_has_an_old_uuid_fails() -> None:
    old = healthy()["environments"].replace("MIG-5", "MIG-77")
    assert failed(environments=old) == {"environment": "CUDA_VISIBLE_DEVICES=MIG-77"}


def test_a_server_without_any_instance_fails() -> None:
    none = healthy()["environments"].replace("CUDA_VISIBLE_DEVICES=MIG-5", "OTHER=1")
    gone = failed(environments=none, smi=smi("Enabled, Enabled"))
    assert gone["environment"] == "CUDA_VISIBLE_DEVICES=(not set)"


@pytest.mark.parametrize("node", ["nvidia-cap30", "nvidia-cap1"])
def test_a_slice_that_may_use_a_neighbours_instance_fails(node: str) -> None:
    wide = healthy()["devices chat"].replace(
        f"refused /dev/nvidia-caps/{node}\n", f"open /dev/nvidia-caps/{node}\n"
    )
    assert node in failed(devices_chat=wide)["isolation"]


def test_a_slice_that_may_not_use_its_own_instance_fails() -> None:
    shut = healthy()["devices chat"].replace("open /dev/nvidia-caps/nvidia-cap49", "refused x")
    assert "isolation" in failed(devices_chat=shut)


def test_a_drop_in_made_by_hand_is_not_taken_for_ours() -> None:
    opened = healthy()["units"].replace("DevicePolicy=closed", "DevicePolicy=auto")
    texts = {**healthy(), "units": opened.replace(DROP_IN, f"{DROP_IN} /etc/systemd/x/20-mig.conf")}
    results = judge(PLAN, {name: Answer(text) for name, text in assembled(texts).items()})
    (hardening,) = [result for result in results if result.check == "hardening"]
    assert "remove /etc/systemd/x/20-mig.conf, " in hardening.remedy


@pytest.mark.parametrize("uuid", [UUIDS[0], "MIG-5"])
def test_a_process_counts_by_its_instance_or_its_gpu(uuid: str) -> None:
    assert failed(apps=f"{uuid}, 101, llama-server, [N/A]") == {}
    assert failed(apps=f"{uuid}, 101, llama-server, 6100") == {}


@pytest.mark.parametrize(
    "apps", ["", "MIG-3, 101, llama-server, [N/A]", "MIG-5, 102, llama-server, [N/A]"]
)
def test_weights_that_lie_elsewhere_fail(apps: str) -> None:
    assert "weights on gpu" in failed(apps=apps)


@pytest.mark.parametrize(
    ("use", "found"),
    [
        (
            USE.replace("process 00000000:10:00.0 5", "process 00000000:10:00.0 3"),
            "instance 3 of GPU",
        ),
        (
            USE.replace("process 00000000:10:00.0", "process 00000000:11:00.0"),
            "of GPU 0000:11:00.0",
        ),
        (USE.replace("5 6100", "5 12"), "12 MiB held on its instance"),
    ],
)
def test_weights_on_a_neighbours_instance_fail(use: str, found: str) -> None:
    assert found in failed(instances=use)["weights on gpu"]


def test_an_instance_whose_use_the_driver_does_not_tell_is_not_judged_by_it() -> None:
    assert failed(instances=USE.replace("5 6100", "5 N/A")) == {}
    assert failed(instances="") == {}


def test_the_use_of_instances_is_read_out_of_the_report(tmp_path: Path) -> None:
    """Real nvidia-smi prints a GPU's instances first, its processes last."""
    report = tmp_path / "nvidia-smi"
    report.write_text(f"#!/bin/sh\ncat <<'END'\n{REPORT}\nEND\n")
    report.chmod(0o755)
    asked = verification_questions(PLAN)["instances"]
    done = subprocess.run(
        ["sh", "-c", asked],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert read_instances(done.stdout) == read_instances(USE)


def test_weights_in_ram_fail_though_the_driver_tells_no_memory() -> None:
    models = {"models": [{"size": SIZE, "size_vram": SIZE // 2}]}
    assert "weights on gpu" in failed(ps=f"{json.dumps(models)}\n#{CHAT.url}/api/ps\n")


def test_an_instance_is_held_to_its_part_of_the_cards_speed() -> None:
    floors = []
    for slow in (2.0, 400.0):
        answer = {"response": "Yes.", "done": True, "eval_count": 16, "eval_duration": 16e9 / slow}
        texts = {**healthy(), "generation chat": json.dumps(answer)}
        results = judge(PLAN, {name: Answer(text) for name, text in assembled(texts).items()})
        (speed,) = [result for result in results if result.check == "speed"]
        floors.append(float(speed.expected.split()[2]))
        assert speed.failed == (slow == 2.0)
    assert 3 < floors[0] < 40  # a whole H100 has to reach 63


def test_a_foreign_process_on_a_slices_instance_is_told_and_one_beside_it_is_not() -> None:
    owner = "user /proc/77 bob\n/proc/77/cgroup:0::/system.slice/train.service\n"
    for instance, told in (("5", True), ("3", False)):
        process = f"process 00000000:10:00.0 {instance} 77 C 500 /usr/bin/train\n"
        texts = assembled(healthy()) | {PROCESSES: process + owner}
        results = judge(PLAN, {name: Answer(text) for name, text in texts.items()})
        found = [one for one in results if one.check == "foreign processes" and one.status != "ok"]
        assert bool(found) == told
        assert not told or (found[0].subject == "chat" and "train.service" in found[0].found)


def test_processes_are_read_out_of_the_drivers_report(tmp_path: Path) -> None:
    """With the words of a process last, whatever they are."""
    pid = os.getpid()
    report = REPORT.replace("<pid>101</pid>", f"<pid>{pid}</pid>").replace(
        "<used_memory>6100 MiB</used_memory>",
        "<type>C</type>\n<process_name>/opt/my app &lt;x&gt; --key</process_name>\n"
        "<used_memory>6100 MiB</used_memory>",
    )
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{report}\nEND\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    asked = FOREIGN.ask(PLAN)[PROCESSES]
    done = subprocess.run(
        ["sh", "-c", asked], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    (tenant,) = read_tenants(done.stdout)
    assert (tenant.gpu, tenant.instance, tenant.pid, tenant.used_mib) == (FIRST, 5, pid, 6100)
    assert tenant.name == "/opt/my app <x> --key" and not tenant.graphics
    assert tenant.user != "?" and tenant.group != "?"
