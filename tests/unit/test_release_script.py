"""Ollama on a host: the very questions and scripts, run by a real shell on a folder of this machine."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_fleet.host.release import install_script, start_release
from ollama_fleet.host.scripts import change_script
from ollama_fleet.planner.plan import Release
from ollama_fleet.questions import question_script, read_answers
from ollama_fleet.release import script
from ollama_fleet.release.problems import needed_bytes, release_problems
from ollama_fleet.release.state import InstalledReleases, old_question, questions, read_state
from tests.unit.examples import host_plan

PLACES = {"/opt/ollama": "opt", "/run/ollama-fleet": "run"}
PLAN = host_plan({"name": "a", "gpus": [0]})
SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]
# The start of a program for another machine: its header is all that anybody looks at.
AARCH64 = b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\xb7\x00" + bytes(44)


def program(version: str) -> bytes:
    return f"#!/bin/sh\necho 'ollama version is {version}'\n".encode()


def packed(content: dict[str, bytes], form: str) -> bytes:
    """A release's archive as .tgz or .tar.zst, or as plain tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    command = {"tgz": ["gzip", "-c"], "zst": ["zstd", "-qc"], "tar": ["cat"]}[form]
    return subprocess.run(
        command, input=buffer.getvalue(), stdout=subprocess.PIPE, check=True
    ).stdout


def release_archive(version: str, form: str = "zst", **content: bytes) -> bytes:
    files = {"bin/ollama": program(version), "lib/ollama/libggml.so": b"x"}
    return packed(files | content, form)


@dataclass
class Host:
    """A folder in the place of a host's /opt/ollama. What is published arrives when it is missing there."""

    folder: Path
    served: dict[str, bytes] = field(default_factory=dict)
    said: str = ""
    fetched: bool = False

    def publish(
        self, version: str, archive: bytes, name: str = "ollama-linux-amd64.tar.zst"
    ) -> Release:
        self.served[version] = archive
        pattern = name.replace("amd64", "{arch}")
        digest = hashlib.sha256(archive).hexdigest()
        return Release(version, {"amd64": digest}, "http://mirror", None, archive=pattern)

    def state(self, release: Release) -> InstalledReleases:
        plan = replace(PLAN, release=release)
        done = self._sh(question_script(questions(plan)))
        text = done.stdout
        for real, here in PLACES.items():
            text = text.replace(str(self.folder / here), real)
        return replace(read_state(read_answers(text.splitlines())), arch="amd64")

    def install(self, release: Release) -> int | None:
        """The exit code of the change, None when nothing was to be changed."""
        found = self.state(release)
        plan = replace(PLAN, release=release)
        self.fetched = start_release(plan, found) is not None and release.version in self.served
        if self.fetched:
            (self.opt / "download").mkdir(parents=True, exist_ok=True)
            arrived = self.opt / "download" / release.sha256["amd64"]
            arrived.write_bytes(self.served[release.version])
        text = install_script(release, found)
        return None if text is None else self.run(text)

    def retire(self, release: Release) -> list[str]:
        """What was removed."""
        found = self.state(release)
        gone = script.surplus(release, found)
        steps = script.remove(gone, found.leftovers)
        assert not steps or self.run(change_script(steps)) == 0, self.said
        return gone

    def run(self, text: str) -> int:
        done = self._sh(text)
        self.said = done.stdout + done.stderr
        return done.returncode

    def _sh(self, text: str) -> subprocess.CompletedProcess[str]:
        for real, here in PLACES.items():
            text = text.replace(real, str(self.folder / here))
        text = text.replace("PATH=/usr/local/sbin:", f"PATH={self.folder}/bin:/usr/local/sbin:")
        return subprocess.run(["sh", "-s"], input=text, capture_output=True, text=True)

    def runs(self) -> str:
        """The version that `ollama` is."""
        link = self.folder / "opt/current/bin/ollama"
        return subprocess.run([link, "-v"], capture_output=True, text=True).stdout.split()[-1]

    @property
    def opt(self) -> Path:
        return self.folder / "opt"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.opt.iterdir())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "bin").mkdir()
    return Host(tmp_path)


