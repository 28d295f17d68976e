"""GPUs cut into MIG instances on lab hosts, in the order in which a fleet meets them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import PROVED, Fleet

SEVEN = ["1g.10gb"] * 7
MIXED = ["3g.40gb", "2g.20gb", "2g.20gb"]
SMALL = {"name": "small", "model": "qwen3:0.6b", "replicas": 3, "mig": "1g.10gb"}
WHOLE = {"name": "whole", "model": "qwen3:8b", "mig": False}
PARTS = [
    {"name": "large", "model": "qwen3:8b", "mig": "3g.40gb"},
    {"name": "small", "model": "qwen3:0.6b", "replicas": 2, "mig": "2g.20gb"},
]
# Takes memory of a GPU in the simulated driver, as a process that computes there.
HOLD = """
import json, os, socket, sys, time
driver = socket.socket(socket.AF_UNIX)
driver.connect("/run/lab-driver.sock")
mib = {sys.argv[1]: 300}
driver.sendall(json.dumps({"op": "allocate", "name": "/usr/bin/trainer", "mib": mib}).encode() + b"\\n")
print(driver.recv(4096))
time.sleep(3600)
"""


# As nvidia-smi where a client that computes nothing keeps the instances (NVIDIA/DCGM#276).
WATCHED_SMI = """#!/bin/sh
case "$*" in *-dgi*)
    if pgrep -x nv-hostengine >/dev/null; then
        echo "Unable to destroy GPU instance ID  7 from GPU  0: In use by another client"
        echo "Failed to destroy GPU instances: In use by another client"
        exit 19
    fi ;;
esac
exec /usr/lib/lab/nvidia-smi "$@"
"""

# Keeps a GPU open without computing on it, as a monitoring agent does.
WATCH = """
import json, os, socket, time
node = os.open("/dev/nvidia0", os.O_RDWR | os.O_NOCTTY)
driver = socket.socket(socket.AF_UNIX)
driver.connect("/run/lab-driver.sock")
driver.sendall(json.dumps({"op": "hold-open", "name": "agent"}).encode() + b"\\n")
print(driver.recv(4096))
time.sleep(3600)
"""


def inventory(folder: Path, lab: Lab, host: str, profiles: list[str], *wishes: Any) -> Fleet:
    fleet = Fleet(folder, lab)
    return asked(fleet, host, profiles, *wishes)


def asked(fleet: Fleet, host: str, profiles: list[str], *wishes: Any, **settings: Any) -> Fleet:
    """The host's first GPU is cut into `profiles`; the wishes choose their seats."""
    card = {"g1": ("A100 80GB PCIe", 2), "g8": ("H100 80GB", 1)}[host]
    settings["gpus"] = [{"model": card[0], "count": card[1]}]
    if profiles:
        settings["mig"] = [{"gpus": [0], "profiles": profiles}]
    fleet.add(host, **settings)
    fleet.wishes = list(wishes)
    return fleet


def instances(fleet: Fleet, host: str) -> list[str]:
    """Profile and UUID of every instance, as nvidia-smi lists them."""
    listed = fleet.sh(host, "nvidia-smi -L")
    return re.findall(r"MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[0-9a-f-]+)\)", listed)


def visible(fleet: Fleet, host: str, *slices: str) -> list[str]:
    """What each running server got in CUDA_VISIBLE_DEVICES."""
    return [
        fleet.sh(host, f"tr '\\0' '\\n' </proc/{pid}/environ | sed -n s/^CUDA_VISIBLE_DEVICES=//p")
        for pid in fleet.pids(host, *slices).values()
    ]


def good(fleet: Fleet) -> dict[str, list[str]]:
    run = fleet.deploy()
    assert run.code == 0, run.text
    return run.changed()


@pytest.fixture
def seven(lab: Lab, tmp_path: Path) -> Fleet:
    """An A100 cut into seven, three slices on it, a whole GPU beside it."""
    bare(lab, "g1", "2x-a100-80gb")
    fleet = inventory(tmp_path, lab, "g1", SEVEN, SMALL, WHOLE)
    good(fleet)
    return fleet


SLICES = ("small", "small-2", "small-3")


