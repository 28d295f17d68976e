"""The program that downloads on a host, run for real against a registry that misbehaves."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ollama_fleet.fetching import models_job
from ollama_fleet.planner.delivery import LockedModel
from ollama_fleet.render_store import fetch_script
from tests.unit.examples import host_plan
from tests.unit.registry_server import Registry, serving, sha256

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
OTHER = b"other" * 1000
LIBRARY = "registry.ollama.ai/library"


@dataclass
class Host:
    """A store and the program, in a folder."""

    folder: Path
    registry: Registry

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def job(self, *models: str, **store: object) -> str:
        """The job of a plan with these models on one slice."""
        locked = store.pop("locked", ())
        plan = host_plan({"name": "a", "gpus": [0], "models": list(models)}, models=store)
        plan = replace(
            plan,
            release=replace(plan.ollama, registry=self.registry.url),
            store=replace(plan.store, path=str(self.store), locked=locked),
        )
        return models_job(plan).replace("tries 4", "tries 1")

    def command(self, job: str, verb: str = "run") -> list[str]:
        (self.folder / "job").write_text(job)
        return [str(self.folder / "fetch"), verb, str(self.folder / "job"), str(self.state)]

    def run(self, *models: str, **store: object) -> dict[str, str]:
        """Run it; why each model failed, empty for one that did not."""
        return self.run_job(self.job(*models, **store))

    def run_job(self, job: str, verb: str = "run") -> dict[str, str]:
        done = subprocess.run(self.command(job, verb), capture_output=True, text=True, timeout=60)
        result = {}
        for item in sorted((self.state / "items").iterdir()):
            name = (item / "line").read_text().split()[1]
            state = (item / "state").read_text().strip()
            why = item / "why"
            result[name] = why.read_text().strip() if state == "failed" else ""
            assert state in ("done", "failed")
        assert done.stderr == ""
        assert done.returncode == (1 if any(result.values()) else 0), done.stdout
        return result

    def manifest(self, name: str, tag: str = "1") -> Path:
        return self.store / "manifests" / LIBRARY / name / tag

    def blob(self, content: bytes) -> Path:
        return self.store / "blobs" / f"sha256-{sha256(content)}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    for name in ("blobs", "manifests", "fetch", "quarantine"):
        (tmp_path / "store" / name).mkdir(parents=True)
    program = tmp_path / "fetch"
    program.write_text(fetch_script().text)
    program.chmod(0o755)
    with serving(Registry()) as registry:
        registry.add_model("m", "1", WEIGHTS, b"template")
        registry.add_model("n", "1", WEIGHTS, OTHER)
        yield Host(tmp_path, registry)


def weights_path(host: Host, name: str = "m") -> str:
    return f"/v2/library/{name}/blobs/sha256:{sha256(WEIGHTS)}"


def test_two_models_share_what_they_have_in_common(host: Host) -> None:
    assert host.run("m:1", "n:1") == {"m:1": "", "n:1": ""}
    assert host.manifest("m").read_bytes() == host.registry.files["/v2/library/m/manifests/1"]
    assert host.blob(WEIGHTS).read_bytes() == WEIGHTS
    assert len(host.registry.fetched(sha256(WEIGHTS))) == 1
    assert {path.name for path in (host.store / "fetch").iterdir()} == {"sound", "lock"}


def test_what_is_there_is_neither_fetched_nor_asked_for_again(host: Host) -> None:
    host.run("m:1")
    host.registry.log.clear()
    assert host.run("m:1") == {"m:1": ""}
    assert host.registry.log == []


def test_a_cut_goes_on_where_it_ended(host: Host) -> None:
    host.registry.faults[weights_path(host)] = [("cut", 700_000)]
    assert host.run("m:1") == {"m:1": ""}
    ranges = [entry[2] for entry in host.registry.fetched(sha256(WEIGHTS))]
    assert ranges[0] is None and ranges[1] and 0 < int(ranges[1][6:-1]) <= 700_000


def test_a_killed_download_goes_on_where_it_ended(host: Host) -> None:
    host.registry.faults[weights_path(host)] = [("slow", 200_000)]
    process = subprocess.Popen(host.command(host.job("m:1")), start_new_session=True)
    partial = host.store / "fetch" / f"sha256-{sha256(WEIGHTS)}"
    deadline = time.monotonic() + 20
    while not (partial.exists() and partial.stat().st_size > 50_000):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not host.manifest("m").exists() and not host.blob(WEIGHTS).exists()
    assert host.run("m:1") == {"m:1": ""}
    assert host.registry.fetched(sha256(WEIGHTS))[-1][2]
    assert host.blob(WEIGHTS).read_bytes() == WEIGHTS


def test_a_server_that_cannot_go_on_in_the_middle_starts_anew(host: Host) -> None:
    host.registry.ranges = False
    host.registry.faults[weights_path(host)] = [("cut", 700_000)]
    job = host.job("m:1").replace("tries 1", "tries 2")
    assert host.run_job(job) == {"m:1": ""}


@pytest.mark.parametrize("fault", [b"x" * len(WEIGHTS), ("short", 1000), 416])
def test_what_came_wrong_is_asked_for_past_all_caches(host: Host, fault: object) -> None:
    """A mirror may have kept what was broken, and gives the same to everybody until then."""
    host.registry.faults[weights_path(host)] = [fault]
    assert host.run("m:1") == {"m:1": ""}
    assert host.registry.anew == [weights_path(host)]


def test_redirects_are_followed(host: Host) -> None:
    host.registry.files["/storage/x"] = WEIGHTS
    host.registry.redirects[weights_path(host)] = f"{host.registry.url}/storage/x"
    assert host.run("m:1") == {"m:1": ""}


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_moment_of_trouble_is_waited_out(host: Host, status: int) -> None:
    host.registry.faults[weights_path(host)] = [status]
    assert host.run("m:1") == {"m:1": ""}


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([500] * 9, "500"),
        ([404], "answers 404"),
        ([401], "wants a login"),
        ([("short", 100_000)] * 9, "cannot fetch"),
        ([b"x" * len(WEIGHTS)] * 2, "broken at its source"),
    ],
    ids=["500", "404", "401", "truncated", "wrong content"],
)
def test_what_does_not_come_is_said_and_leaves_no_half_model(
    host: Host, faults: list[object], words: str
) -> None:
    host.run("n:1")
    host.blob(WEIGHTS).unlink()
    before = host.manifest("n").read_bytes()
    host.registry.faults[weights_path(host)] = faults
    said = host.run("m:1")
    assert words in said["m:1"]
    assert not host.manifest("m").exists() and not host.blob(WEIGHTS).exists()
    assert host.manifest("n").read_bytes() == before
    host.registry.faults.clear()
    assert host.run("m:1", "n:1") == {"m:1": "", "n:1": ""}


def test_one_that_fails_does_not_hold_up_the_others(host: Host) -> None:
    host.registry.faults[weights_path(host)] = [404]
    (host.store / "fetch" / "x").touch()
    host.registry.add_model("o", "1", OTHER)
    said = host.run("m:1", "o:1")
    assert said["m:1"] and not said["o:1"]
    assert host.manifest("o").exists()


def test_an_unknown_model_and_a_registry_that_is_no_registry(host: Host) -> None:
    host.registry.files["/v2/library/web/manifests/1"] = b"<html>Log in to the hotel</html>"
    said = host.run("gone:1", "web:1")
    assert "has no 1" in said["gone:1"]
    assert "is no manifest: <html>" in said["web:1"]


def test_a_corrupt_blob_is_put_aside_and_fetched_again(host: Host) -> None:
    host.run("m:1")
    broken = b"y" + WEIGHTS[1:]
    host.blob(WEIGHTS).write_bytes(broken)
    assert host.run("m:1") == {"m:1": ""}
    assert host.blob(WEIGHTS).read_bytes() == WEIGHTS
    (kept,) = (host.store / "quarantine").iterdir()
    assert kept.read_bytes() == broken


def test_rot_that_changes_no_time_is_found_by_a_scrub(host: Host) -> None:
    host.run("m:1")
    times = host.blob(WEIGHTS).stat()
    host.blob(WEIGHTS).write_bytes(b"y" + WEIGHTS[1:])
    os.utime(host.blob(WEIGHTS), ns=(times.st_atime_ns, times.st_mtime_ns))
    host.run("m:1")
    assert host.blob(WEIGHTS).read_bytes() != WEIGHTS
    assert host.run_job(host.job("m:1"), "scrub") == {"m:1": ""}
    assert host.blob(WEIGHTS).read_bytes() == WEIGHTS


def test_a_store_from_elsewhere_is_hashed_and_not_fetched(host: Host) -> None:
    host.run("m:1")
    (host.store / "fetch" / "sound").unlink()
    host.registry.log.clear()
    assert host.run("m:1") == {"m:1": ""}
    assert host.registry.log == []
    assert sha256(WEIGHTS) in (host.store / "fetch" / "sound").read_text()


def lock(host: Host, name: str = "m") -> LockedModel:
    text = host.registry.files[f"/v2/library/{name}/manifests/1"].decode()
    return LockedModel(f"{name}:1", sha256(text.encode()), text)


def test_a_locked_model_stays_the_same_when_its_tag_moves(host: Host) -> None:
    locked = lock(host)
    new = host.registry.add_model("m", "1", OTHER)
    assert host.run("m:1", locked=(locked,)) == {"m:1": ""}
    assert sha256(host.manifest("m").read_bytes()) == locked.digest
    assert host.blob(WEIGHTS).exists() and not host.blob(OTHER).exists()
    assert (host.state / "items/1/moved").read_text().strip() == new


def test_a_store_with_another_version_than_the_locked_one_gets_that(host: Host) -> None:
    locked = lock(host)
    host.registry.add_model("m", "1", OTHER, b"its own")
    host.run("m:1")
    assert host.blob(b"its own").exists()
    host.run("n:1")
    assert host.run("m:1", locked=(locked,)) == {"m:1": ""}
    assert sha256(host.manifest("m").read_bytes()) == locked.digest
    # What only the other version had is of no use to anybody.
    assert host.blob(WEIGHTS).exists() and host.blob(OTHER).exists()
    assert {path.name for path in (host.store / "blobs").iterdir()} == named(host)


def named(host: Host) -> set[str]:
    """Blobs that manifests in the store name."""
    texts = [path.read_text() for path in (host.store / "manifests").rglob("*") if path.is_file()]
    return {found.replace(":", "-") for text in texts for found in re.findall(r"sha256:\w+", text)}


def test_what_goes_takes_nothing_that_others_use(host: Host) -> None:
    host.registry.add_model("o", "1", b"mine")
    host.run("m:1", "n:1", "o:1")
    host.run("m:1", absent=["n:1"])
    assert not host.manifest("n").exists() and not host.blob(OTHER).exists()
    assert host.blob(WEIGHTS).exists() and host.blob(b"mine").exists()
    host.run("m:1", keep_unlisted=False)
    assert not host.manifest("o").exists() and not host.blob(b"mine").exists()
    assert host.blob(WEIGHTS).exists() and host.manifest("m").exists()
    assert not host.manifest("o").parent.exists()


def test_too_little_disk_is_said_before_anything_is_downloaded(host: Host) -> None:
    host.registry.files["/v2/library/big/manifests/1"] = (
        b'{"config": {"size": 3, "digest": "sha256:%s"}, "layers": []}' % (b"a" * 64)
    ).replace(b'"size": 3', b'"size": 999999999999999')
    said = host.run("big:1")
    assert "needs 999999999 MB more" in said["big:1"]
    assert not host.registry.fetched("/blobs/")


def test_a_name_in_a_manifest_leads_nowhere_else(host: Host) -> None:
    """A registry that lies must not reach files beside the store."""
    host.registry.files["/v2/library/evil/manifests/1"] = (
        b'{"layers": [{"digest": "sha256:../../../../etc/passwd", "size": 3},'
        b' {"digest": "sha256:abc;touch x", "size": 3}]}'
    )
    assert "is no manifest" in host.run("evil:1")["evil:1"]
    assert not host.registry.fetched("/blobs/")


def test_a_manifest_that_lies_about_a_size_takes_nothing_away(host: Host) -> None:
    """The blob may be another model's, which is served right now."""
    host.run("m:1")
    path = "/v2/library/evil/manifests/1"
    right = host.registry.files["/v2/library/m/manifests/1"]
    size = b'"size": %d' % len(WEIGHTS)
    assert size in right
    host.registry.files[path] = right.replace(size, b'"size": 10')
    said = host.run("m:1", "evil:1")
    assert said["m:1"] == "" and "has 10 bytes, and it has 1048576" in said["evil:1"]
    assert host.blob(WEIGHTS).read_bytes() == WEIGHTS
    assert not list((host.store / "quarantine").iterdir())
    assert not host.manifest("evil").exists()


