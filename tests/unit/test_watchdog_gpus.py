"""What the watchdog knows of GPUs: whether one is there, and whether anybody else would notice its reset."""

import os
from pathlib import Path

import pytest

from ollama_fleet.watching import places
from tests.unit.watchdog_script import Watchdog


@pytest.fixture
def dog(tmp_path: Path) -> Watchdog:
    return Watchdog(tmp_path)


LISTED = "0, 00000000:10:00.0, 6100\n1, 00000000:11:00.0, {}"


@pytest.mark.parametrize(
    ("said", "gpu"),
    [
        (LISTED.format("6100"), "well"),
        (LISTED.format("[N/A]"), "well"),  # memory that it shares with the host
        (LISTED.format("[GPU is lost]"), "lost"),
        (LISTED.format("[Unknown Error]"), "lost"),
        (LISTED.format("ERR!"), "lost"),
        (LISTED.format("[GPU requires reset]"), "lost"),
        ("0, 00000000:10:00.0, 6100", "lost"),
        ("Unable to determine the device handle for GPU0000:11:00.0: GPU is lost.", "lost"),
        ("Unable to determine the device handle for GPU0000:12:00.0: Unknown Error", "unknown"),
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
            "unknown",
        ),
    ],
)
def test_whether_its_gpu_is_there_is_read_from_nvidia_smi(
    dog: Watchdog, said: str, gpu: str
) -> None:
    dog.stub("nvidia-smi", f"cat <<'END'\n{said}\nEND")
    assert dog.call("state_of 0000:11:00.0; echo $gpu") == gpu


def test_an_nvidia_smi_that_hangs_is_waited_for_once_and_never_started_twice(
    dog: Watchdog,
) -> None:
    dog.stub("nvidia-smi", f"echo x >>{dog.folder}/started; exec sleep 20")
    words = dog.call("state_of 0000:11:00.0; echo $gpu; state_of 0000:11:00.0; echo $gpu $said")
    kill = "kill $(cat $run/smi.pid)"
    dog.call(kill)
    assert words == "unknown\nunknown nvidia-smi has not answered for a long time"
    assert (dog.folder / "started").read_text() == "x\n"


def may(dog: Watchdog, name: str, address: str, apps: str = "", state: str = "active") -> str:
    dog.stub("nvidia-smi", f"echo '{apps}'")
    dog.stub("systemctl", f"echo {state}")
    return dog.call(f"may_reset {name} {address} && echo yes || echo $why")


def test_a_gpu_is_reset_only_when_nobody_else_uses_it(tmp_path: Path) -> None:
    dog = Watchdog(tmp_path)
    job = tmp_path / places.WATCHDOG_JOB.lstrip("/")  # as of two MIG instances
    job.write_text(job.read_text().replace("0000:11:00.0", "0000:10:00.0"))
    (dog.run_dir / "linked").write_text("0000:13:00.0\n")
    assert may(dog, "chat", "0000:10:00.0") == "code uses it"
    assert may(dog, "chat", "0000:10:00.0", state="inactive") == "yes"
    (dog.run_dir / "code.trouble").write_text("1 2 unload\n")
    assert may(dog, "chat", "0000:10:00.0") == "yes"
    (dog.run_dir / "code.trouble").unlink()
    (dog.looks / "code.look").write_text("down 1 2 cpu\n")
    assert may(dog, "chat", "0000:10:00.0") == "yes"
    assert (
        may(dog, "chat", "0000:10:00.0", apps=str(os.getpid())) == f"process {os.getpid()} uses it"
    )
    assert may(dog, "chat", "0000:13:00.0") == "it is joined to others by NVLink"
    (dog.run_dir / "linked").unlink()
    assert (
        may(dog, "chat", "0000:10:00.0") == "nobody knows whether it is joined to others by NVLink"
    )
    (tmp_path / "never").mkdir()
    never = Watchdog(tmp_path / "never", resets=False)
    (never.run_dir / "linked").touch()
    assert may(never, "chat", "0000:10:00.0") == "`reset_gpu: never`"


TOPOLOGY = """\
\t\x1b[4mGPU0\tGPU1\tGPU2\tCPU Affinity\x1b[0m
GPU0\t X \tNV4\tSYS\t0-15
GPU1\tNV4\t X \tSYS\t0-15
GPU2\tSYS\tSYS\t X \t16-31

Legend:
  NV#  = Connection traversing a bonded set of # NVLinks"""


def test_gpus_with_nvlink_are_known_by_their_addresses(dog: Watchdog) -> None:
    rows = "\n".join(f"{n}, 00000000:1{n}:00.0" for n in range(3))
    dog.stub(
        "nvidia-smi",
        f"case $1 in topo) cat <<'END'\n{TOPOLOGY}\nEND\n;; *) cat <<'END'\n{rows}\nEND\n;; esac",
    )
    dog.call("learn_links")
    assert (dog.run_dir / "linked").read_text().split() == ["0000:10:00.0", "0000:11:00.0"]
