"""A plan as one SVG picture: a bar for every GPU, with its parts to scale.

Needs nothing from outside; the same plan gives the same bytes.
"""

from collections.abc import Mapping
from xml.etree import ElementTree as Xml

from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.report.plan_bars import KINDS, Bar, Segment, bars, kinds_in
from ollama_fleet.report.svg import INK, SOFT, numbers, text

WIDTH, LABEL, RIGHT = 980, 250, 20
BAR_HEIGHT, ROW, HEADING, LEGEND = 26, 52, 34, 46
# Width of a letter of the small font; a part gets its name written in where it is wide enough.
LETTER = 6.2
LONGEST_LABEL = 33
DARK = ("weights", "recurrent_state", "draft", "over")


def plan_svg(plans: Mapping[str, HostPlan]) -> str:
    """The picture of these hosts."""
    every = {name: bars(plan) for name, plan in plans.items()}
    longest = max((bar.length_mib for group in every.values() for bar in group), default=1.0)
    rows = sum(max(1, len(group)) for group in every.values())
    height = 12 + HEADING * len(every) + ROW * rows + LEGEND
    root = Xml.Element("svg", numbers(width=WIDTH, height=height, viewBox=f"0 0 {WIDTH} {height}"))
    root.set("xmlns", "http://www.w3.org/2000/svg")
    root.set("font-family", "system-ui, sans-serif")
    root.set("role", "img")
    Xml.SubElement(root, "title").text = "Memory of every GPU in the plan"
    Xml.SubElement(root, "rect", numbers(width=WIDTH, height=height, fill="#ffffff"))
    top = 12.0
    for name, group in every.items():
        text(root, 12, top + 20, name, size=17, weight="bold")
        top += HEADING
        for bar in group:
            _draw_bar(root, top, bar, longest)
            top += ROW
        if not group:
            text(root, 12, top + 14, "its GPUs are not known, so no memory is checked")
            top += ROW
    _legend(root, top + 8, kinds_in(tuple(bar for group in every.values() for bar in group)))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _draw_bar(root: Xml.Element, top: float, bar: Bar, longest: float) -> None:
    text(root, 12, top + 9, _short(bar.name), size=12, weight="bold")
    text(root, 12, top + 24, _short(bar.card), size=12)
    text(root, 12, top + 39, _short(bar.slice_line or "no slice"), size=12, fill=SOFT)
    scale = (WIDTH - LABEL - RIGHT) / longest
    left = float(LABEL)
    for segment in bar.segments:
        _draw_segment(root, left, top, segment, segment.mib * scale)
        left += segment.mib * scale
    usable = LABEL + bar.memory.usable_mib * scale
    line = numbers(x1=usable, x2=usable, y1=top - 3, y2=top + BAR_HEIGHT + 3, stroke="#222222")
    Xml.SubElement(root, "line", line)
    text(root, LABEL, top + BAR_HEIGHT + 13, bar.summary, size=11, fill=SOFT)


def _draw_segment(
    root: Xml.Element, left: float, top: float, segment: Segment, width: float
) -> None:
    name, colour, _ = KINDS[segment.kind]
    group = Xml.SubElement(root, "g")
    Xml.SubElement(group, "title").text = segment.title
    box = numbers(x=left, y=top, width=width, height=BAR_HEIGHT, fill=colour, stroke="#777777")
    Xml.SubElement(group, "rect", box | {"stroke-width": "0.5"})
    words = next((w for w in (f"{segment.model} {name}", name) if len(w) * LETTER + 8 < width), "")
    if words:
        ink = "#ffffff" if segment.kind in DARK else INK
        text(group, left + 5, top + 17, words.strip(), size=11, fill=ink)


def _legend(root: Xml.Element, top: float, kinds: tuple[str, ...]) -> None:
    left = 12.0
    for kind in kinds:
        name, colour, _ = KINDS[kind]
        box = numbers(x=left, y=top, width=12, height=12, fill=colour, stroke="#777777")
        Xml.SubElement(root, "rect", box)
        text(root, left + 17, top + 10.5, name, size=11)
        left += 17 + len(name) * LETTER + 18
    text(
        root,
        12,
        top + 30,
        "The line ends what CUDA hands out on the card.",
        size=11,
        fill=SOFT,
    )


def _short(words: str) -> str:
    return words if len(words) <= LONGEST_LABEL else words[: LONGEST_LABEL - 1] + "…"