def test_an_a100_is_cut_into_seven_and_slices_serve_from_their_own(seven: Fleet) -> None:
    made = instances(seven, "g1")
    assert [profile for profile, _ in made] == SEVEN
    own = visible(seven, "g1", *SLICES)
    assert len(set(own)) == 3 and set(own) <= {uuid for _, uuid in made}
    assert visible(seven, "g1", "whole")[0].startswith("GPU-")
    unit = seven.sh("g1", "cat /etc/systemd/system/ollama-small.service")
    assert "MIG-" not in unit
    assert good(seven) == {}


def test_pain_10_after_a_reboot_instances_are_there_before_the_slices(
    seven: Fleet, lab: Lab
) -> None:
    before = visible(seven, "g1", *SLICES)
    lab.fault("g1", "mig-uuids-change")
    lab.reboot("g1")
    seven.sh("g1", "systemctl start ollama.target ollama-small.service ollama-small-3.service")
    assert [profile for profile, _ in instances(seven, "g1")] == SEVEN
    assert seven.sh("g1", "systemctl show -p NRestarts --value ollama-small.service") == "0"
    now = visible(seven, "g1", *SLICES)
    assert now == [uuid for _, uuid in instances(seven, "g1")][:3]
    assert not set(now) & set(before)
    assert "ordering cycle" not in seven.sh("g1", "journalctl -b -o cat")
    assert good(seven) == {}


def test_a_gpu_is_cut_anew_and_only_its_slices_restart(seven: Fleet) -> None:
    before = seven.pids("g1", "whole")
    asked(seven, "g1", MIXED, *PARTS, WHOLE)
    changed = good(seven)
    assert "GPUs | Cut and set the GPUs" in changed
    assert sorted(profile for profile, _ in instances(seven, "g1")) == sorted(MIXED)
    assert seven.pids("g1", "whole") == before
    assert "small-3" not in seven.sh("g1", "ls /run/systemd/system /etc/systemd/system")
    assert good(seven) == {}


def test_a_foreign_process_is_named_and_nothing_is_touched(seven: Fleet) -> None:
    uuid = instances(seven, "g1")[6][1]
    hold(seven, uuid)
    before = (instances(seven, "g1"), seven.pids("g1", *SLICES, "whole"))
    asked(seven, "g1", MIXED, *PARTS, WHOLE)
    run = seven.deploy()
    assert run.code == 1
    pid = seven.sh("g1", "systemctl show -p MainPID --value trainer.service")
    assert f"/usr/bin/trainer (process {pid}, trainer.service) uses it" in run.text
    assert (instances(seven, "g1"), seven.pids("g1", *SLICES, "whole")) == before


def hold(fleet: Fleet, uuid: str, program: str = HOLD) -> None:
    fleet.sh("g1", f"cat >/root/hold.py <<'END'\n{program}\nEND")
    fleet.sh("g1", f"systemd-run --quiet --unit=trainer python3 -u /root/hold.py {uuid}")
    fleet.sh(
        "g1", "for n in $(seq 50); do journalctl -u trainer | grep -q ok && break; sleep 0.1; done"
    )


def test_a_cut_that_fails_is_taken_back_and_the_slices_serve_on(seven: Fleet) -> None:
    seven.sh(
        "g1",
        "cat >/usr/local/sbin/nvidia-smi <<'END'\n#!/bin/sh\n"
        'case "$*" in *-cgi\\ 3g*) echo "Unable to create a GPU instance: Insufficient Resources";'
        ' exit 0 ;; esac\nexec /usr/lib/lab/nvidia-smi "$@"\nEND\n'
        "chmod 755 /usr/local/sbin/nvidia-smi",
    )
    asked(seven, "g1", MIXED, *PARTS, WHOLE)
    run = seven.deploy()
    assert run.code == 1
    assert "Insufficient Resources" in run.text
    assert "they are as they were before" in run.text
    assert [profile for profile, _ in instances(seven, "g1")] == SEVEN
    seven.sh("g1", "systemctl is-active ollama-small ollama-small-2 ollama-small-3")
    asked(seven, "g1", SEVEN, SMALL, WHOLE)
    assert good(seven) == {}


@pytest.fixture
def watched(seven: Fleet) -> Fleet:
    """NVIDIA's monitoring is on the GPU, as a service that is theirs or as one that nobody knows."""
    seven.sh("g1", f"cat >/usr/local/sbin/nvidia-smi <<'END'\n{WATCHED_SMI}END")
    seven.sh("g1", f"cat >/root/watch.py <<'END'\n{WATCH}END")
    seven.sh("g1", "chmod 755 /usr/local/sbin/nvidia-smi; cp /usr/bin/python3 /root/nv-hostengine")
    return seven


