"""The live view as a person sees it: narrow and wide terminals, many hosts, hostile names, keys."""

import io
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from ollama_fleet.cli.live import BOTTOM, after_key, keys_in
from ollama_fleet.top import model
from ollama_fleet.top.document import document
from ollama_fleet.top.model import FleetNow, ModelNow
from ollama_fleet.top.screen import View, lines_of, window
from tests.unit.top_fleet import healthy, large, troubled
from tests.unit.top_picture import picture

PAGE = Path(__file__).parents[2] / "docs/top.md"


def drawn(fleet: FleetNow, width: int) -> list[str]:
    """What a terminal of so many columns gets, colours included."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system="truecolor")
    for line in lines_of(fleet, width):
        console.print(line, no_wrap=True, overflow="crop", crop=True)
    return out.getvalue().splitlines()


def plain(lines: list[str]) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


@pytest.mark.parametrize("width", [20, 60, 80, 100, 200])
@pytest.mark.parametrize("make", [healthy, troubled])
def test_no_line_is_wider_than_the_terminal(make: Any, width: int) -> None:
    assert max(cell_len(line) for line in plain(drawn(make(), width))) <= width


def test_eighty_columns_show_what_the_guide_s_script_shows_and_more() -> None:
    text = "\n".join(plain(drawn(healthy(), 80)))
    for words in ("6.3/24.0 GiB", "38 %", "57 °C", "147/350 W", ":11434", "serves", "qwen3:8b 6.0"):
        assert words in text
    assert "0 2g.10gb" in text and "2 run" in text and "tok/s" in text
    assert re.search(r"qwen3:8b +2 +3 +2/2 +0\.2 +40 +1\.\d\d–1\.\d\d s +0", text)
    assert "no alarms" not in text, "Xid"


def test_the_worst_is_said_first_and_can_be_put_first() -> None:
    lines = plain(drawn(troubled(), 120))
    assert lines[2].startswith("●") and "does not answer" in "\n".join(lines[2:6])
    machines = [one.name for one in large(4).machines]
    sick = replace(large(4), machines=(*large(4).machines[1:], troubled().machines[1]))
    ordered = "\n".join(line.plain for line in lines_of(sick, 120, worst_first=True))
    assert ordered.index("\ntp2 ") < ordered.index(f"\n{machines[1]} ")
    usual = "\n".join(line.plain for line in lines_of(sick, 120))
    assert usual.index("\ntp2 ") > usual.index(f"\n{machines[1]} ")


def test_what_nobody_knows_is_a_dash_and_no_zero() -> None:
    lines = plain(drawn(troubled(), 120))
    dead = next(line for line in lines if "small-2 " in line and ":11525" in line)
    assert "inactive" in dead and "– run" in dead and dead.endswith(" –")
    lost = next(line for line in lines if line.startswith("  1 "))
    assert "–/– GiB" in lost and lost.rstrip().endswith("lost")


def test_a_host_that_cannot_be_reached_says_why_in_full() -> None:
    words = "cannot be reached: timed out; is it up, and is the address right?"
    assert words in " ".join(" ".join(plain(drawn(troubled(), 60))).split())


def test_fifty_hosts_are_paged_through() -> None:
    lines = lines_of(large(50), 80)
    assert len(lines) > 200
    shown, view = window(lines, View(), 80, 24)
    assert len(shown) == 24 and shown[-1].plain.startswith(f"1–23 of {len(lines)}")
    view = after_key(view, b"\x1b[6~", 24)
    assert view.first == 21
    _, view = window(lines, after_key(view, BOTTOM[0], 24), 80, 24)
    assert view.first == len(lines) - 23
    shown, view = window(lines, after_key(view, b"j", 24), 80, 24)
    assert view.first == len(lines) - 23, "no further than the end"
    assert after_key(view, b"g", 24).first == 0
    assert after_key(view, b"w", 24) == View(0, worst_first=True)
    assert after_key(view, b"\x1b[A", 24).first == view.first - 1
    assert after_key(View(), b"k", 24) == View() == after_key(View(), b"?", 24)


def test_a_key_that_is_held_down_counts_as_often_as_it_came() -> None:
    assert keys_in(b"\x1b[6~\x1b[6~j\x1b[A q") == [
        b"\x1b[6~",
        b"\x1b[6~",
        b"j",
        b"\x1b[A",
        b" ",
        b"q",
    ]
    assert keys_in(b"") == []


def test_a_screen_of_a_few_lines_or_columns_breaks_nothing() -> None:
    for width, height in ((1, 1), (3, 2), (10, 5), (300, 200)):
        shown, _ = window(lines_of(troubled(), width), View(7), width, height)
        assert len(shown) == max(2, height)


HOSTILE = "[red]x[/red]\x1b]0;mine\x07\x1b[2J\u202e\x9b31m\r\nnew\x00[link=file:///etc/passwd]y"


def hostile(value: Any) -> Any:
    """A value in which every text is an attack."""
    if isinstance(value, str):
        return value if value in ("critical", "major", "minor") else HOSTILE
    if isinstance(value, tuple):
        return tuple(hostile(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: hostile(getattr(value, field.name)) for field in fields(value)}
        return type(value)(**changes)
    return value


@pytest.mark.parametrize("width", [60, 200])
@pytest.mark.parametrize("make", [healthy, troubled])
def test_names_from_hosts_are_shown_and_never_obeyed(make: Any, width: int) -> None:
    machines = hostile(make().machines)
    fleet = FleetNow(HOSTILE, HOSTILE, machines)
    with_error = [replace(one, error="" if one.gpus else HOSTILE) for one in machines]
    lines = drawn(replace(fleet, machines=tuple(with_error)), width)
    text = "".join(plain(lines))
    assert "[red]x" in text, "markup is shown as it is"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


def test_a_model_that_is_partly_on_the_cpu_cannot_be_overlooked() -> None:
    machine = healthy().machines[0]
    slow = ModelNow("big:70b", 40_000, 20_000, 240)
    item = replace(machine.slices[0], models=(slow,))
    fleet = replace(healthy(), machines=(replace(machine, slices=(item,)),))
    assert "big:70b 19.5 of 39.1 GiB on GPU 4 min" in "\n".join(plain(drawn(fleet, 200)))


def rows_of_page() -> dict[str, set[str]]:
    """Noun to its keys, as docs/top.md lists them."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    found = {noun: set(re.findall(r"`(\w+)`", keys)) for noun, keys in rows}
    return {noun: keys for noun, keys in found.items() if keys}


