"""`fleet discover`: a host's answers become an inventory; every way to get none has its words."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ollama_fleet.cli import ask_host
from ollama_fleet.cli.ask_host import Spoken, command, login
from tests.unit.fleet_cli import fleet, fleet_json

GPU = "{n}, GPU-{n}, {name}, 00000000:{bus}:00.0, 580.95.05, {mib}, {used}, 8.6, 40, Enabled, 0, [N/A], [N/A]"
PCI = "0000:{bus}:00.0 0x10de 0x030000"
BUSES = ("17", "31", "65")


def host(*names: str, used: int = 1, mib: int = 24576, **answers: tuple[str, int]) -> Spoken:
    """What a host with these GPUs says to the questions."""
    gpus = list(zip(range(9), names, BUSES, strict=False))
    lines = [GPU.format(n=n, name=name, bus=b, mib=mib, used=used) for n, name, b in gpus]
    told = {
        "user": ("0", 0),
        "machine": ("x86_64", 0),
        "os": ("ID=debian", 0),
        "systemd": ("systemd 252", 0),
        "commands": ("", 0),
        "name": ("gpu01.example.org", 0),
        "smi": ("\n".join(lines), 0),
        "minors": ("", 0),
        "driver": ("", 0),
        "uvm": ("", 0),
        "pci": ("\n".join(PCI.format(bus=b) for _, _, b in gpus), 0),
        **dict.fromkeys(("disk", "memory", "stored", "begun"), ("", 0)),
        **answers,
    }
    parts = [f"\001{name}\n{text}\n\001{code}\n" for name, (text, code) in told.items()]
    return Spoken(0, "Welcome!\n" + "".join(parts) + "\001end of answers\n", "")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Spoken], list[list[str]]]:
    """Make the next host say this; returns the commands that were run."""

    def set_answer(spoken: Spoken) -> list[list[str]]:
        commands: list[list[str]] = []

        def run(words: list[str], script: str) -> Spoken:
            commands.append(words)
            asked = re.findall(r"^printf '.001%s.n' '(\w+)'", script, re.M)
            told = re.findall("^\001(\\w+)$", spoken.out, re.M)
            extra = "".join(f"\001{name}\n\n\0010\n" for name in asked if name not in told)
            out = spoken.out.replace("\001end of", f"{extra}\001end of")
            return Spoken(spoken.code, out, spoken.err)

        monkeypatch.setattr(ask_host, "run_command", run)
        return commands

    return set_answer


RTX_3090, RTX_3060 = "NVIDIA GeForce RTX 3090", "NVIDIA GeForce RTX 3060"


def test_a_host_becomes_an_inventory_that_can_be_planned(answers, tmp_path: Path) -> None:
    answers(host(RTX_3090, RTX_3090))
    done = fleet("discover", "admin@10.0.0.11", "--sudo")
    (entry,) = yaml.safe_load(done.stdout)["hosts"].items()
    assert entry[0] == "gpu01"
    assert entry[1]["address"] == "10.0.0.11"
    assert entry[1]["ssh"] == {"user": "admin", "sudo": True}
    assert entry[1]["gpus"] == [{"model": RTX_3090, "count": 2}]
    assert [item["gpus"] for item in entry[1]["slices"]] == [[0], [1]]
    path = tmp_path / "found.yml"
    path.write_text(done.stdout)
    assert not fleet_json("plan", path)["refused"]
    fleet("check", path)


def test_every_slice_says_why_it_is_suggested(answers) -> None:
    answers(host(RTX_3090, RTX_3060))
    text = fleet("discover", "gpu01").stdout
    assert text.count("MiB with margin, about") == 2
    assert "The GPUs are not alike" in text


def test_programs_get_the_hardware_which_a_plan_reads(answers, tmp_path: Path) -> None:
    answers(host(RTX_3090))
    told = fleet_json("discover", "gpu01")
    assert told["hardware"]["gpus"][0]["uuid"] == "GPU-0"
    assert told["system"]["arch"] == "amd64"
    found, inventory = tmp_path / "found.json", tmp_path / "one.yml"
    found.write_text(fleet("discover", "gpu01", "--json").stdout)
    inventory.write_text(yaml.safe_dump(told["inventory"]))
    out = tmp_path / "out"
    done = fleet("plan", inventory, "--hardware", found, "--render", out, code=2)
    assert "no device minor" in done.stderr  # this host's driver told none


def test_this_machine_is_asked_without_ssh(answers) -> None:
    commands = answers(host(RTX_3090))
    (entry,) = yaml.safe_load(fleet("discover", "@local").stdout)["hosts"].values()
    assert commands == [["sh", "-s"]]
    assert entry["connection"] == "local" and "address" not in entry


def test_a_gpu_that_no_table_has_is_described_in_the_inventory(answers, tmp_path: Path) -> None:
    answers(host("NVIDIA Future 9000"))
    done = fleet("discover", "gpu01")
    assert "is in no table" in done.stdout
    (own,) = yaml.safe_load(done.stdout)["catalogue"]["gpus"]
    assert own["vram_mib"] == 24576
    path = tmp_path / "found.yml"
    path.write_text(done.stdout)
    fleet("plan", path)


def test_a_gpu_in_use_and_one_that_is_lost_are_noted(answers) -> None:
    answers(host(RTX_3090, used=9000))
    assert "9000 MiB are in use" in fleet("discover", "gpu01").stdout
    lost = "0, GPU-0, NVIDIA GeForce RTX 3090, 00000000:17:00.0, 580.95.05" + ", ERR!" * 8
    answers(host(RTX_3090, smi=(lost, 0)))
    text = fleet("discover", "gpu01").stdout
    assert "is lost" in text and yaml.safe_load(text)["hosts"]["gpu01"]["slices"] == []


@pytest.mark.parametrize(
    ("spoken", "said"),
    [
        (host(), "no NVIDIA GPU on its PCI bus"),
        (host(RTX_3090, smi=("sh: nvidia-smi: not found", 127)), "install the NVIDIA driver"),
        (host(RTX_3090, smi=("failed to communicate", 9)), "modprobe nvidia"),
        (host(RTX_3090, smi=("odd", 77)), "nvidia-smi failed (odd)"),
        (Spoken(0, "", ""), "stopped answering"),
        (Spoken(1, "", "sudo: a password is required"), "sudo without a password"),
        (Spoken(127, "This account is not available.", ""), "This account is not available"),
        (Spoken(255, "", "Host key verification failed."), "log in once with ssh"),
        (Spoken(255, "", "root@x: Permission denied (publickey)."), "--user and --key"),
        (Spoken(255, "", "ssh: connect to host x port 22: Connection timed out"), "is it up"),
        (Spoken(255, "", ""), "ssh -v"),
    ],
)
def test_a_host_that_cannot_be_asked_is_an_error_with_advice(answers, spoken, said) -> None:
    answers(spoken)
    assert said in fleet("discover", "gpu01", code=1).stderr
    assert said in fleet_json("discover", "gpu01", code=1)["error"]


def test_the_login_is_what_was_asked_for(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch()
    words = command(login("10.0.0.1", "admin", 2222, key, key, True))
    assert words[0] == "ssh" and words[-5:] == ["10.0.0.1", "sudo", "-n", "sh", "-s"]
    assert words[-6] == "--" and "BatchMode=yes" in words
    assert words[words.index("-p") + 1] == "2222" and words[words.index("-l") + 1] == "admin"
    assert f"UserKnownHostsFile={key}" in words


@pytest.mark.parametrize(
    "words",
    [
        ["--", "-oProxyCommand=id"],
        ["a b"],
        [""],
        ["admin@"],
        ["gpu01", "--port", "0"],
        ["gpu01", "--key", "no/such/key"],
        ["gpu01", "--known-hosts", "no/such/file"],
    ],
)
def test_a_login_that_cannot_be_meant_is_bad_input(words: list[str]) -> None:
    fleet("discover", *words, code=2)


def test_a_machine_is_really_asked() -> None:
    """Through a real shell; where these tests run there is usually no GPU."""
    answers = ask_host.ask(login("@local", None, None, None, None, False), {"x": "echo hello"})
    assert answers["x"].text == "hello"


def test_a_missing_ssh_and_a_host_that_hangs_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ask_host.HostError, match="not installed"):
        ask_host.run_command(["no-such-program"], "")
    monkeypatch.setattr(ask_host, "ANSWER_TIMEOUT_S", 0.1)
    with pytest.raises(ask_host.HostError, match="no answer within"):
        ask_host.run_command(["sleep", "5"], "")
