"""What the lab changes on the outer machine, said in one line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from lab.prerequisites import INOTIFY_INSTANCES, allow_many_hosts


@pytest.mark.parametrize(
    ("found", "left", "lines"),
    [("128", str(INOTIFY_INSTANCES), 1), ("4096", "4096", 0)],
)
def test_a_low_limit_of_inotify_instances_is_raised_and_a_higher_one_stays(
    tmp_path: Path, found: str, left: str, lines: int
) -> None:
    setting, said = tmp_path / "max_user_instances", io.StringIO()
    setting.write_text(f"{found}\n")
    allow_many_hosts(Console(file=said), setting)
    assert setting.read_text().strip() == left
    assert said.getvalue().count("\n") == lines
    assert (found in said.getvalue()) is bool(lines)


def test_a_limit_that_cannot_be_raised_is_explained(tmp_path: Path) -> None:
    class Fixed(type(tmp_path)):  # type: ignore[misc]
        def write_text(self, *_: object, **__: object) -> int:
            raise OSError(30, "Read-only file system")

    setting, said = tmp_path / "max_user_instances", io.StringIO()
    setting.write_text("128\n")
    allow_many_hosts(Console(file=said), Fixed(setting))
    assert "Read-only file system" in said.getvalue() and "20 hosts" in said.getvalue()