def test_an_answer_without_end_fills_no_disk(host: Host) -> None:
    """Also where nothing is announced, of which curl's own limit knows nothing before 8.4."""
    host.registry.faults[weights_path(host)] = [("endless", 64 * 2**20)]
    assert "gives more than the 1048576 bytes" in host.run("m:1")["m:1"]
    assert not list((host.store / "fetch").glob(f"sha256-{sha256(WEIGHTS)}"))
    host.registry.faults["/v2/library/n/manifests/1"] = [("endless", 64 * 2**20)] * 9
    assert "cannot fetch the manifest" in host.run("n:1")["n:1"]
    sizes = [path.stat().st_size for path in host.folder.rglob("*") if path.is_file()]
    assert max(sizes) <= 11 * 2**20


ODD = {
    "capital letters, which Ollama takes": ("sha256:%s", "sha256:%S"),
    "a digest of nothing that we know": ("sha256:%s", "sha512:%s"),
    "one that is said twice": ("sha256:%s", 'sha256:%s", "digest": "sha256:' + "a" * 64),
    "a size that is no whole number": ('"size": 1048576', '"size": 1048576e9'),
    "a size apart from its digest": ('"size": 1048576', '"annotations": {}, "size": 1048576'),
}


@pytest.mark.parametrize(("old", "new"), ODD.values(), ids=ODD)
def test_a_manifest_with_a_blob_that_is_not_understood_is_none(
    host: Host, old: str, new: str
) -> None:
    """Whoever passes over one calls a model whole that is not."""
    path = "/v2/library/m/manifests/1"
    text = host.registry.files[path].decode()
    for form in ("%s", "%S"):
        digest = sha256(WEIGHTS) if form == "%s" else sha256(WEIGHTS).upper()
        old, new = old.replace(form, digest), new.replace(form, digest)
    assert old in text
    host.registry.files[path] = text.replace(old, new).encode()
    assert "is no manifest" in host.run("m:1")["m:1"]
    assert not host.manifest("m").exists()