def watch(fleet: Fleet, unit: str) -> str:
    """Start the watcher as this service: its process."""
    fleet.sh(
        "g1",
        "printf '[Service]\\nExecStart=/root/nv-hostengine -u /root/watch.py\\n' "
        f">/etc/systemd/system/{unit}.service; systemctl daemon-reload; systemctl start {unit}; "
        f"for n in $(seq 50); do journalctl -u {unit} | grep -q ok && break; sleep 0.1; done",
    )
    return fleet.sh("g1", f"systemctl show -p MainPID --value {unit}")


def test_nvidias_own_monitoring_makes_room_for_a_cut_and_comes_back(watched: Fleet) -> None:
    pid = watch(watched, "nvidia-dcgm")
    asked(watched, "g1", MIXED, *PARTS, WHOLE)
    good(watched)
    assert sorted(profile for profile, _ in instances(watched, "g1")) == sorted(MIXED)
    assert watched.sh("g1", "systemctl is-active nvidia-dcgm") == "active"
    assert watched.sh("g1", "systemctl show -p MainPID --value nvidia-dcgm") != pid
    assert good(watched) == {}


def test_who_keeps_the_instances_is_named_and_the_slices_serve_on(watched: Fleet) -> None:
    made, pid = instances(watched, "g1"), watch(watched, "monitoring")
    asked(watched, "g1", MIXED, *PARTS, WHOLE)
    run = watched.deploy()
    assert run.code == 1
    assert f"nv-hostengine (process {pid}) keeps the GPU open: stop it" in run.text
    assert "Failed to destroy GPU instances: In use by another client" in run.text
    assert "they are as they were before" in run.text
    assert instances(watched, "g1") == made
    watched.sh("g1", "systemctl is-active ollama-small ollama-small-2 ollama-small-3")
    watched.sh("g1", "systemctl stop monitoring")
    good(watched)
    assert sorted(profile for profile, _ in instances(watched, "g1")) == sorted(MIXED)


def test_instances_that_somebody_destroyed_come_back_with_the_next_start(seven: Fleet) -> None:
    seven.sh("g1", "systemctl stop ollama-small ollama-small-2 ollama-small-3")
    seven.sh("g1", "nvidia-smi mig -i 0 -dci >/dev/null; nvidia-smi mig -i 0 -dgi >/dev/null")
    assert instances(seven, "g1") == []
    seven.sh("g1", "systemctl start ollama-small ollama-small-2 ollama-small-3")
    assert [profile for profile, _ in instances(seven, "g1")] == SEVEN


def test_a_step_that_fails_leaves_no_drained_slice_behind(seven: Fleet) -> None:
    before = (instances(seven, "g1"), seven.pids("g1", *SLICES, "whole"))
    asked(seven, "g1", MIXED, *PARTS, WHOLE)
    # What comes after the GPUs needs nothing more than what is there; what may fail comes before.
    seven.sh("g1", "rm -rf /opt/ollama/*/.sha256 /opt/ollama/download; touch /opt/ollama/download")
    run = seven.deploy()
    assert run.code == 1 and "cannot write to /opt/ollama" in run.text
    assert (instances(seven, "g1"), seven.pids("g1", *SLICES, "whole")) == before


def test_ecc_that_waits_for_a_reboot_stops_no_slice(seven: Fleet) -> None:
    asked(seven, "g1", MIXED, *PARTS, WHOLE, gpu_settings=[{"gpus": [0], "ecc": False}])
    run = seven.deploy()
    assert run.code == 1 and "it waits for a reboot" in run.text
    seven.sh("g1", "systemctl is-active ollama-large ollama-small ollama-small-2 ollama-whole")
    seven.lab.reboot("g1")
    seven.sh("g1", "systemctl start ollama.target ollama-whole")
    # What the host shows now, ECC off, was not proved before.
    assert set(good(seven)) <= {PROVED}
    assert good(seven) == {}


def test_without_its_layout_a_slice_keeps_its_instance_and_a_deploy_mends_it(seven: Fleet) -> None:
    own = visible(seven, "g1", *SLICES)
    seven.sh("g1", "rm /etc/ollama/gpus; systemctl restart ollama-small")
    assert visible(seven, "g1", *SLICES) == own
    assert "/etc/ollama/gpus is missing" in seven.sh("g1", "journalctl -b -u ollama-devices")
    assert list(good(seven)) == ["Slices | Run one unit per slice"]
    assert good(seven) == {}