@pytest.fixture
def serves(host: Host) -> Host:
    """A host that has 0.40.1."""
    assert host.install(host.publish("0.40.1", release_archive("0.40.1"))) == 0, host.said
    return host


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("zst", "ollama-linux-amd64.tar.zst"),
        ("tgz", "ollama-linux-amd64.tgz"),
        ("tgz", "ollama-linux-amd64.tar.zst"),  # the content decides
        ("tar", "ours.tar"),
    ],
)
def test_an_archive_of_any_form_is_installed_and_nothing_left(
    host: Host, form: str, name: str
) -> None:
    release = host.publish("0.40.1", release_archive("0.40.1", form), name)
    assert host.install(release) == 0, host.said
    assert host.runs() == "0.40.1" and host.names() == ["0.40.1", "current", "download"]
    assert list((host.opt / "download").iterdir()) == []
    assert host.install(release) is None


def test_an_upgrade_stands_beside_the_old_one_and_back_needs_no_download(serves: Host) -> None:
    old = serves.publish("0.40.1", release_archive("0.40.1"))
    assert serves.install(serves.publish("0.40.2", release_archive("0.40.2"))) == 0, serves.said
    assert serves.runs() == "0.40.2"
    assert serves.install(old) == 0, serves.said
    assert serves.runs() == "0.40.1" and not serves.fetched


def test_all_of_a_release_is_on_the_disk_before_it_counts_as_whole(host: Host) -> None:
    """A power cut after it would leave libraries of no bytes, and a checksum that says all is well."""
    (host.folder / "bin" / "sync").write_text(f"#!/bin/sh\nfind {host.opt} >{host.folder}/synced\n")
    (host.folder / "bin" / "sync").chmod(0o755)
    assert host.install(host.publish("0.40.1", release_archive("0.40.1"))) == 0, host.said
    there = (host.folder / "synced").read_text()
    assert "lib/ollama/libggml.so" in there and ".sha256" not in there


