"""What of ours is on a host, and what goes from it: the question in a real shell, the rest by its text."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ollama_fleet.host.scripts import change_script
from ollama_fleet.planner.plan import Removal
from ollama_fleet.questions import Answer, question_script, read_answers
from ollama_fleet.removal.found import Found, read_found, will_go, will_stay
from ollama_fleet.removal.questions import questions
from ollama_fleet.removal.steps import removal_steps
from ollama_fleet.templating import MARKER

SHELL = shutil.which("dash") or "sh"
KEEP, ALL = Removal(), Removal(models=True)
UNITS = "/etc/systemd/system"
SERVING = Found(
    files=(
        f"{UNITS}/ollama-chat.service",
        f"{UNITS}/ollama-loader.service",
        f"{UNITS}/ollama-scrub.service",
        f"{UNITS}/ollama-scrub.timer",
        f"{UNITS}/ollama.target",
        "/etc/tmpfiles.d/ollama.conf",
        "/usr/local/bin/ollama",
    ),
    originals=(f"{UNITS}/ollama-chat.service.before-fleet", "/etc/profile.d/x.sh.before-fleet"),
    releases=("/opt/ollama/0.32.15",),
    folders=("/var/lib/ollama/home",),
    account=True,
    ports=(("ollama-chat.service", 11434),),
    store="/data/models",
    store_bytes=5 * 2**30,
    has_manifest=True,
    has_run_state=True,
)


class Machine:
    """A folder in which everything lies where it would on a host."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n")

    def write(self, path: str, text: str = f"# {MARKER}\n") -> None:
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def path(self, path: str) -> Path:
        return Path(f"{self.root}{path}")

    def found(self) -> Found:
        asked = re.sub(r"(?<![\w.*/(])/(etc|opt|usr/local|var/lib|run)/", rf"{self.root}/\1/",
                       questions("/var/lib/ollama/models")["removal.ours"])  # fmt: skip
        done = subprocess.run(
            [SHELL, "-c", question_script({"removal.ours": asked})], capture_output=True, text=True
        )
        answer = read_answers(done.stdout.splitlines())["removal.ours"]
        return read_found({"removal.ours": Answer(answer.text.replace(str(self.root), ""))})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_on_a_host_of_somebody_else_s_nothing_is_ours(machine: Machine) -> None:
    machine.write("/etc/systemd/system/ollama-chat.service", "[Service]\n")
    machine.write("/opt/ollama/bin/ollama", "x")
    machine.write("/etc/ollama/config", "x")
    machine.write("/usr/local/bin/fleet-ctl", "x")
    machine.write("/var/lib/ollama/models/blobs/sha256-aa", "x")
    machine.write("/etc/passwd", "ollama:x:990:990::/usr/share/ollama:/bin/false\n")
    machine.path("/usr/local/bin/ollama").symlink_to("/usr/lib/ollama/ollama")
    assert machine.found() == Found()
    assert not Found(store="/x", stock="enabled").anything(ALL)


def test_everything_of_ours_is_found_by_marker_and_by_name(machine: Machine) -> None:
    unit = f'# {MARKER}\nEnvironment="OLLAMA_HOST=127.0.0.1:11436"\n'
    machine.write(f"{UNITS}/ollama-chat.service", unit)
    machine.write(f"{UNITS}/ollama-chat.service.before-fleet", "theirs\n")
    machine.write(f"{UNITS}/ollama-chat.service.d/10-order.conf")
    machine.write(f"{UNITS}/ollama-chat.service.d/theirs.conf", "x")
    machine.write("/etc/ollama/gpus", f"# {MARKER}\ncut 0000:17:00.0 1g.10gb\n")
    machine.write("/etc/ollama/secret.env", "x")
    machine.write("/etc/profile.d/ollama-fleet.sh")
    machine.write("/opt/ollama/0.32.15/.sha256", "ab")
    machine.write("/opt/ollama/0.33.0.fleet-new/x", "x")
    machine.write(f"/opt/ollama/download/{'a' * 64}.part", "x")
    machine.write("/opt/ollama/download/notes", "x")
    machine.path("/opt/ollama/current").symlink_to(machine.path("/opt/ollama/0.32.15"))
    machine.write(
        "/etc/tmpfiles.d/ollama.conf",
        f"# {MARKER}\nd /data/x 0755 a a\nd {machine.root}/blobs 0755 a a\n"
        f"d {machine.root}/blobs/blobs 0755 a a\n"
        f"Z {machine.root}/blobs/fetch - a a\n",
    )
    machine.write("/blobs/blobs/sha256-aa", "x" * 100)
    machine.write("/var/lib/ollama/home/key", "x")
    machine.write("/etc/passwd", "ollama:x:990:990:Ollama:/var/lib/ollama/home:/bin/false")
    machine.path("/usr/local/bin").mkdir(parents=True)
    machine.path("/usr/local/bin/ollama").symlink_to(machine.path("/opt/ollama/current/bin/ollama"))
    found = machine.found()
    assert found.files == (
        "/etc/ollama/gpus",
        "/etc/profile.d/ollama-fleet.sh",
        f"{UNITS}/ollama-chat.service",
        f"{UNITS}/ollama-chat.service.d/10-order.conf",
        "/etc/tmpfiles.d/ollama.conf",
        "/opt/ollama/current",
        f"/opt/ollama/download/{'a' * 64}.part",
        "/usr/local/bin/ollama",
    )
    assert found.originals == (f"{UNITS}/ollama-chat.service.before-fleet",)
    assert found.releases == ("/opt/ollama/0.32.15",)
    assert found.folders == ("/opt/ollama/0.33.0.fleet-new", "/var/lib/ollama/home")
    assert found.ports == (("ollama-chat.service", 11436),) and found.slices == (
        "ollama-chat.service",
    )
    assert found.store == "/blobs" and found.store_bytes >= 100
    assert found.sets_gpus and found.is_settled


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_manifest_is_read_if_it_is_root_s_own(machine: Machine) -> None:
    """The service user owns its folder: what it writes there must not choose what root deletes."""
    for name in ("ours", "changed", "marked"):
        machine.write(f"/etc/{name}", "as deployed")
    lines = machine.path("/etc").glob("[cmo]*")
    sums = subprocess.run(["sha256sum", *lines], capture_output=True, text=True).stdout
    machine.write("/var/lib/ollama/manifest", sums)
    machine.write("/etc/changed", "by somebody")
    machine.write("/etc/marked")
    machine.write("/etc/ours.before-fleet", "theirs")
    found = machine.found()
    assert found.files == ("/etc/marked", "/etc/ours")
    assert found.changed == ("/etc/changed",)
    assert found.originals == ("/etc/ours.before-fleet",)

    os.chown(machine.path("/var/lib/ollama/manifest"), 990, 990)
    found = machine.found()
    assert found.files == () and found.originals == () and found.has_manifest