def test_a_deploy_hands_over_instances_that_somebody_made_anew(seven: Fleet) -> None:
    two = {"name": "small", "model": "qwen3:0.6b", "replicas": 2, "mig": "2g.20gb"}
    asked(seven, "g1", ["2g.20gb"] * 2, two, WHOLE)
    good(seven)
    before = instances(seven, "g1")
    # Were the health watch to ask just now, the models would be loaded again.
    seven.sh("g1", "systemctl stop ollama-health; pkill -f '[l]lama-server'; sleep 1")
    # Three of them, and the first is removed: the same layout, but it is another pair.
    for options in ("-dci", "-dgi", "-cgi 2g.20gb,2g.20gb,2g.20gb -C", "-gi 3 -dci", "-gi 3 -dgi"):
        seven.sh("g1", f"nvidia-smi mig -i 0 {options}")
    made = instances(seven, "g1")
    seven.sh("g1", "systemctl start ollama-health")
    assert len(made) == 2 and made != before
    assert "GPUs | Cut and set the GPUs" in good(seven)
    assert visible(seven, "g1", "small", "small-2") == [uuid for _, uuid in made]
    assert good(seven) == {}


def logged(fleet: Fleet, unit: str, words: str) -> None:
    """Waits until a unit has said so: a slice that starts looks for its GPUs for a while."""
    look = f"journalctl -b -u {unit} -o cat | grep -q '{words}'"
    fleet.sh("g1", f"""timeout 90 sh -c "until {look}; do sleep 0.5; done" """)


def test_a_slice_without_its_instance_does_not_serve_from_the_cpu(seven: Fleet) -> None:
    hold(seven, instances(seven, "g1")[6][1])
    before = visible(seven, "g1", "small-2", "small-3")
    seven.sh("g1", "systemctl stop ollama-small")
    gi = seven.sh("g1", "nvidia-smi mig -i 0 -lgi | awk '$7 == \"0:1\" { print $6 }'")
    seven.sh("g1", f"nvidia-smi mig -i 0 -gi {gi} -dci; nvidia-smi mig -i 0 -gi {gi} -dgi")
    seven.lab.ssh("g1", "timeout 5 systemctl start ollama-small")
    logged(seven, "ollama-small", "was not found")
    said = seven.sh("g1", "journalctl -b -u ollama-devices -u ollama-small -o cat")
    assert re.search(r"is in use by .*/usr/bin/trainer \(process \d+\)", said)
    assert "0000:17:00.0, MIG 1g.10gb 0 was not found: see journalctl -u ollama-devices" in said
    assert seven.sh("g1", "systemctl is-active ollama-small || :") != "active"
    seven.sh("g1", "systemctl restart ollama-small-2")
    assert visible(seven, "g1", "small-2", "small-3") == before


