"""Pictures of a plan: bars that add up, and text that cannot break out of them."""

from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest

from ollama_fleet.load import validate
from ollama_fleet.planner.fleet import plan_fleet
from ollama_fleet.planner.memory import GpuMemory
from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.refusal import Refusal
from ollama_fleet.report.plan_bars import KINDS, Segment, bars, kinds_in
from ollama_fleet.report.plan_html import plan_html
from ollama_fleet.report.plan_svg import WIDTH, plan_svg
from ollama_fleet.report.plan_table import text_bar
from ollama_fleet.vram.result import ORDER
from ollama_fleet.yamlfile import YamlFile

SVG = "{http://www.w3.org/2000/svg}"


def host_plan(gpu: str, *slices: dict, **host: object) -> HostPlan:
    spec = {"gpus": [{"model": gpu, "count": 2}], "slices": list(slices), **host}
    fleet = validate(YamlFile("inventory", {"version": 1, "hosts": {"gpu01": spec}}))
    return plan_fleet(fleet).hosts["gpu01"]


CHAT = {"name": "chat", "gpus": [0], "models": ["qwen3:8b"], "context": 8192}


def test_every_part_of_an_estimate_has_a_name_and_a_colour() -> None:
    assert set(ORDER) <= set(KINDS)
    assert len({colour for _, colour, _ in KINDS.values()}) == len(KINDS)
    assert len({mark for _, _, mark in KINDS.values()}) == len(KINDS)


def test_a_bar_that_fits_is_as_long_as_the_card() -> None:
    chat, empty = bars(host_plan("RTX 3090", CHAT))
    for bar in (chat, empty):
        assert bar.length_mib == pytest.approx(bar.memory.usable_mib)
    assert [segment.kind for segment in empty.segments] == ["free"]
    assert "free" in chat.summary and chat.parts[0].startswith("qwen3:8b: weights")


@pytest.mark.parametrize("model", ["qwen3:14b", "qwen3:32b"])
def test_a_bar_that_does_not_fit_is_longer_and_says_by_how_much(model: str) -> None:
    bar = bars(host_plan("RTX 3060", CHAT | {"models": [model], "context": 16384}))[0]
    need = bar.memory.used_mib + bar.memory.margin_mib
    assert "too much" in bar.summary
    assert bar.length_mib == pytest.approx(need)
    assert bar.segments[-1].kind == "over"
    assert bar.segments[-1].mib == pytest.approx(-bar.memory.free_mib)


def test_a_reserved_gpu_is_one_piece() -> None:
    bar = bars(host_plan("RTX 3090", CHAT, reserved=[1]))[1]
    assert [segment.kind for segment in bar.segments] == ["reserved"]


def test_a_text_bar_is_as_wide_as_asked_whatever_its_parts() -> None:
    for mib in ([1.0], [1, 1, 1], [10_000, 1, 1], [0.1] * 100):
        drawn = text_bar([Segment("weights", float(m)) for m in mib], width=60)
        assert sum(len(text) for text, _ in drawn) == 60
    assert text_bar([]) == []


def test_the_legend_names_what_is_there() -> None:
    kinds = kinds_in(bars(host_plan("RTX 3090", CHAT)))
    assert kinds == ("weights", "kv_cache", "graph", "cuda_context", "margin", "free")


def test_an_svg_holds_a_bar_per_gpu_within_its_width() -> None:
    root = Xml.fromstring(plan_svg({"gpu01": host_plan("RTX 3090", CHAT)}))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert "qwen3:8b KV cache, 1,152 MiB" in titles
    for box in root.iter(f"{SVG}rect"):
        assert float(box.get("x", "0")) + float(box.get("width", "0")) <= WIDTH + 0.1


def test_the_same_plan_is_the_same_picture() -> None:
    plans = {"gpu01": host_plan("RTX 3090", CHAT)}
    assert plan_svg(plans) == plan_svg(plans)


def test_names_cannot_break_out_of_a_picture_or_page() -> None:
    evil = "<script>alert('x')</script>&amp;"
    plan = host_plan("RTX 3090", CHAT)
    memory = tuple(replace(one, card=evil, owner=evil) for one in plan.memory)
    plans = {evil: replace(plan, memory=memory, notes=(evil,))}
    page = plan_html(evil, plans, [Refusal(evil, evil, (evil,), (evil,))])
    assert "<script" not in page and "&lt;script" in page
    Xml.fromstring(plan_svg(plans))


def test_a_host_whose_gpus_nobody_knows_is_drawn_all_the_same() -> None:
    plan = replace(host_plan("RTX 3090", CHAT), memory=())
    assert "its GPUs are not known" in plan_svg({"gpu01": plan})


def test_a_page_has_the_refusals_the_slices_and_the_sums() -> None:
    plans = {"gpu01": host_plan("RTX 3090", CHAT)}
    page = plan_html("Plan", plans, [Refusal("hosts.a", "is too large", ("1 of 2",), ("less",))])
    for words in ("is too large", "would fit: less", "<td>chat</td>", "36 layers × 8 KV heads"):
        assert words in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_memory_without_models_counts_as_free() -> None:
    plan = replace(host_plan("RTX 3090"), memory=(GpuMemory(0, "RTX 3090", 24576, 24159),))
    assert bars(plan)[0].summary == "24,159 MiB free"