def test_a_kept_store_is_nothing_to_do_until_it_is_to_go(machine: Machine) -> None:
    note = f"# {MARKER}: a removal has left the models.\nstore {machine.root}/m\n"
    machine.write("/var/lib/ollama/kept-by-ollama-fleet", note)
    machine.write("/m/blobs/sha256-aa", "x")
    found = machine.found()
    assert (found.store, found.is_note) == ("/m", True)
    assert not found.anything(KEEP) and found.anything(ALL)
    shutil.rmtree(machine.path("/m"))
    assert machine.found().anything(KEEP), "a note without a store is of no use"


def test_what_starts_others_stops_first_and_what_they_need_last() -> None:
    assert SERVING.units == (
        "ollama-scrub.timer",
        "ollama-chat.service",
        "ollama-scrub.service",
        "ollama-loader.service",
        "ollama.target",
    )


def test_a_person_reads_what_goes_what_comes_back_and_what_stays() -> None:
    said = "\n".join(will_go(SERVING, KEEP))
    assert "stops and removes ollama-scrub.timer, ollama-chat.service" in said
    assert "removes /opt/ollama/0.32.15, /var/lib/ollama/home, /etc/tmpfiles.d/ollama.conf" in said
    assert f"puts back {UNITS}/ollama-chat.service" in said
    assert "leaves the models: /data/models (5.0 GiB)" in said
    assert "removes the models: /data/models" in "\n".join(will_go(SERVING, ALL))
    assert will_stay(SERVING) == []
    assert "MIG instances" in will_stay(Found(sets_gpus=True))[0]
    assert "ollama.service that was there before stays off" in will_stay(Found(stock="disabled"))[0]
    assert will_stay(Found(stock="enabled")) == []


@pytest.mark.parametrize("removal", [KEEP, ALL])
def test_slices_drain_first_and_what_says_whose_all_is_goes_last(removal: Removal) -> None:
    script = change_script(removal_steps(SERVING, removal, drain_timeout_s=7))
    assert subprocess.run([SHELL, "-n"], input=script, text=True).returncode == 0
    order = [
        '"$waited" -lt 7',
        "gone /etc/systemd/system/ollama-chat.service",
        "systemctl daemon-reload",
        "release /opt/ollama/0.32.15",
        "userdel ollama",
        "gone /etc/tmpfiles.d/ollama.conf",
        "rm -f /var/lib/ollama/manifest",
        "rm -rf /run/ollama-fleet",
    ]
    places = [script.index(text) for text in order]
    assert places == sorted(places)
    assert "ports=' 2CAA '" in script
    assert ("removing the models" in script) == removal.models
    assert ("chown -hR --from=ollama" in script) != removal.models


def test_before_a_deploy_has_made_them_account_and_store_are_not_touched() -> None:
    found = Found(files=("/usr/local/bin/ollama",), folders=("/opt/ollama/1.fleet-new",))
    script = change_script(removal_steps(found, ALL, drain_timeout_s=7))
    assert "userdel" not in script and "removing the models" not in script
