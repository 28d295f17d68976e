"""`fleet pin ollama`: from a release's own list into group_data, or a clear refusal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_fleet.release.pins import current_version, read_pins
from tests.unit.archive_server import Server, serving
from tests.unit.fleet_cli import fleet, fleet_json

A, B = "a" * 64, "b" * 64
LIST = f"{A}  ./ollama-linux-amd64.tar.zst\n{B}  ./ollama-linux-arm64.tar.zst\n{B}  ./x-{{}}.tgz\n"
FILE = 'ollama_version = "0.32.15"\nollama_pins = {}\n'


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror with release 0.32.16, and a project folder to be in."""
    (tmp_path / "mirror/v0.32.16").mkdir(parents=True)
    (tmp_path / "mirror/v0.32.16/sha256sum.txt").write_text(LIST)
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/all.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path / "mirror") as server:
        yield server


def written() -> tuple[dict, str | None]:
    content = Path("group_data/all.py").read_bytes()
    return read_pins(content), current_version(content)


def test_a_pin_comes_from_a_mirror_and_becomes_the_version(mirror: Server) -> None:
    done = fleet("pin", "ollama", "0.32.16", "--from", f"{mirror.url}/")
    assert written() == ({"0.32.16": {"amd64": A, "arm64": B}}, "0.32.16")
    assert f"from {mirror.url}/v0.32.16/sha256sum.txt" in done.stdout
    again = fleet("pin", "ollama", "0.32.16", "--from", mirror.url)
    assert "has them already; hosts run 0.32.16" in again.stdout


@pytest.mark.parametrize("source", ["mirror", "mirror/v0.32.16", "mirror/v0.32.16/sha256sum.txt"])
def test_a_folder_or_file_will_do(mirror: Server, source: str) -> None:
    said = fleet_json("pin", "ollama", "0.32.16", "--from", source, "--keep-version")
    assert said["changed"] is True and said["current"] == "0.32.15"
    assert said["source"] == "mirror/v0.32.16/sha256sum.txt"
    assert written() == ({"0.32.16": {"amd64": A, "arm64": B}}, "0.32.15")
    assert mirror.asked == []


def test_several_pins_make_going_back_one_setting(mirror: Server) -> None:
    for version in ("0.32.15", "0.32.16"):
        fleet("pin", "ollama", version, "--from", "mirror/v0.32.16")
    assert list(written()[0]) == ["0.32.16", "0.32.15"]


def test_a_release_that_changed_is_refused_until_somebody_says_so(mirror: Server) -> None:
    fleet("pin", "ollama", "0.32.16", "--from", "mirror")
    before = Path("group_data/all.py").read_bytes()
    other = Path("mirror/v0.32.16/sha256sum.txt")
    other.write_text(LIST.replace(A, "c" * 64))
    said = fleet("pin", "ollama", "0.32.16", "--from", "mirror", code=2).output
    assert A in said and "c" * 64 in said and "--replace" in said
    assert Path("group_data/all.py").read_bytes() == before
    fleet("pin", "ollama", "0.32.16", "--from", "mirror", "--replace")
    assert written()[0]["0.32.16"]["amd64"] == "c" * 64


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["0.32.17", "--from", "{url}"],
            2,
            "there is no release 0.32.17: {url}/v0.32.17/sha256sum",
        ),
        (
            ["0.32.17", "--from", "mirror"],
            2,
            "looked for mirror/v0.32.17/sha256sum.txt and mirror/sha",
        ),
        (["0.32.16", "--from", "http://127.0.0.1:9"], 1, "cannot be fetched: Failed to establish"),
        (["0.32.16", "--from", "ftp://x"], 1, "No connection adapters"),
        (
            ["0.32.16", "--from", "mirror", "--archive", "y-{{arch}}.tgz"],
            2,
            "holds no checksum of y-",
        ),
        (["0.32.16", "--from", "mirror", "--archive", "y-rocm.tgz"], 2, "only ROCm libraries"),
        (["0.32.16", "--from", "mirror", "--file", "gone.py"], 2, "gone.py: No such file"),
        (["latest"], 2, "'latest' is another release each time"),
        (["0.33.0-rc2"], 2, "is a release candidate"),
        (["0.30.11"], 2, "has known security holes"),
    ],
)
def test_what_cannot_be_pinned_is_said_and_nothing_written(
    mirror: Server, words: list[str], code: int, said: str
) -> None:
    done = fleet("pin", "ollama", *(word.format(url=mirror.url) for word in words), code=code)
    assert said.format(url=mirror.url) in done.output.replace("\n", "")
    assert Path("group_data/all.py").read_text() == FILE


def test_a_login_page_in_its_place_is_no_list(mirror: Server) -> None:
    Path("mirror/v0.32.16/sha256sum.txt").write_text("<html>please log in</html>")
    done = fleet("pin", "ollama", "0.32.16", "--from", mirror.url, code=2)
    assert "is it a release's sha256sum.txt, the whole of it?" in done.output
    mirror.codes = [503]
    done = fleet("pin", "ollama", "0.32.16", "--from", mirror.url, code=1)
    assert "the server says 503" in done.output
