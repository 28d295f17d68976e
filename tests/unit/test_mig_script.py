"""The host's own script for its GPUs, run as it is against the simulated driver."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.sim.testing import PROGRAMS, SimHost, wait_until
from ollama_fleet.mig.layout import GPUS_SCRIPT, LAYOUT_FILE, NOT_WHOLE
from ollama_fleet.planner.bind import bind
from ollama_fleet.render import gpu_files, render_host
from tests.unit.examples import UUIDS
from tests.unit.mig_host import IN_USE, MODES, ampere, devices, enable, hopper, names
from tests.unit.test_mig import OFF, chat, plan
from tests.unit.test_mig import host as two_h100

SEVEN = ("1g.10gb",) * 7
MIXED = ("3g.40gb", "2g.20gb", "2g.20gb")
# As nvidia-smi where someone has instances open: those with the ids in `held` stay.
SMI = """#!/bin/sh
smi={programs}/nvidia-smi
case "$*" in
*-dgi*)
    [ -s {folder}/held ] || exec $smi "$@"
    for gi in $($smi mig -i 0 -lgi | awk '$3 == "MIG" {{ print $6 }}'); do
        grep -qx "$gi" {folder}/held || $smi mig -i 0 -gi "$gi" -dgi
    done
    echo "Failed to destroy GPU instances: {in_use}"
    exit 19 ;;
*-rgc*) [ ! -e {folder}/locked ] || {{ echo "Resetting GPU clocks is not supported"; exit 0; }} ;;
esac
exec $smi "$@"
"""


@dataclass
class Host:
    """A simulated host on which the script runs; `said` is all that it printed last."""

    sim: SimHost
    folder: Path
    said: str = field(default="")

    @property
    def address(self) -> str:
        return str(self.sim.hardware["gpus"][0]["pci_bus_id"]).lower()[4:]

    def told(self, *lines: str) -> int:
        """What the script makes of this layout: its exit code."""
        layout = self.folder / "gpus"
        layout.write_text("".join(f"{line}\n" for line in lines))
        script = self.folder / "ollama-gpus"
        script.write_text(self._script())
        done = subprocess.run(["sh", script], text=True, capture_output=True, env=self.sim.env)
        self.said = done.stdout + done.stderr
        return done.returncode

    def cut(self, profiles: tuple[str, ...]) -> int:
        return self.told(f"cut {self.address} {' '.join(profiles)}")

    def hold(self, *gpu_instances: str) -> None:
        (self.folder / "held").write_text("".join(f"{gi}\n" for gi in gpu_instances))

    def _script(self) -> str:
        wanted = chat()
        files = gpu_files(wanted, bind(wanted, two_h100()), two_h100())
        (script,) = (file.text for file in files if file.path == GPUS_SCRIPT)
        for real, ours in {
            "PATH=": f"PATH={self.folder}:",
            LAYOUT_FILE: f"{self.folder}/gpus",
            "/run/": f"{self.folder}/run/",
            "/proc/driver/": f"{self.sim.hw}/proc-driver/",
            "/sys/module/": f"{self.sim.hw}/sys-module/",
            "/dev/nvidia$": f"{self.folder}/nvidia$",
        }.items():
            assert real in script
            script = script.replace(real, ours)
        return script


def prepared(sim: SimHost, folder: Path) -> Host:
    smi = SMI.format(programs=PROGRAMS, folder=folder, in_use=IN_USE)
    systemctl = '#!/bin/sh\n[ "$1" = daemon-reload ]\n'
    for name, text in {"nvidia-smi": smi, "systemctl": systemctl}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "run" / "ollama-fleet").mkdir(parents=True)
    return Host(sim, folder)


@pytest.fixture
def a100(tmp_path: Path) -> Iterator[Host]:
    with ampere(tmp_path) as sim:
        yield prepared(sim, tmp_path)


@pytest.fixture
def h100(tmp_path: Path) -> Iterator[Host]:
    with hopper(tmp_path) as sim:
        yield prepared(sim, tmp_path)


@pytest.fixture
def seven(h100: Host) -> Host:
    assert h100.cut(SEVEN) == 0, h100.said
    return h100


# --- somebody watches the instances ---

IDS = ("7", "8", "9", "10", "11", "12", "13")


@pytest.fixture
def watcher(seven: Host) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the GPU open and computes nothing."""
    program = seven.folder / "nv-hostengine"
    program.write_bytes(Path("/usr/bin/sleep").read_bytes())
    program.chmod(0o755)
    (seven.folder / "nvidia0").touch()
    with (seven.folder / "nvidia0").open() as node:
        found = subprocess.Popen([program, "60"], stdin=node)
    wait_until(lambda: Path(f"/proc/{found.pid}/comm").read_text() == "nv-hostengine\n")
    yield found
    found.kill()
    found.wait()


def test_instances_that_someone_watches_stay_usable_and_the_watcher_is_named(
    seven: Host, watcher: subprocess.Popen[bytes]
) -> None:
    seven.hold(*IDS)
    assert seven.cut(MIXED) == 1
    assert f"nv-hostengine (process {watcher.pid}) keeps the GPU open: stop it" in seven.said
    assert f"Failed to destroy GPU instances: {IN_USE}" in seven.said
    assert "making" not in seven.said, "there is no room for anything"
    assert names(seven.sim) == list(SEVEN)
    assert seven.cut(SEVEN) == 0, "putting them back is nothing any more"