def test_the_page_names_every_key_of_the_json() -> None:
    made = document(troubled())
    first = made["machines"][0]
    found = {
        "fleet": made,
        "alarm": made["alarms"][0],
        "machine": first,
        "system": first["system"],
        "disk": first["system"]["disks"][0],
        "gpu": first["gpus"][0],
        "slice": first["slices"][0],
        "model": first["slices"][0]["models"][0],
        "pool": first["pools"][0],
        "cost": first["cost"],
    }
    assert rows_of_page() == {noun: set(value) for noun, value in found.items()}


def test_a_noun_of_the_json_has_the_fields_of_its_class() -> None:
    made = document(healthy())["machines"][0]
    assert set(made["gpus"][0]) == {field.name for field in fields(model.GpuNow)}
    assert made["cost"] == {"frame_s": 0.05, "every_s": 2.5, "cpu_percent": 1.0}
    assert document(troubled())["reached"] is False and document(troubled())["version"] == 1


def test_the_picture_of_the_page_is_what_it_shows_and_fetches_nothing() -> None:
    kept = (PAGE.parent / "pictures/top.svg").read_text(encoding="utf-8")
    assert kept == picture(), "python -m tests.unit.top_picture docs/pictures/top.svg"
    assert "url(http" not in kept and "@import" not in kept
