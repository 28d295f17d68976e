"""A bundle made of small originals: what is in it, what of it is fetched again, and what goes wrong."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ollama_fleet.bundle import fetch
from tests.unit.bundle_sources import DEB, TOOLKIT, Signer, add_apt, fill, write_inventory
from tests.unit.fleet_cli import fleet, fleet_json
from tests.unit.web_server import Site, serving

WITH = ("--distribution", "debian12")
BIG = f"/v2/library/large/blobs/sha256:{hashlib.sha256(b'large' * 5000).hexdigest()}"
SHARED = hashlib.sha256(b"a shared template").hexdigest()


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys") / "home").make()


@pytest.fixture
def site(signer: Signer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda retry: 0)
    monkeypatch.setattr(fetch, "WAIT_S", (0, 0, 0, 0))
    with serving(Site()) as site:
        fill(site, signer)
        yield site


@pytest.fixture
def inventory(site: Site, signer: Signer, tmp_path: Path) -> Path:
    return write_inventory(tmp_path, site, signer)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def names(folder: Path) -> set[str]:
    """Files of a bundle, without those of the run itself."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.startswith(".")}


def test_everything_that_a_fleet_needs_lies_where_a_mirror_has_it(
    inventory: Path, site: Site, out: Path
) -> None:
    said = fleet_json("bundle", inventory, "-o", out, *WITH)
    assert said["failures"] == [] and said["unlocked"] == ["large:1b", "small:1b"]
    found = names(out)
    deb, toolkit = "nvidia/cuda/repos/debian12/x86_64", "nvidia/libnvidia-container"
    assert {name.removeprefix(f"{deb}/") for name in found if name.startswith(deb)} == {
        *("InRelease", "Packages", "3bf863cc.pub"),
        "nvidia-kernel-open-dkms_580.95.05-1_amd64.deb",
        "nvidia-driver-cuda_580.95.05-1_amd64.deb",
        "nvidia-driver-pinning-580_580-1_amd64.deb",
        *("libglue_2.10-1_amd64.deb", "libdeep_1_amd64.deb"),
    }
    assert {name for name in found if name.startswith(toolkit) and name.endswith(".deb")} == {
        f"{toolkit}/stable/deb/amd64/{name}_1.20.0-1_amd64.deb"
        for name in (
            *("nvidia-container-toolkit", "nvidia-container-toolkit-base"),
            *("libnvidia-container-tools", "libnvidia-container1"),
        )
    }
    assert f"{toolkit}/gpgkey" in found
    assert {"ollama/v0.32.15/ollama-linux-amd64.tar.zst", "ollama/v0.32.15/sha256sum.txt"} <= found
    manifest = site.files["/v2/library/small/manifests/1b"]
    digest = hashlib.sha256(manifest).hexdigest()
    for tag in ("1b", f"sha256:{digest}"):
        assert (out / f"v2/library/small/manifests/{tag}").read_bytes() == manifest
    done = subprocess.run(["sha256sum", "--check", "--quiet", "CHECKSUMS"], cwd=out)
    assert done.returncode == 0
    listed = {row.split("  ")[1] for row in (out / "CHECKSUMS").read_text().splitlines()}
    assert listed == found - {"CHECKSUMS"}


def test_a_blob_of_two_models_is_fetched_once_and_lies_there_once(
    inventory: Path, site: Site, out: Path
) -> None:
    fleet("bundle", inventory, "-o", out)
    assert sum(path.endswith(SHARED) for path in site.paths()) == 1
    one, two = (out / f"v2/library/{name}/blobs/sha256:{SHARED}" for name in ("small", "large"))
    assert one.stat().st_ino == two.stat().st_ino


def test_a_second_run_downloads_nothing(inventory: Path, site: Site, out: Path) -> None:
    fleet("bundle", inventory, "-o", out, *WITH)
    before = {name: (out / name).stat().st_mtime_ns for name in names(out) - {"CHECKSUMS"}}
    site.asked.clear()
    said = fleet_json("bundle", inventory, "-o", out, *WITH)
    assert said["fetched"] == 0 and said["missing_bytes"] == 0
    asked = [path for path in site.paths() if "/blobs/" in path or path.endswith((".deb", ".zst"))]
    # How large it is, is asked each time: nothing of it is read.
    assert asked == ["/releases/v0.32.15/ollama-linux-amd64.tar.zst"]
    assert before == {name: (out / name).stat().st_mtime_ns for name in before}


def test_a_download_that_breaks_off_goes_on_where_it_was(
    inventory: Path, site: Site, out: Path
) -> None:
    site.cut[BIG] = 7000
    fleet("bundle", inventory, "-o", out)
    assert [first for path, first in site.asked if path == BIG] == [0, 7000]
    assert (out / BIG[1:]).read_bytes() == b"large" * 5000


