"""A host that is given up is as it was before the first deploy, but for what is named here."""

import json
import os
import pty
import re
import subprocess

import pytest

from lab.lab import Lab
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, ROOT, Fleet, Run

CHAT = {"name": "chat", "gpus": [0], "port": 11434, "models": ["qwen3:0.6b"]}
CODE = {"name": "code", "gpus": [1], "port": 11435, "models": ["qwen3:0.6b"]}
SMALL = {"name": "small", "gpus": [0], "port": 11434, "models": ["qwen3:0.6b"]}
REMOVED = {"Removal | Remove everything of ours": ["rm1"]}
STORE = "/var/lib/ollama/models"
NOTE = "/var/lib/ollama/kept-by-ollama-fleet"
# What remains: backups that every change of an account leaves, systemd's own folders, the lab's hardware, and
# what systemd and the package manager write by themselves.
PASSING = "|".join(
    (
        r"/etc/((passwd|group|shadow|gshadow)-|\.pwd\.lock|sysusers\.d|tmpfiles\.d)$",
        r"/run/systemd/transient$",
        r"/var/lib/(systemd|dpkg|apt|logrotate|lab-hw)(/|$)",
    )
)
ACCOUNTS = "cat /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/subuid"


@pytest.fixture
def host(fleet: Fleet, lab: Lab) -> str:
    """A host with two GPUs that has the commands which a deploy would install as packages."""
    return ready(fleet, bare(lab, "rm1", "2x-rtx3090"))


def ready(fleet: Fleet, name: str) -> str:
    fleet.sh(name, "apt-get -qq update && apt-get -qq install -y curl zstd >/dev/null 2>&1")
    return name


def tree(fleet: Fleet, host: str) -> set[str]:
    """Every file with its kind, mode, owner and target; and every account."""
    places = (
        "/etc /opt /usr/local /var/lib /run/ollama-* /run/systemd/system /run/systemd/transient"
    )
    found = fleet.sh(
        host,
        f"find {places} -printf '%y %m %u:%g %p %l\\n' 2>/dev/null | sed 's/ *$//' | grep -vE '{PASSING}'",
    )
    return {*found.splitlines(), *fleet.sh(host, ACCOUNTS).splitlines()}


def paths(lines: set[str]) -> set[str]:
    return {line.split(" ")[3] if line.count(" ") > 2 else line for line in lines}


def absent(fleet: Fleet, host: str, *options: str, **more: object) -> Run:
    """A deploy with `state: absent`; whatever else the inventory says of the host may stay."""
    fleet.hosts[host] |= {"state": "absent", **more}
    return fleet.deploy(*options)


def active(fleet: Fleet, host: str) -> str:
    """Units that systemd knows; one that others only name (lab-driver.service does) is none."""
    units = "systemctl list-units --all --plain --no-legend 'ollama*'"
    return fleet.sh(host, f"{units} | awk '$2 != \"not-found\" {{ print $1 }}'")


def test_a_host_that_is_given_up_is_as_before_and_can_come_back(fleet: Fleet, host: str) -> None:
    foreign = (
        "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
    )
    fleet.sh(
        host,
        f"cd /etc/systemd/system && printf '{foreign}' | tee ollama.service >ollama-chat.service"
        " && systemctl enable -q --now ollama.service",
    )
    before = tree(fleet, host)
    fleet.add(host, CHAT, CODE)
    assert fleet.deploy().code == 0
    fleet.sh(host, "systemd-run -q --unit ollama-fetch-x sleep 1000; chown -R root: /opt/ollama")

    look = fleet.look(*absent_options())
    assert look.code == 0
    removed = re.search(r"stops and removes (.*)", look.text)
    assert removed, look.text
    assert {"ollama-scrub.timer", "ollama-chat.service", "ollama-code.service"} <= set(
        removed[1].rstrip(".").split(", ")
    ), removed[0]
    assert active(fleet, host).count("\n") > 3

    run = absent(fleet, host)
    assert run.code == 0, run.text
    assert run.changed() == REMOVED
    assert (
        "leaves the models" in run.text
        and "nothing of ours is left here but its models" in run.text
    )
    assert "the stock ollama.service that was there before stays off" in run.text
    assert "left, for it is not ours" not in run.text

    after = tree(fleet, host)
    stock = "/etc/systemd/system/multi-user.target.wants/ollama.service"
    assert paths(before - after) == {stock}
    kept = {path for path in paths(after - before) if not path.startswith(f"{STORE}/")}
    assert kept == {"/var/lib/ollama", STORE, NOTE}
    assert not [line for line in after if "/var/lib/ollama" in line and " root:root " not in line]
    assert fleet.sh(host, "cat /etc/systemd/system/ollama-chat.service").startswith("[Service]")
    assert active(fleet, host) == ""
    assert fleet.sh(host, "ss -ltnH 'sport >= 11433' | grep -c 1143 || true") == "0"

    again = fleet.deploy()
    assert again.code == 0 and again.changed() == {}
    assert tree(fleet, host) == after

    fleet.add(host, CHAT, CODE)
    back = fleet.deploy()
    assert back.code == 0, back.text
    assert "Models | Fetch missing models" not in back.changed()

    run = absent(fleet, host, remove={"models": True})
    assert run.code == 0 and run.changed() == REMOVED, run.text
    assert paths(tree(fleet, host) ^ before) == {stock}