def test_a_manifest_may_be_written_for_people_and_a_layer_be_empty(host: Host) -> None:
    host.registry.add_model("o", "1", WEIGHTS, b"")
    path = "/v2/library/o/manifests/1"
    content = json.loads(host.registry.files[path])
    host.registry.files[path] = json.dumps(content, indent="\t").replace("\n", "\r\n").encode()
    assert host.run("o:1") == {"o:1": ""}
    assert host.blob(WEIGHTS).exists() and host.blob(b"").read_bytes() == b""


def test_a_registry_writes_nothing_but_words_to_a_terminal(host: Host) -> None:
    host.registry.files["/v2/library/web/manifests/1"] = (
        b"\x1b]0;x\x07\x1b[2J\\033[2J\r\nno\xff\x9b2J"
    )
    said = host.run("web:1")["web:1"]
    assert "is no manifest" in said and "no" in said
    assert said.isprintable()


@pytest.mark.parametrize("login", [True, False])
def test_no_login_is_told_in_the_clear_wherever_a_redirect_leads(host: Host, login: bool) -> None:
    """curl takes the login of whatever machine it is sent to."""
    (host.folder / "curl").write_text(f'#!/bin/sh\necho "$@" >>{host.folder}/asked\nexit 7\n')
    (host.folder / "curl").chmod(0o755)
    program, netrc = host.folder / "fetch", host.folder / "netrc"
    if login:
        netrc.write_text("machine there login me password secret\n")
    text = program.read_text().replace("PATH=", f"PATH={host.folder}:")
    program.write_text(text.replace("/etc/ollama/netrc", str(netrc)))
    job = host.job() + f"source x:1 {'a' * 64} https://elsewhere/x.gguf\n"
    assert host.run_job(job)["x:1"]
    asked = (host.folder / "asked").read_text().splitlines()
    assert len(asked) == 3
    assert all((" --proto =https " in line) == login for line in asked)