BROKEN = {
    "corrupted": (
        release_archive("0.40.2")[:-9] + b"x" * 9,
        {},
        "sha256 of {asset} as it arrived here is",
    ),
    "truncated": (release_archive("0.40.2")[:-9], {}, "sha256 of {asset} as it arrived here is"),
    "another version": (
        release_archive("0.40.3"),
        None,
        "is no Ollama 0.40.2 that runs here; Ollama here is unchanged. It says:\nollama version is 0.40.3",
    ),
    "another machine": (
        release_archive("0.40.2", **{"bin/ollama": AARCH64}),
        None,
        "is built for aarch64, this host is x86_64",
    ),
    "no machine that we know": (
        release_archive("0.40.2", **{"bin/ollama": b"\x7fELF" + bytes(60)}),
        None,
        "is no Ollama 0.40.2 that runs here",
    ),
    "an overlay": (packed({"lib/ollama/rocm/x.so": b"x"}, "zst"), None, "holds no bin/ollama"),
    "no archive": (b"hello", None, "cannot unpack ollama-linux-amd64.tar.zst"),
    "nothing": (b"", None, "cannot unpack ollama-linux-amd64.tar.zst"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_archive_leaves_what_runs_and_the_next_run_repairs(
    serves: Host, case: str
) -> None:
    served, pin, words = BROKEN[case]
    good = serves.publish("0.40.2", release_archive("0.40.2"))
    broken = serves.publish("0.40.2", served)
    wanted = broken if pin is None else good
    before = sorted(serves.opt.rglob("*"))
    assert serves.install(wanted) == 1
    assert words.format(asset="ollama-linux-amd64.tar.zst") in serves.said, serves.said
    assert serves.runs() == "0.40.1"
    left = [path for path in sorted(serves.opt.rglob("*")) if path.parent.name != "download"]
    assert left == before
    serves.publish("0.40.2", release_archive("0.40.2"))
    assert serves.install(good) == 0 and serves.runs() == "0.40.2", serves.said


def test_too_little_room_for_what_the_archive_holds_is_said_before_unpacking(serves: Host) -> None:
    release = serves.publish("0.40.2", os.urandom(2**20) * 3)
    df = serves.folder / "bin/df"
    df.write_text("#!/bin/sh\necho head\necho /dev/sda1 9 9 8 99% /\n")
    df.chmod(0o755)
    assert serves.install(release) == 1
    assert "takes up to 9 MiB, and 8 MiB are free" in serves.said and serves.runs() == "0.40.1"
    assert "unpacking" not in serves.said.replace("unpacking Ollama 0.40.2 takes", "")


@pytest.mark.parametrize("harm", ["rm {}/bin/ollama", "rm -r {}/lib", ": >{}/bin/ollama"])
def test_a_damaged_kept_release_is_fetched_anew(serves: Host, harm: str) -> None:
    serves.install(serves.publish("0.40.2", release_archive("0.40.2")))
    old = serves.publish("0.40.1", release_archive("0.40.1"))
    subprocess.run(harm.format(serves.opt / "0.40.1"), shell=True, check=True)
    assert serves.install(old) == 0, serves.said
    assert serves.runs() == "0.40.1" and serves.fetched


def test_a_kept_release_that_does_not_run_is_not_switched_to_and_then_fetched(serves: Host) -> None:
    serves.install(serves.publish("0.40.2", release_archive("0.40.2")))
    old = serves.publish("0.40.1", release_archive("0.40.1"))
    (serves.opt / "0.40.1/bin/ollama").write_bytes(AARCH64)
    assert serves.install(old) == 1 and "does not run any more" in serves.said
    assert serves.runs() == "0.40.2"
    assert serves.install(old) == 0 and serves.runs() == "0.40.1", serves.said


def test_a_prefix_of_somebody_else_is_neither_replaced_nor_removed(serves: Host) -> None:
    mine = serves.opt / "0.40.2"
    mine.mkdir()
    (mine / "notes").write_text("mine")
    release = serves.publish("0.40.2", release_archive("0.40.2"))
    assert serves.install(release) == 1
    assert "was not put there by us; move it away" in serves.said and serves.runs() == "0.40.1"
    kept = serves.publish("0.40.1", release_archive("0.40.1"))
    assert serves.retire(replace(kept, keep_versions=0)) == []
    assert (mine / "notes").read_text() == "mine"


def test_as_many_are_kept_as_wanted_and_those_used_last(serves: Host) -> None:
    releases = [serves.publish(f"0.40.{n}", release_archive(f"0.40.{n}")) for n in range(1, 6)]
    for release in (*releases[1:], releases[1], releases[4]):  # back to 0.40.2, and on again
        time.sleep(0.02)
        assert serves.install(release) == 0, serves.said
    last = releases[4]
    assert serves.retire(replace(last, keep_versions=4)) == []
    assert serves.retire(replace(last, keep_versions=2)) == ["0.40.3", "0.40.1"]
    assert serves.names() == ["0.40.2", "0.40.4", "0.40.5", "current", "download"]
    assert serves.retire(replace(last, keep_versions=1)) == ["0.40.4"]
    assert serves.retire(replace(last, keep_versions=1)) == []
    assert serves.retire(replace(last, keep_versions=0)) == ["0.40.2"]
    assert serves.runs() == "0.40.5"


def test_what_a_process_runs_from_is_not_removed(serves: Host) -> None:
    for number in (2, 3):
        serves.install(serves.publish(f"0.40.{number}", release_archive(f"0.40.{number}")))
    shutil.copy("/bin/sleep", serves.opt / "0.40.1/bin/ollama")
    script_of = serves.opt / "0.40.2/bin/ollama"
    script_of.write_text("#!/bin/sh\nwhile :; do sleep 0.1; done\n")
    running = [
        # One calls itself otherwise, the other one is a script.
        subprocess.Popen(["mine", "60"], executable=serves.opt / "0.40.1/bin/ollama"),
        subprocess.Popen([script_of, "serve"]),
    ]
    release = replace(serves.publish("0.40.3", release_archive("0.40.3")), keep_versions=0)
    try:
        time.sleep(0.1)
        assert serves.retire(release) == []
    finally:
        for one in running:
            one.kill()
            one.wait()
    assert sorted(serves.retire(release)) == ["0.40.1", "0.40.2"]


def test_what_a_cut_run_has_left_is_swept_up(serves: Host) -> None:
    for name in ("0.40.7.fleet-new", "0.40.1.fleet-old", "9 9.fleet-old"):
        (serves.opt / name / "bin").mkdir(parents=True)
    release = serves.publish("0.40.1", release_archive("0.40.1"))
    assert serves.retire(release) == []
    assert serves.names() == ["0.40.1", "9 9.fleet-old", "current", "download"]


def test_an_archive_that_waits_is_known_and_needs_no_download(serves: Host) -> None:
    """Whoever has put it there: it is verified before it is unpacked."""
    archive = release_archive("0.40.2")
    release = serves.publish("0.40.2", archive)
    serves.served.clear()
    waiting = serves.opt / "download" / release.sha256["amd64"]
    waiting.write_bytes(archive)
    assert serves.state(release).archives == {release.sha256["amd64"]}
    assert serves.install(release) == 0 and serves.runs() == "0.40.2", serves.said


def test_what_the_controller_sent_is_verified_as_well(serves: Host) -> None:
    release = replace(serves.publish("0.40.2", release_archive("0.40.2")), delivery="controller")
    waiting = serves.opt / "download" / release.sha256["amd64"]
    waiting.write_bytes(b"something else")
    assert serves.install(release) == 1 and serves.runs() == "0.40.1"
    assert "as it arrived here is" in serves.said and not waiting.exists()
    assert serves.install(release) == 1 and "is not in" in serves.said


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_is_good_shell(shell: str) -> None:
    release = Release("0.40.2", {"amd64": "ab" * 32}, "http://m", None)
    bare = InstalledReleases("amd64", "x86_64", {}, "", "")
    texts = [install_script(replace(release, delivery=by), bare) for by in ("host", "controller")]
    texts += [
        script.prepare_incoming(),
        script.copy_from("/a b", "ab"),
        *old_question(release).values(),
    ]
    for text in texts:
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


VERSIONS = st.lists(st.sampled_from([f"0.40.{n}" for n in range(9)]), unique=True)


@given(VERSIONS, VERSIONS, st.integers(0, 9), st.sampled_from(range(9)))
def test_what_goes_is_old_ours_and_out_of_use(stored: list, used: list, keep: int, n: int) -> None:
    release = Release(f"0.40.{n}", {}, "", None, keep_versions=keep)
    found = InstalledReleases(
        *("amd64", "x86_64", {}, release.prefix, ""), stored=tuple(stored), used=frozenset(used)
    )
    gone = script.surplus(release, found)
    assert set(gone) <= set(stored) - set(used) - {release.version}
    others = [name for name in stored if name != release.version]
    assert not set(gone) & set(others[:keep])
    assert set(others[keep:]) - set(gone) <= set(used)


BARE = InstalledReleases("amd64", "x86_64", {}, "", "", free_bytes=100 * 2**30)


def test_a_host_with_room_and_nvidia_gpus_has_no_problem() -> None:
    assert release_problems(PLAN, BARE, nvidia=True) == []
    assert release_problems(PLAN, replace(BARE, amd_gpus=("0000:00:02.0",)), nvidia=True) == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(BARE, jetpack=True), "this is a JetPack host (/etc/nv_tegra_release)"),
        (replace(BARE, amd_gpus=("0000:03:00.0",)), "its only GPUs are AMD's (0000:03:00.0)"),
        (
            replace(BARE, free_bytes=2**30),
            "takes up to 7.0 GiB, and 1.0 GiB are free at /opt/ollama",
        ),
    ],
)
def test_a_host_that_cannot_take_it_is_refused_by_name(
    found: InstalledReleases, words: str
) -> None:
    (said,) = release_problems(PLAN, found, nvidia=False)
    assert words in said


def test_room_is_needed_for_what_is_not_there_yet() -> None:
    whole = needed_bytes(PLAN, BARE)
    digest = PLAN.ollama.sha256["amd64"]
    assert needed_bytes(PLAN, replace(BARE, archives=frozenset({digest}))) == whole * 3 // 4
    assert needed_bytes(PLAN, replace(BARE, prefixes={PLAN.ollama.prefix: digest})) == 0
    assert needed_bytes(PLAN, replace(BARE, arch="arm64")) == 0  # no pin: preflight says so
    assert release_problems(PLAN, replace(BARE, free_bytes=None), nvidia=True) == []
