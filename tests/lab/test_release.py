"""The Ollama binary of a host: upgraded, rolled back, kept and fetched; and archives that are not what
they should be, which leave what runs as it was."""

import io
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lab.lab import Lab
from lab.standin.pack import ARCHIVE, CHECKSUMS, build_release
from tests.lab.conftest import bare
from tests.lab.fleet import BIN, MIRROR, RELEASES, ROOT, Fleet, Run
from tests.lab.test_deploy import read_until, start

HOST, CLOSED, AMD = "bin1", "bin2", "bin3"
CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:0.6b"]}
FIRST = "0.32.15"
DOWNLOADING = "downloading Ollama"


class Pinned(Fleet):
    """A fleet whose release is set and pinned in group_data, and nowhere in the inventory."""

    @property
    def data(self) -> Path:
        return self.folder / "group_data/all.py"

    @property
    def inventory(self) -> Path:
        script = super().inventory
        path = script.with_suffix(".yml")
        content = yaml.safe_load(path.read_text())
        for key in ("version", "sha256_file"):
            del content["ollama"][key]
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        if not self.data.exists():
            self.data.parent.mkdir()
            self.data.write_text(f'ollama_version = "{FIRST}"\nollama_pins = {{}}\n')
        return script

    def pin(self, version: str, *options: str) -> str:
        """`fleet pin` as a user types it, with the mirror for GitHub."""
        assert self.inventory
        words = ["pin", "ollama", version, "--from", f"{MIRROR}/{RELEASES}", "--file", self.data]
        done = subprocess.run(
            [BIN / "fleet", *words, *options], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def set_version(self, version: str) -> None:
        """What a user does to go back: one setting."""
        lines = self.data.read_text().splitlines(keepends=True)
        lines[0] = f'ollama_version = "{version}"\n'
        self.data.write_text("".join(lines))

    def serving(self, host: str = HOST) -> tuple[str, str]:
        """Main process of the slice, and the version that it answers with."""
        said = self.sh(host, "curl -fs 127.0.0.1:11434/api/version")
        return self.pids(host, "chat")["chat"], said.split('"')[3]

    def kept(self, host: str = HOST) -> list[str]:
        return self.sh(host, "ls /opt/ollama | grep '^[0-9]'").split()


class Releases:
    """Releases of our own on the lab's mirror."""

    def __init__(self, lab: Lab, cache: Path) -> None:
        self.tree, self.cache, self.made = lab.paths.mirror / RELEASES, cache, set[str]()

    def folder(self, version: str) -> Path:
        self.made.add(version)
        return self.tree / f"v{version}"

    def good(self, version: str) -> Path:
        return build_release(self.folder(version), version, self.cache)

    def tgz(self, version: str) -> str:
        """The same as .tgz and nothing else; returns its name."""
        archive, name = self.good(version), "ollama-linux-amd64.tgz"
        plain = subprocess.run(["zstd", "-dcq", archive], stdout=subprocess.PIPE, check=True).stdout
        self.put(version, name, subprocess.run(["gzip", "-c"], input=plain, stdout=-1).stdout)
        archive.unlink()
        return name

    def for_aarch64(self, version: str) -> None:
        """A release whose program starts with the header of one for another machine."""
        header = b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\xb7\x00" + bytes(44)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, content in (("bin/ollama", header), ("lib/ollama/libggml.so", b"x")):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o755
                tar.addfile(member, io.BytesIO(content))
        done = subprocess.run(["zstd", "-qc"], input=buffer.getvalue(), stdout=subprocess.PIPE)
        self.put(version, ARCHIVE, done.stdout)

    def put(self, version: str, name: str, content: bytes) -> None:
        import hashlib

        folder = self.folder(version)
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (folder / CHECKSUMS).write_text(f"{digest}  ./{name}\n")

    def remove(self) -> None:
        for version in self.made:
            shutil.rmtree(self.tree / f"v{version}", ignore_errors=True)


@pytest.fixture(scope="module")
def releases(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    made = Releases(lab, tmp_path_factory.mktemp("no-cache"))
    yield made
    made.remove()


@pytest.fixture(scope="module")
def fleet(lab: Lab, releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> Pinned:
    """A host that serves the first release."""
    fleet = Pinned(tmp_path_factory.mktemp("fleet"), lab)
    fleet.add(bare(lab, HOST, "1x-rtx3060"), CHAT)
    fleet.pin(FIRST)
    run = fleet.deploy()
    assert run.code == 0, run.text
    return fleet


def test_pin_upgrade_and_roll_back_are_one_setting_each(fleet: Pinned, releases: Releases) -> None:
    releases.good("0.32.91")
    said = fleet.pin("0.32.91")
    assert "hosts run 0.32.91, pinned are 0.32.91, 0.32.15" in said
    run = fleet.deploy()
    assert run.code == 0 and DOWNLOADING in run.text, run.text
    assert fleet.serving()[1] == "0.32.91"
    assert fleet.deploy().changed() == {}

    fleet.set_version(FIRST)
    started = time.monotonic()
    run = fleet.deploy()
    took = time.monotonic() - started
    print(f"rolled back in {took:.1f} s, with a verified generation")
    assert run.code == 0 and fleet.serving()[1] == FIRST, run.text
    assert DOWNLOADING not in run.text and "unpacking" not in run.text
    assert took < 180
    assert fleet.deploy().changed() == {}


def test_the_last_ones_are_kept_and_no_more(fleet: Pinned, releases: Releases) -> None:
    """Those in use stay all the same, and what is not ours is not touched."""
    fleet.sh(HOST, "mkdir -p /opt/ollama/0.1.1/bin && echo mine >/opt/ollama/0.1.1/note")
    mine = "systemd-run -q --unit mine -E OLLAMA_HOST=127.0.0.1:11500 -E HOME=/root"
    fleet.sh(HOST, f"{mine} /opt/ollama/0.32.91/bin/ollama serve")
    for version in ("0.32.92", "0.32.93"):
        releases.good(version)
        fleet.pin(version)
        fleet.add(HOST, CHAT, ollama={"keep_versions": 1})
        run = fleet.deploy()
        assert run.code == 0, run.text
    assert fleet.kept() == ["0.1.1", "0.32.91", "0.32.92", "0.32.93"]
    assert fleet.deploy().changed() == {}
    assert fleet.sh(HOST, "systemctl is-active mine") == "active"
    fleet.sh(HOST, "systemctl stop mine; rm -r /opt/ollama/0.1.1")
    run = fleet.deploy()
    assert run.changed() == {"Old releases | Remove releases that are not kept": [HOST]}
    assert fleet.kept() == ["0.32.92", "0.32.93"]
    fleet.add(HOST, CHAT)


def test_a_damaged_kept_release_is_fetched_anew(fleet: Pinned) -> None:
    fleet.sh(HOST, "rm /opt/ollama/0.32.92/bin/ollama")
    fleet.set_version("0.32.92")
    run = fleet.deploy()
    assert run.code == 0 and DOWNLOADING in run.text, run.text
    assert fleet.serving()[1] == "0.32.92"


def test_a_tgz_is_installed_as_well(fleet: Pinned, releases: Releases) -> None:
    name = releases.tgz("0.32.94").replace("amd64", "{arch}")
    fleet.pin("0.32.94", "--archive", name)
    fleet.add(HOST, CHAT, ollama={"archive": name})
    run = fleet.deploy()
    assert run.code == 0 and fleet.serving()[1] == "0.32.94", run.text
    fleet.add(HOST, CHAT)


@pytest.mark.parametrize("words", ["unpacking", "switching to", "restarting ollama"])
def test_an_upgrade_that_is_killed_leaves_the_old_or_the_new_one(
    fleet: Pinned, releases: Releases, words: str
) -> None:
    """Killed at the moment at which it says `words`; what the host was at, it ends."""
    before = fleet.serving()[1]
    version = {"unpacking": "0.32.84", "switching to": "0.32.85"}.get(words, "0.32.86")
    releases.good(version)
    fleet.pin(version)
    running = start(fleet)
    read_until(running, words)
    running.send_signal(signal.SIGKILL)
    running.wait()
    fleet.sh(HOST, "flock -w 60 /run/ollama-fleet/lock true; sleep 1")
    assert fleet.serving()[1] in (before, version)
    current = fleet.sh(HOST, "readlink /opt/ollama/current").rpartition("/")[2]
    assert current in (before, version) and current in fleet.kept()
    run = fleet.deploy()
    assert run.code == 0 and fleet.serving()[1] == version, run.text
    assert fleet.deploy().changed() == {}


def corrupted(releases: Releases) -> None:
    archive = releases.good("0.32.95")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)


def truncated(releases: Releases) -> None:
    archive = releases.good("0.32.95")
    archive.write_bytes(archive.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (corrupted, "it is broken at its source; Ollama here is unchanged"),
        (truncated, "it is broken at its source; Ollama here is unchanged"),
        (lambda made: made.for_aarch64("0.32.95"), "is built for aarch64, this host is x86_64"),
        ("disk-full", "GiB are free at /opt/ollama; make room"),
        ("no inodes", "(is the disk full?); Ollama here is unchanged"),
    ],
    ids=["corrupted", "truncated", "wrong architecture", "disk full", "disk full in between"],
)
def test_a_bad_archive_or_disk_changes_nothing_and_the_next_run_repairs(
    fleet: Pinned, releases: Releases, harm: object, words: str
) -> None:
    before, current = fleet.serving(), fleet.kept()
    version = fleet.data.read_text().split('"')[1]
    releases.good("0.32.95")
    if callable(harm):
        harm(releases)
    fleet.pin("0.32.95", "--replace")
    run = with_fault(fleet, str(harm))
    assert run.code == 1 and "Traceback" not in run.text
    assert words in run.text, run.text
    assert fleet.serving() == before and fleet.kept() == current
    assert fleet.sh(HOST, "readlink /opt/ollama/current") == f"/opt/ollama/{version}"

    releases.good("0.32.95")
    fleet.pin("0.32.95", "--replace")
    run = fleet.deploy()
    assert run.code == 0 and fleet.serving()[1] == "0.32.95", run.text
    fleet.set_version(version)
    assert fleet.deploy().code == 0
    fleet.sh(HOST, "rm -rf /opt/ollama/0.32.95")


def with_fault(fleet: Pinned, harm: str) -> Run:
    """A deploy while the disk is full, or while it takes no more files though it has room."""
    if harm == "disk-full":
        fleet.lab.fault(HOST, "disk-full")
    if harm == "no inodes":
        # As it is, on a disk of its own that has room and takes ten more files.
        fleet.sh(
            HOST,
            "mkdir /mnt/few && mount -t tmpfs -o size=20g few /mnt/few && cp -a /opt/ollama/. /mnt/few && "
            "used=$(df --output=iused /mnt/few | tail -n 1) && mount --bind /mnt/few /opt/ollama && "
            "mount -o remount,nr_inodes=$((used + 10)) /mnt/few",
        )
    try:
        return fleet.deploy()
    finally:
        if harm == "disk-full":
            fleet.lab.clear(HOST, "disk-full")
        if harm == "no inodes":
            fleet.sh(HOST, "umount -l /opt/ollama /mnt/few && rmdir /mnt/few")


def test_a_release_that_breaks_mig_or_is_no_release_is_refused_before_any_host(
    fleet: Pinned,
) -> None:
    for version, words in (("latest", "another release each time"), ("0.20.0", "security holes")):
        run = fleet.deploy("--data", f"ollama_version={version}")
        assert run.code == 1 and f"{HOST}: Ollama" in run.text and words in run.text
        assert "Traceback" not in run.text


def test_a_jetpack_host_and_one_with_amd_gpus_only_are_refused_by_name(
    fleet: Pinned, lab: Lab
) -> None:
    lab.ensure(AMD, "no-gpu")
    card = lab.paths.host(AMD).hardware / "pci/0000:03:00.0"
    shutil.copytree(card.parent / "0000:00:00.0", card)
    (card / "vendor").write_text("0x1002\n")
    (card / "class").write_text("0x030000\n")
    alone = Pinned(fleet.folder / "alone", lab)
    alone.folder.mkdir()
    alone.add(AMD, CHAT)
    alone.pin(FIRST)
    alone.sh(AMD, "touch /etc/nv_tegra_release")
    try:
        run = alone.deploy()
        assert run.code == 1 and alone.sh(AMD, "ls /opt") == ""
        assert "its only GPUs are AMD's (0000:03:00.0)" in run.text, run.text
        assert "this is a JetPack host (/etc/nv_tegra_release)" in run.text
    finally:
        lab.remove(AMD)


@pytest.mark.parametrize("user", ["root", "operator"])
def test_the_controller_delivers_where_a_host_reaches_no_release(
    fleet: Pinned, releases: Releases, lab: Lab, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One download for two hosts that ask at once; and a second release for one that has no way out."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(fleet.folder / f"cache-{user}"))
    version = {"root": "0.32.96", "operator": "0.32.97"}[user]
    releases.good(version)
    if user == "root":
        bare(lab, CLOSED, "1x-rtx3060")
        fleet.add(CLOSED, CHAT)
        fleet.set_version(FIRST)
        assert fleet.deploy().code == 0
    fleet.pin(version)
    fleet.user = user
    for host in (HOST, CLOSED):
        fleet.add(host, CHAT, ollama={"delivery": "controller"})
    fleet.sh(CLOSED, "ip route replace blackhole 10.77.0.2/32")
    try:
        run = fleet.deploy()
    finally:
        fleet.sh(CLOSED, "ip route del blackhole 10.77.0.2/32")
        fleet.user = "root"
    assert run.code == 0, run.text
    assert run.text.count(f"downloading {MIRROR}") == 1 and DOWNLOADING not in run.text
    for host in (HOST, CLOSED):
        assert fleet.serving(host)[1] == version
        assert fleet.sh(
            host, "ls -A /opt/ollama/download; ls /opt/ollama/incoming 2>&1; true"
        ).endswith("No such file or directory")
        assert fleet.sh(host, f"stat -c %U:%G /opt/ollama/{version}/bin/ollama") == "root:root"
    assert fleet.deploy().changed() == {}