def test_what_was_destroyed_beside_a_watched_instance_is_made_again(seven: Host) -> None:
    seven.hold("9", "13")
    assert seven.cut(MIXED) == 1
    assert names(seven.sim) == ["1g.10gb", "1g.10gb"]
    assert "left are 1g.10gb 1g.10gb" in seven.said
    assert seven.cut(SEVEN) == 0, seven.said
    assert names(seven.sim) == list(SEVEN)


def test_a_watched_instance_that_is_in_the_way_is_no_lack_of_room(seven: Host) -> None:
    """What is left is wanted, but the rest does not fit beside it where it lies."""
    seven.hold("9")
    assert seven.cut(("3g.40gb", "3g.40gb", "1g.10gb")) == 1
    assert IN_USE in seven.said and "reboot the host" in seven.said


def test_a_watched_gpu_is_not_made_whole(seven: Host) -> None:
    seven.hold(*IDS)
    assert seven.told(f"whole {seven.address}") == 1
    assert names(seven.sim) == list(SEVEN)
    assert IN_USE in seven.said and "pending" not in seven.said


# --- whole GPUs ---


def refuses(host: Host) -> str:
    """What a whole-GPU slice's unit says before it starts; empty when it starts."""
    wanted = plan({"name": "big", "on": UUIDS[0]}, cut=())
    hardware = two_h100(OFF)
    rendered = render_host(wanted, bind(wanted, hardware), hardware)
    (unit,) = (f.text for f in rendered.files if f.path.endswith("/ollama-big.service"))
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStartPre=+")]
    shell = line.partition("-c ")[2].strip("'").replace("$$", "$")
    minor = host.sim.hardware["gpus"][0]["minor"]
    shell = shell.replace(f"{NOT_WHOLE}7", f"{host.folder}{NOT_WHOLE}{minor}")
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert bool(done.returncode) == bool(done.stdout)
    return done.stdout


def test_a_slice_does_not_start_on_a_gpu_that_should_be_whole_and_is_in_mig_mode(
    a100: Host,
) -> None:
    a100.sim.smi("-i", "0", "-mig", "1")
    a100.sim.fault("gpu-reset-refused")
    assert a100.told(f"whole {a100.address}") == 3
    assert a100.sim.query(MODES)[0] == ["Enabled", "Disabled"]
    assert "is in MIG mode, and not whole: see journalctl -u ollama-devices" in refuses(a100)
    a100.sim.heal("gpu-reset-refused")
    a100.sim.smi("-i", "0", "-r")
    assert a100.told(f"whole {a100.address}") == 0
    assert refuses(a100) == ""


def test_a_gpu_in_use_that_should_be_whole_keeps_its_slice_from_starting(seven: Host) -> None:
    uuid = seven.sim.ask("devices")["gpus"][0]["mig_devices"][0]["uuid"]
    seven.sim.hold("/usr/bin/trainer", {uuid: 300})
    assert seven.told(f"whole {seven.address}") == 1
    assert refuses(seven)


# --- clocks ---


def clocks(host: Host) -> str:
    return (host.folder / "run/ollama-fleet/gpu-clocks").read_text()


def locked(host: Host) -> list[object]:
    gpu = host.sim.ask("snapshot")["gpus"][0]
    return [gpu["graphics_clock_mhz"], gpu["memory_clock_mhz"]]


def test_clocks_that_nobody_wants_locked_any_more_are_unlocked(h100: Host) -> None:
    both = (f"set {h100.address} -lgc 210,1200", f"set {h100.address} -lmc 1593,2619")
    assert h100.told(*both) == 0, h100.said
    assert locked(h100) == [[210, 1200], [1593, 2619]]
    assert h100.told(both[1]) == 0
    assert locked(h100) == [None, [1593, 2619]] and "-lgc" not in clocks(h100)
    assert h100.told() == 0
    assert locked(h100) == [None, None] and clocks(h100) == ""


def test_a_clock_that_cannot_be_unlocked_is_not_forgotten(h100: Host) -> None:
    assert h100.told(f"set {h100.address} -lgc 210,1200") == 0
    (h100.folder / "locked").touch()
    assert h100.told() == 1
    assert "-rgc" in h100.said and clocks(h100).endswith(f"{h100.address} -lgc 210,1200\n")
    (h100.folder / "locked").unlink()
    assert h100.told() == 0 and clocks(h100) == ""


# --- the simulated driver's own part ---


def test_with_the_fault_instances_have_other_uuids_after_a_reboot(tmp_path: Path) -> None:
    def made() -> set[str]:
        enable(sim)
        sim.smi("mig", "-cgi", "9,14,14", "-C")
        return {uuid for _, uuid in devices(sim)}

    with hopper(tmp_path) as sim:
        plain = made()
        sim.fault("mig-uuids-change")
        sim.reboot()
        first = made()
        sim.smi("mig", "-dci")
        sim.smi("mig", "-dgi")
        assert made() == first, "while the driver is loaded they follow from GPU and ids"
        sim.reboot()
        second = made()
    assert len(plain | first | second) == 9
