"""The picture of a fleet alone: an SVG that stands by itself, and a PNG with letters in it."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.fleet_picture import picture
from ollama_fleet.report.fleet_png import fleet_png
from ollama_fleet.report.fleet_svg import fleet_svg
from ollama_fleet.report.svg import BOLD, cut, width_of
from tests.unit.outcomes import hostile, many, recorded, well

PICTURES = Path(__file__).parents[2] / "docs/pictures"
SVG = "{http://www.w3.org/2000/svg}"


def drawn(outcome: Outcome) -> Xml.Element:
    return Xml.fromstring(fleet_svg(outcome))


def texts(outcome: Outcome) -> list[str]:
    return [element.text or "" for element in drawn(outcome).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "outcome", [recorded(), well(recorded()), hostile(), many(60), replace(recorded(), hosts=())]
)
def test_a_picture_stands_by_itself_and_inside_its_frame(outcome: Outcome) -> None:
    root = drawn(outcome)
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    allowed = {"svg", "title", "style", "defs", "pattern", "line", "rect", "text", "g"}
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in allowed
        assert not [name for name in element.attrib if name.endswith("href") or name[:2] == "on"]
        if element.tag == f"{SVG}rect":
            right = float(element.get("x", 0)) + float(element.get("width", 0))
            bottom = float(element.get("y", 0)) + float(element.get("height", 0))
            assert right <= width + 0.5 and bottom <= height + 0.5
            assert float(element.get("width", 0)) >= 0


def test_it_shows_hosts_gpus_slices_and_what_is_wrong() -> None:
    said = texts(recorded())
    for words in (
        *(
            "15 checks failed, 1 machine not verified",
            "gpu01",
            "GPU 5",
            "lost",
            "drained",
            "flagship",
        ),
        *(":11434 qwen3:32b", "28 tok/s", "10.6 of 24.0 GiB · 57 °C", "3g large", "not verified"),
        *("83 checks, 14 failed, 3 warnings", "no slice", "memory in use"),
    ):
        assert words in said
    assert "The fleet is well" in texts(well(recorded()))


def test_the_picture_in_the_docs_is_up_to_date() -> None:
    """Run `python -m tests.browser.pictures` when this fails."""
    assert (PICTURES / "fleet.svg").read_text(encoding="utf-8") == fleet_svg(recorded())
    assert all(path.stat().st_size < 300_000 for path in PICTURES.iterdir())


def test_titles_say_all_of_a_gpu() -> None:
    titles = [element.text for element in drawn(recorded()).iter(f"{SVG}title")]
    assert "GPU 0, RTX 3090: 10.6 of 24.0 GiB in use, 11.0 GiB planned" in titles


def test_a_pair_of_gpus_stands_together_with_its_slice() -> None:
    host = next(view for view in picture(recorded()) if view.outcome.host == "gpu01")
    first = host.groups[0]
    assert [gpu.name for gpu in first.gpus] == ["GPU 0", "GPU 1"]
    assert [item.sight.name for item in first.slices] == ["flagship"]
    assert [len(group.gpus) for group in host.groups] == [2, 1, 1, 1, 1, 1, 1]


def test_instances_are_parts_of_their_card_in_their_places() -> None:
    host = next(view for view in picture(recorded()) if view.outcome.host == "gpu02")
    shares = host.groups[0].gpus[0].shares
    assert [(share.label, share.slice) for share in shares] == [
        ("2g.20gb", "medium"),
        ("1g.10gb", "small"),
        ("1g.10gb", ""),
        ("3g.40gb", "large"),
    ]
    assert all(a.left + a.width == pytest.approx(b.left) for a, b in pairwise(shares))
    assert sum(share.width for share in shares) <= 1


def test_what_does_not_fit_its_place_is_cut() -> None:
    assert cut("qwen3:8b", 1000, 12) == "qwen3:8b"
    short = cut("a very long name of a model", 80, 12)
    assert short.endswith("…") and width_of(short, 12) <= 80
    assert cut("全部都是中文的名字", 60, 12).endswith("…")
    assert cut("x", 0, 12) == ""
    assert width_of("gpu01", 12, BOLD) > width_of("gpu01", 12)


def test_a_png_has_the_size_and_letters() -> None:
    """Letters make many colours where they are drawn; a picture without a font has a dozen."""
    png = fleet_png(recorded())
    assert png.startswith(b"\x89PNG\r\n") and len(png) < 400_000
    width = int.from_bytes(png[16:20], "big")
    assert width == 2400
    bare = fleet_png(replace(recorded(), hosts=()))
    assert len(bare) > 12_000, "no letters were drawn"