@pytest.mark.parametrize("no_ranges", [False, True])
def test_a_run_that_was_ended_goes_on_where_it_was(
    inventory: Path, site: Site, out: Path, no_ranges: bool
) -> None:
    begun = out / ".fleet-bundle/partial" / BIG.rpartition(":")[2]
    begun.parent.mkdir(parents=True)
    begun.write_bytes((b"large" * 5000)[:9000])
    site.no_ranges = no_ranges
    fleet("bundle", inventory, "-o", out)
    assert [first for path, first in site.asked if path == BIG] == [9000]
    assert (out / BIG[1:]).read_bytes() == b"large" * 5000


def test_a_beginning_that_is_wrong_is_thrown_away(inventory: Path, site: Site, out: Path) -> None:
    begun = out / ".fleet-bundle/partial" / BIG.rpartition(":")[2]
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"x" * 9000)
    fleet("bundle", inventory, "-o", out)
    assert [first for path, first in site.asked if path == BIG] == [9000, 0]
    assert (out / BIG[1:]).read_bytes() == b"large" * 5000


def test_what_is_broken_at_its_source_is_named_and_the_rest_is_there(
    inventory: Path, site: Site, out: Path
) -> None:
    site.files[BIG] = b"wrong" * 5000
    done = fleet("bundle", inventory, "-o", out, *WITH, code=1)
    assert "it is broken at its source" in done.stderr and BIG in done.stderr
    found = names(out)
    assert BIG[1:] not in found
    # A manifest without its blobs would be worse than none.
    assert not [name for name in found if name.startswith("v2/library/large/manifests")]
    assert "v2/library/small/manifests/1b" in found and "ollama/v0.32.15/sha256sum.txt" in found
    site.files[BIG] = b"large" * 5000
    fleet("bundle", inventory, "-o", out, *WITH)
    assert "v2/library/large/manifests/1b" in names(out)


def test_a_source_that_lacks_something_keeps_nothing_else_from_coming(
    inventory: Path, site: Site, out: Path
) -> None:
    del site.files["/v2/library/large/manifests/1b"], site.files["/toolkit/gpgkey"]
    said = fleet_json("bundle", inventory, "-o", out, *WITH, code=1)
    lost = {failure["what"]: failure["why"] for failure in said["failures"]}
    assert lost.keys() == {"large:1b", "container toolkit for apt, x86_64"}
    assert "has no tag 1b" in lost["large:1b"]
    assert "404" in lost["container toolkit for apt, x86_64"]
    assert "v2/library/small/manifests/1b" in names(out)


def test_a_file_that_rots_is_found_and_fetched_again(
    inventory: Path, site: Site, out: Path
) -> None:
    fleet("bundle", inventory, "-o", out)
    assert "0 broken" in fleet("bundle", "--verify", out).stdout
    path = out / BIG[1:]
    state = path.stat()
    path.write_bytes(b"rotte" * 5000)
    (out / "stray").write_text("x")
    done = fleet("bundle", "--verify", out, code=1)
    assert f"{BIG[1:]}: its sha256 is" in done.stderr and "not in CHECKSUMS: stray" in done.stdout
    assert state.st_size == path.stat().st_size
    assert fleet_json("bundle", inventory, "-o", out)["fetched"] == 1
    assert "0 broken" in fleet("bundle", "--verify", out).stdout


def test_too_little_disk_is_refused_before_anything_is_fetched(
    inventory: Path, site: Site, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1000))
    done = fleet("bundle", inventory, "-o", out, code=3)
    assert "are free at" in done.stderr
    assert names(out) == set()


def test_a_dry_run_only_tells(inventory: Path, site: Site, out: Path) -> None:
    said = fleet_json("bundle", inventory, "-o", out, "--dry")
    assert said["missing_bytes"] > 50_000 and said["fetched"] == 0
    assert not out.exists()
    fleet("bundle", inventory, "-o", out)
    assert fleet_json("bundle", inventory, "-o", out, "--dry")["missing_bytes"] == 0


def test_locked_models_come_as_they_are_locked(inventory: Path, site: Site, out: Path) -> None:
    fleet("lock", inventory)
    before = site.files["/v2/library/small/manifests/1b"]
    site.add_model("library/small", "1b", b"moved")
    said = fleet_json("bundle", inventory, "-o", out)
    assert said["unlocked"] == []
    assert (out / "v2/library/small/manifests/1b").read_bytes() == before


def test_an_index_that_somebody_else_signed_is_not_taken(
    inventory: Path, site: Site, out: Path, signer: Signer, tmp_path: Path
) -> None:
    other = Signer(tmp_path / "other").make()
    add_apt(site, TOOLKIT, other, [("nvidia-container-toolkit", "1.20.0-1", "")])
    site.files[f"{DEB}/3bf863cc.pub"] = other.public()
    said = fleet_json("bundle", inventory, "-o", out, *WITH, code=1)
    why = {failure["what"]: failure["why"] for failure in said["failures"]}
    assert "is not signed by the repository's key" in why["container toolkit for apt, x86_64"]
    assert f"has the fingerprint {other.fingerprint()}" in why["driver for Debian 12, x86_64"]
    assert not [name for name in names(out) if name.startswith("nvidia/")]