def test_where_nothing_can_be_locked_nothing_is_downloaded(host: Host) -> None:
    """Two at one file would write into a blob that is served."""
    (host.folder / "flock").write_text("#!/bin/sh\nexit 65\n")
    (host.folder / "flock").chmod(0o755)
    program = host.folder / "fetch"
    program.write_text(program.read_text().replace("PATH=", f"PATH={host.folder}:"))
    done = subprocess.run(host.command(host.job("m:1")), capture_output=True, text=True)
    assert done.returncode == 1 and "on a file system without locks" in done.stderr
    assert host.registry.log == []


def test_progress_has_bytes_and_their_sum(host: Host) -> None:
    host.run("m:1", "n:1")
    script = str(host.folder / "fetch")
    done = subprocess.run([script, "progress", str(host.state)], capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [(row[0], row[1]) for row in rows] == [("m:1", "done"), ("n:1", "done")]
    assert all(row[2] == row[3] and int(row[3]) > len(WEIGHTS) for row in rows)


def test_a_rate_is_kept(host: Host) -> None:
    host.registry.add_model("large", "1", WEIGHTS * 24)  # curl looks at its rate every 10 MB
    slow = host.job("large:1").replace("tries 1", "tries 1\nrate 10000000")
    before = time.monotonic()
    assert host.run_job(slow) == {"large:1": ""}
    assert time.monotonic() - before > 1.0


def test_the_program_is_a_posix_script() -> None:
    for shell in ("dash", "bash"):
        subprocess.run([shell, "-n"], input=fetch_script().text, text=True, check=True)
