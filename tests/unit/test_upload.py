"""What takes a large file at the other end, on this machine; over SSH it is tried on lab hosts."""

from pathlib import Path

import pytest

from ollama_fleet.host.upload import _end, _Local, _progress


def test_a_program_here_gets_the_whole_file(tmp_path: Path) -> None:
    target, blocks = tmp_path / "x", [b"\0\xff" * 2**19, b"end"]
    receiver = _Local(f"cat >>{target}")
    for block in blocks:
        receiver.take(block)
    assert _end(receiver) == (0, "")
    assert target.read_bytes() == b"".join(blocks)


def test_a_program_that_gives_up_says_why() -> None:
    receiver = _Local("echo disk full >&2; exit 3")
    with pytest.raises(OSError):
        for _ in range(100):
            receiver.take(b"x" * 2**20)
    assert _end(receiver) == (3, "disk full")


def test_progress_is_said_with_rate_and_what_is_left() -> None:
    said = _progress(1_000_000_000, 4_000_000_000, 50e6)
    assert said == "1.0 of 4.0 GB sent (25 %), 50 MB/s, 60 s left"
    assert _progress(0, 40_000_000_000, 50e6).endswith("13 min left")