def test_a_slice_that_lost_its_instance_with_the_layout_serves_from_its_gpu(
    lab: Lab, tmp_path: Path
) -> None:
    """It had an instance until `mig:` was dropped; what it was handed then is still there."""
    bare(lab, "g2", "2x-rtx3090")
    fleet = Fleet(tmp_path, lab)
    fleet.add("g2", {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"]})
    good(fleet)
    own = visible(fleet, "g2", "chat")
    folder = "/run/systemd/system/ollama-chat.service.d"
    fleet.sh(
        "g2",
        f"mkdir -p {folder}; printf '[Service]\\nEnvironment=CUDA_VISIBLE_DEVICES=MIG-1\\n' "
        f">{folder}/20-mig.conf; systemctl daemon-reload; systemctl restart ollama-chat",
    )
    assert visible(fleet, "g2", "chat") == ["MIG-1"]
    assert list(good(fleet)) == ["Slices | Run one unit per slice"]
    assert visible(fleet, "g2", "chat") == own
    assert fleet.sh("g2", f"ls -d {folder} 2>/dev/null || :") == ""
    assert good(fleet) == {}


def test_a_slice_does_not_serve_from_a_whole_gpu_that_somebody_put_into_mig_mode(
    seven: Fleet, lab: Lab
) -> None:
    seven.sh("g1", "systemctl stop ollama-whole; rmmod nvidia_drm; nvidia-smi -i 1 -mig 1")
    lab.fault("g1", "gpu-reset-refused")
    seven.lab.ssh("g1", "timeout 5 systemctl start ollama-whole")
    logged(seven, "ollama-whole", "is in MIG mode")
    said = seven.sh("g1", "journalctl -b -u ollama-whole -o cat")
    assert "/dev/nvidia1 is in MIG mode, and not whole: see journalctl -u ollama-devices" in said
    assert seven.sh("g1", "systemctl is-active ollama-whole || :") != "active"
    lab.clear("g1", "gpu-reset-refused")
    seven.sh(
        "g1", "for n in $(seq 300); do systemctl is-active ollama-whole && break; sleep 0.2; done"
    )
    assert visible(seven, "g1", "whole")[0].startswith("GPU-")


def test_a_whole_gpu_that_was_left_in_mig_mode_is_made_whole(seven: Fleet) -> None:
    asked(seven, "g1", [], WHOLE | {"replicas": 2})
    assert "GPUs | Cut and set the GPUs" in good(seven)
    modes = seven.sh("g1", "nvidia-smi --query-gpu=mig.mode.current --format=csv,noheader")
    assert modes.split() == ["Disabled", "Disabled"]
    assert good(seven) == {}


PLACED = ("large", "small", "small-2")


def test_pain_10_an_h100_loses_its_mode_with_a_reboot_and_gets_it_back(
    lab: Lab, tmp_path: Path
) -> None:
    bare(lab, "g8", "1x-h100")
    fleet = inventory(tmp_path, lab, "g8", MIXED, *PARTS)
    good(fleet)
    assert sorted(profile for profile, _ in instances(fleet, "g8")) == sorted(MIXED)
    before = visible(fleet, "g8", *PLACED)
    lab.fault("g8", "mig-uuids-change")
    lab.reboot("g8")
    fleet.sh("g8", "systemctl start ollama.target ollama-small.service ollama-large.service")
    made = instances(fleet, "g8")
    assert sorted(profile for profile, _ in made) == sorted(MIXED)
    now = visible(fleet, "g8", *PLACED)
    assert now == [uuid for _, uuid in made] and not set(now) & set(before)
    assert good(fleet) == {}


def test_an_h100_is_cut_anew(lab: Lab, tmp_path: Path) -> None:
    bare(lab, "g8", "1x-h100")
    fleet = inventory(tmp_path, lab, "g8", MIXED, *PARTS)
    good(fleet)
    asked(fleet, "g8", SEVEN, SMALL)
    assert "GPUs | Cut and set the GPUs" in good(fleet)
    made = instances(fleet, "g8")
    assert [profile for profile, _ in made] == SEVEN
    assert visible(fleet, "g8", *SLICES) == [uuid for _, uuid in made][:3]
    assert good(fleet) == {}


def test_pain_11_who_keeps_a_mode_from_taking_effect_is_named(lab: Lab, tmp_path: Path) -> None:
    bare(lab, "g1", "2x-a100-80gb")
    fleet = asked(Fleet(tmp_path, lab), "g1", MIXED, *PARTS, reboot="never")
    hold(fleet, "", WATCH)
    # A desktop holds nvidia_drm, and that keeps the GPU from being reset.
    fleet.sh(
        "g1",
        "printf '#!/bin/sh\\nexit 1\\n' >/usr/local/sbin/rmmod; chmod 755 /usr/local/sbin/rmmod",
    )
    run = fleet.deploy()
    assert run.code == 1
    pid = fleet.sh("g1", "systemctl show -p MainPID --value trainer.service")
    assert "MIG mode Enabled is pending" in run.text
    assert f"python3 (process {pid}) keeps the GPU open: stop it, or reboot the host" in run.text
    lab.reboot("g1")  # then the mode is on; the agent is gone, and no unit of ours is there yet
    assert "Enabled" in fleet.sh("g1", "nvidia-smi --query-gpu=mig.mode.current --format=csv")
    good(fleet)
    assert sorted(profile for profile, _ in instances(fleet, "g1")) == sorted(MIXED)


SETTINGS = {
    "power_limit_w": 250,
    "graphics_clock_mhz": [210, 1200],
    "memory_clock_mhz": [810, 1512],
    "compute_mode": "exclusive_process",
}
# What the simulated driver has; nvidia-smi does not show locked clocks.
ASK_DRIVER = """python3 -c '
import json, socket
driver = socket.socket(socket.AF_UNIX)
driver.connect("/run/lab-driver.sock")
driver.sendall(b"{\\"op\\": \\"snapshot\\"}\\n")
for gpu in json.loads(driver.makefile().readline())["gpus"]:
    print(*gpu["graphics_clock_mhz"] or "-", *gpu["memory_clock_mhz"] or "-", gpu["compute_mode"],
          round(gpu["power_limit_w"]))
'"""


def in_force(fleet: Fleet) -> set[str]:
    """Clocks, compute mode and power limit of all GPUs of g1; one row where they are alike."""
    return set(fleet.sh("g1", ASK_DRIVER).splitlines())


def test_settings_hold_over_a_reboot(lab: Lab, tmp_path: Path) -> None:
    bare(lab, "g1", "2x-a100-80gb")
    fleet = Fleet(tmp_path, lab)
    asked(fleet, "g1", [], WHOLE, gpu_settings=[SETTINGS])
    good(fleet)
    wanted = {"210 1200 810 1512 Exclusive_Process 250"}
    assert in_force(fleet) == wanted
    assert good(fleet) == {}
    lab.reboot("g1")
    fleet.sh("g1", "systemctl start ollama.target ollama-whole.service")
    assert in_force(fleet) == wanted
    assert good(fleet) == {}
    fleet.sh("g1", "nvidia-smi -i 1 -pl 280; nvidia-smi -i 0 -c DEFAULT")  # somebody changed it
    assert list(good(fleet)) == ["GPUs | Cut and set the GPUs"]
    assert in_force(fleet) == wanted


@pytest.mark.parametrize("left", [[], [{"power_limit_w": 250}]], ids=["nothing", "another"])
def test_clocks_that_the_inventory_drops_are_unlocked(
    lab: Lab, tmp_path: Path, left: list[dict[str, int]]
) -> None:
    """Also where nothing is to be set any more, on a card without MIG: nobody else would do it."""
    bare(lab, "g2", "2x-rtx3090")
    fleet, slice_ = Fleet(tmp_path, lab), {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"]}
    fleet.add(
        "g2", slice_, gpu_settings=[{"power_limit_w": 250, "graphics_clock_mhz": [210, 1200]}]
    )
    good(fleet)
    assert "210 1200" in fleet.sh("g2", ASK_DRIVER)
    fleet.add("g2", slice_, gpu_settings=left)
    assert "GPUs | Cut and set the GPUs" in good(fleet)
    assert "210 1200" not in fleet.sh("g2", ASK_DRIVER)
    assert fleet.sh("g2", "ls /opt/ollama/libexec | grep -c gpus || :") == str(len(left))
    assert good(fleet) == {}


def test_a_setting_beyond_the_card_is_refused_before_anything_changes(
    lab: Lab, tmp_path: Path
) -> None:
    bare(lab, "g1", "2x-a100-80gb")
    fleet = Fleet(tmp_path, lab)
    settings = {"power_limit_w": 900, "compute_mode": "prohibited"}
    asked(fleet, "g1", [], WHOLE, gpu_settings=[settings])
    run = fleet.deploy()
    assert run.code == 1
    assert "slice 'whole' is to serve from it, and no process may use a GPU" in run.text
    assert re.search(r"power_limit_w 900 is out of its range, \d+ to 300 W", run.text)
    assert fleet.sh("g1", "ls /opt /etc/ollama 2>/dev/null || :").split() == ["/opt:"]


def test_a_plan_file_of_mig_parted_is_used_as_it_is(lab: Lab, tmp_path: Path) -> None:
    bare(lab, "g1", "2x-a100-80gb")
    devices = {"devices": [0], "mig-enabled": True, "mig-devices": {"2g.20gb": 2, "3g.40gb": 1}}
    (tmp_path / "layouts.yml").write_text(
        json.dumps({"version": "v1", "mig-configs": {"mixed": [devices]}})
    )
    fleet = Fleet(tmp_path, lab)
    parted = {"file": "layouts.yml", "config": "mixed"}
    asked(fleet, "g1", [], *PARTS, mig_parted=parted)
    good(fleet)
    assert sorted(profile for profile, _ in instances(fleet, "g1")) == sorted(MIXED)