def test_a_signed_index_with_words_before_it_is_none(
    inventory: Path, site: Site, out: Path
) -> None:
    """gpgv is content with one signed part; what stands around that is nobody's word."""
    evil = f"SHA256:\n {'1' * 64} 5 Packages\n\n".encode()
    site.files[f"{DEB}/InRelease"] = evil + site.files[f"{DEB}/InRelease"]
    (failure,) = fleet_json("bundle", inventory, "-o", out, *WITH, code=1)["failures"]
    assert "InRelease is no signed index" in failure["why"]


def test_an_index_that_points_outside_is_refused(
    inventory: Path, site: Site, out: Path, signer: Signer
) -> None:
    place = "/toolkit/stable/deb/amd64"
    packages = site.files[f"{place}/Packages"].replace(b"./nvidia", b"../../../../../evil/nvidia")
    sums = f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    site.files[f"{place}/Packages"] = packages
    site.files[f"{place}/InRelease"] = signer.clearsign(sums.encode())
    (failure,) = fleet_json("bundle", inventory, "-o", out, *WITH, code=1)["failures"]
    assert "which is no place below it" in failure["why"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": {"extra": ["hf.co/library/small:1b"]}}, "would be at one address in a bundle"),
        (
            {"hosts": {"two": {"driver": {"repository": "http://127.0.0.1:1/other"}}}},
            "one and two have different `driver: {repository: …}`",
        ),
        (
            {"hosts": {"two": {"ollama": {"sha256": {"amd64": "0" * 64}}}}},
            "two pins other checksums of Ollama 0.32.15",
        ),
    ],
)
def test_what_no_bundle_can_hold_at_once_is_refused(
    inventory: Path, out: Path, change: dict, words: str
) -> None:
    content = yaml.safe_load(inventory.read_text())
    for key, value in change.items():
        content[key] |= value
    inventory.write_text(yaml.safe_dump(content))
    assert words in fleet("bundle", inventory, "-o", out, *WITH, code=2).stderr
    if "two" in content["hosts"]:
        fleet("bundle", inventory, "-o", out, *WITH, "--host", "one")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give an inventory, and -o DIR"),
        (("--distribution", "beos"), "no distribution is called 'beos'; there are ubuntu2204"),
        (("--arch", "z80"), "no architecture is called 'z80'; there are amd64, arm64"),
        (("--host", "x*"), "no host is named 'x*'; there are one"),
    ],
)
def test_options_that_cannot_be_meant_are_said(
    inventory: Path, out: Path, options: tuple[str, ...], words: str
) -> None:
    where = ("-o", out) if options else ()
    assert words in fleet("bundle", inventory, *where, *options, code=2).stderr


def test_two_runs_do_not_share_a_folder(inventory: Path, out: Path) -> None:
    from ollama_fleet.bundle.folder import Folder

    with Folder(out).claimed():
        assert (
            "another `fleet bundle` is at" in fleet("bundle", inventory, "-o", out, code=1).stderr
        )


def test_what_is_no_bundle_is_not_verified(out: Path, tmp_path: Path) -> None:
    assert "is it a bundle?" in fleet("bundle", "--verify", out, code=2).stderr
    (tmp_path / "CHECKSUMS").write_text(f"{'0' * 64}  ../etc/passwd\n")
    assert "outside of the bundle" in fleet("bundle", "--verify", tmp_path, code=2).stderr


def changed(inventory: Path, **keys: object) -> None:
    """The inventory with these keys over its own."""
    said = yaml.safe_load(inventory.read_text())
    ollama = {**said.get("ollama", {}), **keys.pop("ollama", {})}  # type: ignore[dict-item]
    inventory.write_text(yaml.safe_dump({**said, "ollama": ollama, **keys}))


def test_what_hosts_fetch_by_themselves_is_said_not_to_be_in_it(inventory: Path, out: Path) -> None:
    custom = {"bot:1": {"gguf": "https://x/y.gguf", "sha256": "ab" * 32}}
    changed(inventory, custom_models=custom, models={"extra": ["bot:1"]})
    said = fleet_json("bundle", inventory, "-o", out, *WITH, code=1)
    (lost,) = said["failures"]
    assert lost["what"] == "the file of bot:1" and "https://x/y.gguf" in lost["why"]


def test_the_archive_is_the_one_that_the_inventory_names(inventory: Path, out: Path) -> None:
    changed(inventory, ollama={"archive": "ollama-linux-{arch}.tgz"})
    said = fleet_json("bundle", inventory, "-o", out, *WITH, code=1)
    assert any("ollama-linux-amd64.tgz" in failure["why"] for failure in said["failures"])