def absent_options() -> list[str]:
    return ["--data", "state=absent"]


def test_a_store_elsewhere_stays_and_goes_when_that_is_asked_for_later(
    fleet: Fleet, host: str
) -> None:
    """Found by what the host says, for the inventory may name another by now; a running request ends."""
    before = tree(fleet, host)
    fleet.add(host, SMALL, models={"path": "/srv/data/models"})
    assert fleet.deploy().code == 0
    fleet.sh(host, "touch /srv/data/theirs")
    # Their own questions are not those that are counted here.
    fleet.sh(host, "systemctl stop ollama-health ollama-watchdog")
    fleet.sh(
        host,
        "setsid bash -c 'exec 3<>/dev/tcp/127.0.0.1/11434; sleep 60' >/dev/null 2>&1 </dev/null &",
    )

    run = absent(fleet, host, models={}, drain_timeout_s=2)
    assert run.changed() == REMOVED, run.text
    assert "draining ollama-small.service: 1 open connections" in run.text
    assert "1 connections are still open after 2 s" in run.text
    assert fleet.sh(host, "find /srv/data ! -user root; ls /srv/data/models/blobs | wc -l") != "0"
    assert paths(tree(fleet, host) ^ before) == {"/var/lib/ollama", NOTE}
    assert fleet.deploy().changed() == {}

    run = absent(fleet, host, remove={"models": True})
    assert run.code == 0 and run.changed() == REMOVED, run.text
    assert tree(fleet, host) == before
    assert fleet.sh(host, "ls /srv/data") == "theirs"
    assert fleet.deploy().changed() == {}


def test_what_somebody_else_put_there_is_left_and_said(fleet: Fleet, host: str) -> None:
    fleet.add(host, SMALL)
    assert fleet.deploy().code == 0
    unit = "/etc/systemd/system/ollama-small.service.d"
    theirs = [
        "/etc/ollama/small.env",
        "/opt/ollama/notes.txt",
        "/opt/ollama/0.32.15/lib/ollama/mine.so",
        f"{unit}/theirs.conf",
        "/var/lib/ollama/backup.tar",
        f"{STORE}/README",
    ]
    for path in theirs:
        fleet.sh(host, f"mkdir -p {path.rpartition('/')[0]} && echo theirs >{path}")
    fleet.sh(host, "touch /opt/ollama/0.32.15/.sha256")  # as a later switch to it does
    # Not ours by its home, though it has the name.
    fleet.sh(host, "systemctl stop ollama.target ollama-small ollama-watchdog ollama-health")
    fleet.sh(host, "usermod -d /srv/ollama ollama && useradd -r mate && usermod -aG ollama mate")
    run = absent(fleet, host, remove={"models": True})
    assert run.code == 0 and run.changed() == REMOVED, run.text
    assert "left, for it is not ours: " in run.text
    for path in theirs:
        assert fleet.sh(host, f"cat {path}") == "theirs"
        assert path in run.text
    files = fleet.sh(
        host, f"find /etc/ollama /opt/ollama /var/lib/ollama {unit} -type f"
    ).splitlines()
    assert sorted(files) == sorted(theirs)
    assert "the user ollama has another home, and is not ours: left" in run.text
    assert fleet.sh(host, "id -u ollama mate | wc -l") == "2"
    assert fleet.deploy().changed() == {}


