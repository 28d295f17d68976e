"""What the driver step believes of a host's GPUs: proved by what it answers, never taken for granted."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ollama_fleet.templating import TEMPLATES

RUNNING = (TEMPLATES / "driver" / "running.sh").read_text(encoding="utf-8")
PRELUDE = 'set -eu\nsay() { echo "$*"; }\nwork=$PWD\nLOAD_TIMEOUT=9\n'
# One file for each unit that is active; `unit` holds the text of the persistence daemon's.
SYSTEMCTL = """#!/bin/sh
verb=$1
shift
for unit; do :; done
case $verb in
cat) cat unit 2>/dev/null ;;
is-active) [ -e "active/$unit" ] ;;
show)
    state=activating
    for known in active stopped; do [ ! -e "$known/$unit" ] || state=$known; done
    echo "$state" ;;
start) echo "$verb $*" >>log; [ ! -e waits ] || { mkdir -p active; : >"active/$unit"; } ;;
*) echo "$verb $*" >>log ;;
esac
"""
# The ports that answer, load their model and hold it on a GPU are words in files.
CURL = """#!/bin/sh
for url; do case $url in http://*) break ;; esac; done
port=${url#http://127.0.0.1:}
port=${port%%/*}
case $url in
*/api/version) grep -qw "$port" answer ;;
*/api/generate) grep -qw "$port" load ;;
*/api/ps) cat ps ;;
esac
"""
SMI = '#!/bin/sh\n[ "$1" != -pm ] || echo "persistence $2" >>log\ncat shown\n[ ! -e broken ]\n'
STUBS = {"systemctl": SYSTEMCTL, "curl": CURL, "nvidia-smi": SMI}
VERSION = "580.95.05"
LOADED = (
    f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {VERSION}  Release Build  (x@y)\n"
)
ON_GPU = '{"models":[{"name":"qwen3:0.6b","size":9,"size_vram":5217,"context_length":4096}]}'


class Host:
    """A host in a folder: its /proc and /sys below it, and programs that answer from files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in STUBS.items():
            (self.put(f"bin/{name}", text)).chmod(0o755)

    def put(self, path: str, text: str) -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def process(self, pid: int, group: str, opened: str, name: str = "python3") -> None:
        self.put(f"proc/{pid}/comm", f"{name}\n")
        self.put(f"proc/{pid}/cgroup", f"0::{group}\n")
        (self.folder / f"proc/{pid}/fd").mkdir()
        (self.folder / f"proc/{pid}/fd/3").symlink_to(opened)

    def run(self, call: str) -> subprocess.CompletedProcess[str]:
        text = RUNNING.replace("/proc/", "./proc/").replace("/sys/module/", "./sys/module/")
        return subprocess.run(
            [shutil.which("dash") or "sh", "-s"],
            input=f"{PRELUDE}{text}\n{call}\n",
            env={"PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    @property
    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Two slices serve, one of them a model; two GPUs are shown."""
    made = Host(tmp_path)
    made.put("serving", "ollama-chat.service 11434 qwen3:0.6b\nollama-free.service 11435 -\n\n")
    for unit in ("ollama-chat.service", "ollama-free.service"):
        made.put(f"active/{unit}", "")
    made.put("answer", "11434 11435")
    made.put("load", "11434")
    made.put("ps", ON_GPU)
    made.put("shown", f"{VERSION}\n{VERSION}\n")
    made.put("proc/driver/nvidia/version", LOADED)
    return made


WHOLE = f"GPUS=2 version={VERSION}\nproved"


def test_slices_that_answer_from_their_gpus_are_serving(host: Host) -> None:
    done = host.run("serving")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", ["ollama-chat.service", "ollama-free.service"])
def test_a_slice_whose_unit_does_not_run_is_no_success(host: Host, unit: str) -> None:
    (host.folder / "active" / unit).unlink()
    done = host.run("serving")
    assert (done.returncode, done.stderr) == (1, f"{unit} does not run\n")


def test_a_slice_that_waited_for_a_driver_is_started_and_not_caught_between_two_tries(
    host: Host,
) -> None:
    (host.folder / "active/ollama-chat.service").unlink()
    host.put("waits", "")
    done = host.run("serving")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_slice_that_somebody_stopped_stays_so(host: Host) -> None:
    (host.folder / "active/ollama-chat.service").unlink()
    host.put("stopped/ollama-chat.service", "")
    done = host.run("serving")
    assert (done.returncode, done.stderr, host.log) == (0, "", [])


@pytest.mark.parametrize(("left", "unit"), [("11435", "chat"), ("11434", "free")])
def test_a_slice_that_does_not_answer_is_no_success(host: Host, left: str, unit: str) -> None:
    host.put("answer", left)
    done = host.run("serving")
    assert (done.returncode, done.stderr) == (1, f"ollama-{unit}.service does not answer\n")


def test_a_model_that_does_not_load_is_no_success(host: Host) -> None:
    host.put("load", "none")
    done = host.run("serving")
    assert done.returncode == 1
    assert done.stderr == "ollama-chat.service does not load qwen3:0.6b\n"


@pytest.mark.parametrize("ps", [ON_GPU.replace("5217", "0"), '{"models":[]}', ""])
def test_a_model_that_is_not_on_a_gpu_is_no_success(host: Host, ps: str) -> None:
    """Ollama answers from the CPU without a word when it finds no GPU."""
    host.put("ps", ps)
    done = host.run("serving")
    assert done.returncode == 1
    assert done.stderr == "ollama-chat.service has qwen3:0.6b in RAM, not on its GPU\n"


def test_a_driver_that_shows_every_gpu_is_proved(host: Host) -> None:
    done = host.run(WHOLE)
    assert (done.returncode, done.stderr) == (0, "")


UNPROVED = {
    f"{VERSION}\n": f"nvidia-smi shows 1 of 2 GPUs with driver {VERSION}",
    f"{VERSION}\nUnable to determine the device handle\n": "nvidia-smi shows 1 of 2 GPUs",
    "580.105.08\n580.105.08\n": "nvidia-smi shows 0 of 2 GPUs",
    "": "nvidia-smi shows 0 of 2 GPUs",
}


@pytest.mark.parametrize("shown", UNPROVED)
def test_fewer_gpus_than_there_are_is_no_success(host: Host, shown: str) -> None:
    host.put("shown", shown)
    done = host.run(WHOLE)
    assert done.returncode == 1 and UNPROVED[shown] in done.stderr


def test_nvidia_smi_that_fails_is_no_success_whatever_it_shows(host: Host) -> None:
    host.put("broken", "")
    done = host.run(WHOLE)
    assert done.returncode == 1 and "nvidia-smi fails" in done.stderr


def test_another_driver_than_the_one_installed_is_no_success(host: Host) -> None:
    done = host.run("GPUS=2 version=580.105.08\nproved")
    assert done.returncode == 1
    assert done.stderr == f"driver {VERSION} is loaded, not 580.105.08\n"


CONTAINER = "4f0c" * 16
STRANGERS = {
    f"/system.slice/docker-{CONTAINER}.scope": "python3 (pid 41, container 4f0c4f0c4f0c)",
    f"/machine.slice/libpod-{CONTAINER}.scope/container": "python3 (pid 41, container 4f0c4f0c4f0c)",
    f"/kubepods/besteffort/pod1/{CONTAINER}": "python3 (pid 41, container 4f0c4f0c4f0c)",
    f"/system.slice/cri-containerd-{CONTAINER}.scope": "python3 (pid 41, container 4f0c4f0c4f0c)",
    "/system.slice/jupyter.service": "python3 (pid 41, jupyter.service)",
    "/user.slice/user-1000.slice/session-3.scope": "python3 (pid 41, session-3.scope)",
    "/": "python3 (pid 41)",
}


@pytest.mark.parametrize("group", STRANGERS)
def test_who_holds_a_gpu_is_named_by_what_a_person_can_stop(host: Host, group: str) -> None:
    host.process(41, group, "/dev/nvidia0")
    done = host.run("strangers")
    assert (done.returncode, done.stdout) == (0, f"{STRANGERS[group]}\n")


def test_slices_and_the_drivers_own_services_are_no_strangers(host: Host) -> None:
    for pid, unit in enumerate(("ollama-chat", "nvidia-persistenced", "nvidia-dcgm"), start=41):
        host.process(pid, f"/system.slice/{unit}.service", "/dev/nvidiactl")
    host.process(50, "/system.slice/jupyter.service", "/dev/null")
    done = host.run("strangers")
    assert (done.returncode, done.stdout) == (0, "")


DROP_IN = "units/nvidia-persistenced.service.d/10-fleet.conf"
PERSISTENCE = f"PERSISTENCE=$PWD/{DROP_IN}\npersistence"
UNIT = "nvidia-persistenced.service"
DAEMON = "ExecStart=/usr/bin/nvidia-persistenced --user nvpd"


def test_a_persistence_daemon_that_is_told_not_to_persist_is_told_otherwise(host: Host) -> None:
    host.put("unit", f"[Service]\nType=forking\n{DAEMON} --no-persistence-mode --verbose\n")
    host.put("sys/module/nvidia/refcnt", "0")
    done = host.run(PERSISTENCE)
    assert done.returncode == 0, done.stderr
    comment, *rest = (host.folder / DROP_IN).read_text().splitlines()
    assert comment.startswith("# Managed by Ollama Fleet")
    # A second ExecStart without the empty one before it is an error of a forking service.
    assert rest == ["[Service]", "ExecStart=", f"{DAEMON} --persistence-mode --verbose"]
    assert host.log == ["daemon-reload ", f"stop {UNIT}", f"enable --quiet {UNIT}", f"start {UNIT}"]


def test_a_persistence_daemon_that_persists_is_only_started(host: Host) -> None:
    host.put("unit", f"[Service]\n{DAEMON} --persistence-mode\n")
    host.put("sys/module/nvidia/refcnt", "0")
    assert host.run(PERSISTENCE).returncode == 0
    assert not (host.folder / DROP_IN).exists()
    assert host.log == [f"enable --quiet {UNIT}", f"start {UNIT}"]


def test_without_a_loaded_driver_the_persistence_daemon_waits_for_the_boot(host: Host) -> None:
    host.put("unit", f"[Service]\n{DAEMON} --no-persistence-mode\n")
    assert host.run(PERSISTENCE).returncode == 0
    assert f"start {UNIT}" not in host.log
    assert (host.folder / DROP_IN).exists()


def test_without_a_persistence_daemon_the_driver_is_told_itself(host: Host) -> None:
    assert host.run(PERSISTENCE).returncode == 0
    assert host.log == ["persistence 1"]


RMMOD = '#!/bin/sh\necho "rmmod $1" >>log\nrm -r "sys/module/$1"\n'
# It passes time, and ends what was to end meanwhile.
SLEEP = """#!/bin/sh
echo . >>slept
[ -e ends ] && [ "$(wc -l <slept)" -ge "$(cat ends)" ] && echo 0 >sys/module/nvidia/refcnt
true
"""


def used(host: Host, count: int) -> None:
    """The driver is loaded, and used by so many beside its own modules."""
    host.put("bin/rmmod", RMMOD).chmod(0o755)
    host.put("bin/sleep", SLEEP).chmod(0o755)
    host.put("sys/module/nvidia/refcnt", f"{count}\n")
    (host.folder / "sys/module/nvidia/holders").mkdir()


def test_a_driver_that_nobody_uses_is_unloaded_at_once(host: Host) -> None:
    used(host, 0)
    assert host.run("unload").returncode == 0
    assert host.log == ["rmmod nvidia"] and not (host.folder / "slept").exists()


def test_who_holds_the_driver_for_another_moment_is_waited_for(host: Host) -> None:
    """A runner that was stopped just now, or somebody's nvidia-smi."""
    used(host, 2)
    host.put("ends", "3")
    assert host.run("unload").returncode == 0
    assert host.log == ["rmmod nvidia"]
    assert len((host.folder / "slept").read_text().splitlines()) == 3


def test_who_goes_on_using_the_driver_keeps_it_loaded(host: Host) -> None:
    used(host, 2)
    done = host.run("unload")
    assert done.returncode == 1 and host.log == []
    assert done.stderr == "nvidia is in use by 2 more than its own modules\n"
    waited = len((host.folder / "slept").read_text().splitlines())
    assert 10 <= waited / 2 <= 30, "seconds"
