"""Archives on this machine: one download for all hosts, continued where it was cut, always verified."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ollama_fleet.release import cache
from ollama_fleet.release.cache import DownloadError, cached_archive, path_in_cache
from tests.unit.archive_server import Server, serving

CONTENT = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "WAIT_S", 0.0)
    forget()
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a").write_bytes(CONTENT)
    with serving(folder) as server:
        yield server


def forget() -> None:
    """As in a new run."""
    cache._sound.clear()
    cache._failed.clear()


def get(server: Server, name: str = "a", digest: str = DIGEST) -> Path:
    return cached_archive(f"{server.url}/{name}", digest, lambda text: None)


def partial() -> Path:
    return path_in_cache(DIGEST).with_suffix(".partial")


def test_it_is_fetched_once_for_many_hosts_that_ask_at_once(server: Server) -> None:
    server.delay.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(get, server) for _ in range(8)]
        server.delay.set()
        paths = {one.result() for one in waiting}
    assert paths == {path_in_cache(DIGEST)} and len(server.asked) == 1
    assert path_in_cache(DIGEST).read_bytes() == CONTENT
    forget()
    assert get(server).read_bytes() == CONTENT and len(server.asked) == 1


@pytest.mark.parametrize("length", ["x", "\xb2"])
def test_a_length_that_is_no_number_is_not_believed(server: Server, length: str) -> None:
    server.length = length
    assert get(server).read_bytes() == CONTENT


def test_two_runs_at_the_same_time_fetch_it_once(server: Server) -> None:
    program = (
        "import sys; from ollama_fleet.release.cache import cached_archive;"
        "cached_archive(sys.argv[1], sys.argv[2], print)"
    )
    words = [sys.executable, "-c", program, f"{server.url}/a", DIGEST]
    server.delay.clear()
    runs = [subprocess.Popen(words, stdout=subprocess.DEVNULL) for _ in range(3)]
    while not server.asked:
        time.sleep(0.05)
    time.sleep(1)  # all of them are there by now
    server.delay.set()
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert server.asked == [None] and path_in_cache(DIGEST).read_bytes() == CONTENT


def test_a_cut_download_is_gone_on_with(server: Server) -> None:
    server.cut_after = [1000, 500_000]
    assert get(server).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=501000-"]


def test_what_an_earlier_run_has_left_is_gone_on_with(server: Server) -> None:
    partial().parent.mkdir(parents=True)
    partial().write_bytes(CONTENT[:4000])
    assert get(server).read_bytes() == CONTENT and server.asked == ["bytes=4000-"]


def test_a_run_that_was_killed_before_the_last_step_only_verifies(server: Server) -> None:
    partial().parent.mkdir(parents=True)
    partial().write_bytes(CONTENT)
    assert get(server).read_bytes() == CONTENT and server.asked == [f"bytes={len(CONTENT)}-"]


def test_more_than_there_is_is_thrown_away(server: Server) -> None:
    partial().parent.mkdir(parents=True)
    partial().write_bytes(CONTENT + b"more")
    assert get(server).read_bytes() == CONTENT and server.asked[-1] is None


def test_a_server_that_cannot_go_on_starts_again(server: Server) -> None:
    server.ranges, server.cut_after = False, [1000]
    assert get(server).read_bytes() == CONTENT


def test_a_server_that_is_busy_is_asked_again(server: Server) -> None:
    server.codes = [503, 429]
    assert get(server).read_bytes() == CONTENT and len(server.asked) == 3


def test_a_release_that_is_not_there_is_said_at_once_and_not_tried_again(server: Server) -> None:
    with pytest.raises(DownloadError, match="404 Not Found; is it a release, and `archive:`"):
        get(server, "gone")
    assert len(server.asked) == 1


def test_who_waited_for_a_download_that_failed_hears_why_without_trying_himself(
    server: Server,
) -> None:
    server.delay.clear()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(get, server, "gone") for _ in range(4)]
        server.delay.set()
        said = {str(one.exception()) for one in waiting}
    assert len(said) == 1 and len(server.asked) == 1
    with pytest.raises(DownloadError):  # but a later one does
        get(server, "gone")
    assert len(server.asked) == 2


def test_another_content_than_pinned_is_never_kept(server: Server) -> None:
    with pytest.raises(DownloadError) as caught:
        get(server, digest="0" * 64)
    assert DIGEST in str(caught.value) and "pinned is " + "0" * 64 in str(caught.value)
    assert list(path_in_cache(DIGEST).parent.glob("*")) == [
        path_in_cache("0" * 64).with_suffix(".lock")
    ]


def test_a_cache_that_rotted_is_fetched_again(server: Server) -> None:
    path_in_cache(DIGEST).parent.mkdir(parents=True)
    path_in_cache(DIGEST).write_bytes(CONTENT[:-1] + b"x")
    assert get(server).read_bytes() == CONTENT and len(server.asked) == 1


def test_what_keeps_it_from_being_fetched_is_said(server: Server) -> None:
    with pytest.raises(DownloadError, match="Connection refused"):
        cached_archive("http://127.0.0.1:9/a", DIGEST, lambda text: None)
    server.cut_after = [10, 10, 10, 10, 10]
    with pytest.raises(DownloadError, match="What came is kept: run again"):
        get(server)
    assert partial().stat().st_size == 40
    assert get(server).read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(server.folder / "a"))
    with pytest.raises(DownloadError, match=r"cannot write .*: Not a directory"):
        get(server)


def test_the_cache_is_where_caches_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert str(cache.cache_folder()) == "/home/me/.cache/ollama-fleet/archives"
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/tmp/c")
    assert str(cache.cache_folder()) == "/var/tmp/c/ollama-fleet/archives"