@pytest.mark.parametrize("words", ["Creating user", "downloading", "unpacking", "starting ollama"])
def test_a_half_made_installation_goes_as_well(fleet: Fleet, host: str, words: str) -> None:
    before = tree(fleet, host)
    fleet.add(host, SMALL)
    running = subprocess.Popen(
        fleet.command("-y"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert running.stdout and any(words in line for line in running.stdout)
    running.kill()
    running.wait()
    # Its script on the host dies as well, as in a power cut.
    fleet.sh(host, "fuser -k -KILL /run/ollama-fleet/lock >/dev/null 2>&1 || true; sleep 0.2")
    run = absent(fleet, host, remove={"models": True})
    assert run.code == 0 and run.changed() == REMOVED, run.text
    assert tree(fleet, host) == before
    assert fleet.deploy().changed() == {}


# Command of the script, and the words among its arguments, at which it is cut.
CUTS = [
    ("systemctl", "daemon-reload"),
    ("find", "-delete"),
    ("chown", "models"),
    ("userdel", "ollama"),
    ("rm", "manifest"),
]


def test_a_removal_that_is_cut_anywhere_is_finished_by_the_next(fleet: Fleet, host: str) -> None:
    before = tree(fleet, host)
    fleet.add(host, CHAT, CODE)
    assert fleet.deploy().code == 0
    for command, words in CUTS:
        wrapper = f"/usr/local/sbin/{command}"
        fleet.sh(
            host,
            f"real=$(command -v {command}); printf '#!/bin/sh\\n"
            f"""case "$*" in *{words}*) kill -KILL $PPID;; esac\\n"""
            f"""exec %s "$@"\\n' "$real" >{wrapper} && chmod +x {wrapper}""",
        )
        run = absent(fleet, host)
        fleet.sh(host, f"rm {wrapper}")
        assert run.code == 1, f"{command}: {run.text}"
    run = absent(fleet, host)
    assert run.code == 0 and run.changed() == REMOVED, run.text
    left = {path for path in paths(tree(fleet, host) ^ before) if not path.startswith(f"{STORE}/")}
    assert left == {"/var/lib/ollama", STORE, NOTE}
    assert fleet.deploy().changed() == {}


def test_neither_a_broken_driver_nor_a_broken_disk_keeps_the_rest(fleet: Fleet, host: str) -> None:
    before = tree(fleet, host)
    fleet.add(host, SMALL)
    assert fleet.deploy().code == 0
    fleet.lab.fault(host, "gpu-lost", gpu=0)
    fleet.sh(host, "mount --bind /opt/ollama /opt/ollama && mount -o remount,bind,ro /opt/ollama")
    try:
        run = absent(fleet, host, remove={"models": True})
        assert run.code == 1 and "Traceback" not in run.text
        assert "cannot remove /opt/ollama/0.32.15" in run.text
        assert "the rest is gone; mend what is said above, then run again" in run.text
        assert active(fleet, host) == "" and fleet.sh(host, "ls /var/lib/ollama") == "manifest"
    finally:
        fleet.sh(host, "umount /opt/ollama")
    run = absent(fleet, host, remove={"models": True})
    fleet.lab.clear(host, "gpu-lost")
    assert run.code == 0, run.text
    assert tree(fleet, host) == before


def test_a_host_on_which_nothing_of_ours_is_stays_as_it_is(fleet: Fleet, host: str) -> None:
    """Though it has an Ollama of its own, with a store where ours would be."""
    fleet.sh(
        host,
        "useradd -r -m -d /usr/share/ollama ollama && mkdir -p /opt/ollama/bin /var/lib/ollama/models/blobs"
        " && echo x >/opt/ollama/bin/ollama && echo x >/var/lib/ollama/models/blobs/sha256-aa"
        " && chown -R ollama: /var/lib/ollama && ln -s /opt/elsewhere/ollama /usr/local/bin/ollama",
    )
    before = tree(fleet, host)
    fleet.add(host, SMALL)
    run = absent(fleet, host, remove={"models": True})
    assert run.code == 0 and run.changed() == {}, run.text
    assert tree(fleet, host) == before


def test_fleet_remove_shows_asks_and_removes(fleet: Fleet, host: str) -> None:
    fleet.add(host, SMALL)
    assert fleet.deploy().code == 0
    before = tree(fleet, host)
    command = [str(BIN / "fleet"), "remove", str(fleet.inventory), host]

    silent = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert silent.returncode == 2 and "add --yes" in silent.stderr
    assert at_a_terminal(command, "n")[0] == 1
    assert tree(fleet, host) == before

    code, said = at_a_terminal(command, "y")
    assert code == 0, said
    assert said.index("ollama-small.service, ") < said.index("Remove all this from rm1?")
    assert "say `state: absent` there, or take it out" in said
    assert active(fleet, host) == "" and fleet.sh(host, f"ls {STORE}/manifests") != ""

    done = subprocess.run([*command, "--models", "--yes", "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"host": host, "changed": True, "models": True}
    assert fleet.sh(host, "ls -d /var/lib/ollama 2>/dev/null || true") == ""


def at_a_terminal(command: list[str], answer: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    run = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text, asked = "", False
    while True:
        try:
            text += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # nobody has it open any more
            break
        if not asked and "[y/N]" in text:
            os.write(ours, f"{answer}\n".encode())
            asked = True
    os.close(ours)
    return run.wait(timeout=60), text


def test_a_cut_gpu_stays_cut_and_nothing_of_ours_cuts_it_again(fleet: Fleet, lab: Lab) -> None:
    host = ready(fleet, bare(lab, "rm4", "1x-a100-40gb"))
    before = tree(fleet, host)
    cards = [{"model": "A100-PCIE-40GB"}]
    wish = {"name": "small", "model": "qwen3:0.6b", "mig": "3g.20gb"}
    mig = [{"gpus": [0], "profiles": ["3g.20gb", "3g.20gb"]}]
    fleet.add(host, gpus=cards, mig=mig, wishes=[wish])
    first = fleet.deploy()
    assert first.code == 0, first.text
    cut = fleet.sh(host, "nvidia-smi -L")
    run = absent(fleet, host, remove={"models": True})
    assert run.code == 0 and "its GPUs stay cut and set as they are until the next boot" in run.text
    assert tree(fleet, host) == before
    assert fleet.sh(host, "nvidia-smi -L") == cut and cut.count("MIG 3g.20gb") == 2
