"""A fleet as one SVG picture, with its own styles: for chats and documents.

Needs nothing from outside, and follows a reader's dark or light page; the same outcome gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.counts import counts, verdict
from ollama_fleet.report.fleet_picture import Group, HostView, picture
from ollama_fleet.report.fleet_svg_parts import (
    COLOURS,
    GAP,
    HEADING,
    STATES,
    box,
    colour,
    draw_group,
    draw_heading,
    group_height,
    write,
)
from ollama_fleet.report.page_history import moment
from ollama_fleet.report.svg import BOLD, cut, numbers
from ollama_fleet.report.text import one_line

WIDTH, MARGIN = 1200.0, 20.0
TOP, FOOT = 78.0, 44.0
# Columns of groups in a machine's card, where it has the whole width and where it has half of it.
BROAD, NARROW = 4, 2
MOST_CARDS = 24
TILES, TILE_HEIGHT = 6, 40.0
FONT = "'Noto Sans', system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
LEGEND = (("used", "memory in use"), ("plan", "planned"), ("track", "free"), ("lost", "lost GPU"))


@dataclass(frozen=True)
class Placed:
    """A machine's card and where it is."""

    view: HostView
    left: float
    top: float
    width: float
    height: float


def fleet_svg(outcome: Outcome) -> str:
    """The picture of all machines of this run."""
    views = picture(outcome)
    whole = views if len(views) <= MOST_CARDS else tuple(v for v in views if v.state != "ok")
    placed = list(_placed(whole[:MOST_CARDS]))
    tiles = [view for view in views if view not in whole[:MOST_CARDS]]
    end = max((one.top + one.height + GAP for one in placed), default=TOP)
    height = end + -(-len(tiles) // TILES) * (TILE_HEIGHT + GAP) + FOOT
    root = _canvas(outcome, height)
    for one in placed:
        _draw_card(root, one)
    for number, view in enumerate(tiles):
        _draw_tile(root, number, end, view)
    _legend(root, height - 18)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _canvas(outcome: Outcome, height: float) -> Xml.Element:
    size = numbers(width=WIDTH, height=height, viewBox=f"0 0 {WIDTH:g} {height:g}")
    root = Xml.Element("svg", size | {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
    root.set("font-family", FONT)
    found = counts(outcome)
    said = "The fleet is well" if not outcome.failed else verdict(outcome)
    Xml.SubElement(root, "title").text = one_line(f"{outcome.inventory}: {said}")
    Xml.SubElement(root, "style").text = _dark()
    _hatch(Xml.SubElement(root, "defs"))
    Xml.SubElement(root, "rect", numbers(width=WIDTH, height=height) | colour("ground"))
    tone, sign = ("bad", "✕") if outcome.failed else ("well", "✓")
    write(root, MARGIN, 38, sign, tone, 20, "bold")
    write(root, MARGIN + 26, 38, said, size=20, weight="bold")
    about = f"{outcome.inventory} · {moment(outcome.started)} · {found.hosts} machines, "
    about += f"{found.checks} checks, {found.warnings} worth a look"
    write(root, MARGIN, 60, cut(about, WIDTH - 2 * MARGIN, 13), "soft", 13)
    return root


def _dark() -> str:
    """Colours of a dark page; attributes have those of a light one."""
    fills = "".join(f".f-{name}{{fill:{dark}}}" for name, (_, dark) in COLOURS.items())
    line = f".s-line{{stroke:{COLOURS['line'][1]}}}.s-bad{{stroke:{COLOURS['bad'][1]}}}"
    return f"@media (prefers-color-scheme:dark){{{fills}{line}}}"


def _hatch(defs: Xml.Element) -> None:
    turned = {"patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"}
    pattern = Xml.SubElement(defs, "pattern", numbers(id="lost", width=6, height=6) | turned)
    stroke = {"stroke": COLOURS["bad"][0], "class": "s-bad", "stroke-width": "4"}
    Xml.SubElement(pattern, "line", numbers(x1=0, y1=0, x2=0, y2=6) | stroke)


def _placed(views: Sequence[HostView]) -> Iterator[Placed]:
    """Broad machines over the whole width, the others in two columns; a half that would stay empty above a
    broad one is filled with the next that fits."""
    half, left = (WIDTH - 2 * MARGIN - GAP) / 2, list(views)
    tops = [TOP, TOP]
    while left:
        uneven = tops[0] != tops[1]
        view = next((v for v in left if not (uneven and v.is_broad)), left[0])
        left.remove(view)
        if view.is_broad:
            top, height = max(tops), _card_height(view)
            tops = [top + height + GAP] * 2
            yield Placed(view, MARGIN, top, WIDTH - 2 * MARGIN, height)
        else:
            column = tops.index(min(tops))
            height = _card_height(view)
            yield Placed(view, MARGIN + column * (half + GAP), tops[column], half, height)
            tops[column] += height + GAP


def _groups(view: HostView) -> tuple[Group, ...]:
    return (*view.groups, *([Group((), view.loose)] if view.loose else []))


def _rows(view: HostView) -> list[list[tuple[Group, int]]]:
    """Groups with the columns that each takes, in rows."""
    columns = BROAD if view.is_broad else NARROW
    groups = _groups(view)
    if len(groups) == 1:
        return [[(groups[0], columns)]]
    rows: list[list[tuple[Group, int]]] = [[]]
    for group in groups:
        span = max(1, min(len(group.gpus), columns))
        if rows[-1] and sum(taken for _, taken in rows[-1]) + span > columns:
            rows.append([])
        rows[-1].append((group, span))
    return rows


def _card_height(view: HostView) -> float:
    rows = [max((group_height(*one) for one in row), default=0.0) for row in _rows(view)]
    if view.outcome.error or not _groups(view):
        return HEADING + 34
    return HEADING + 6 + sum(height + 8 for height in rows) + 6


def _draw_card(root: Xml.Element, one: Placed) -> None:
    box(root, one.left, one.top, one.width, one.height, "surface", 8)
    edge = numbers(x=one.left, y=one.top, width=one.width, height=3.0, rx=1.5)
    Xml.SubElement(root, "rect", edge | colour(STATES[one.view.state]))
    draw_heading(root, one.left, one.top, one.width, one.view)
    if one.view.outcome.error or not _groups(one.view):
        words = cut(one.view.outcome.error or "no GPUs here", one.width - 28, 12.5)
        write(root, one.left + 14, one.top + HEADING + 16, words, "soft")
        return
    columns = BROAD if one.view.is_broad else NARROW
    unit, top = (one.width - 28 - (columns - 1) * 8) / columns, one.top + HEADING + 6
    for row in _rows(one.view):
        height, left = max(group_height(*entry) for entry in row), one.left + 14
        for group, span in row:
            width = unit * span + 8 * (span - 1)
            draw_group(root, left, top, width, height, group, span)
            left += width + 8
        top += height + 8


def _draw_tile(root: Xml.Element, number: int, top: float, view: HostView) -> None:
    width = (WIDTH - 2 * MARGIN - (TILES - 1) * GAP) / TILES
    left = MARGIN + number % TILES * (width + GAP)
    top += number // TILES * (TILE_HEIGHT + GAP)
    box(root, left, top, width, TILE_HEIGHT, "surface", 6)
    write(root, left + 10, top + 17, cut(view.outcome.host, width - 20, 12, BOLD), weight="bold")
    words = cut(view.tally, width - 20, 11)
    write(
        root, left + 10, top + 32, words, "soft" if view.state == "ok" else STATES[view.state], 11
    )


def _legend(root: Xml.Element, base: float) -> None:
    left = MARGIN
    for tone, words in LEGEND:
        place = numbers(x=left, y=base - 9, width=22.0, height=9.0, rx=2)
        fill = {"fill": "url(#lost)"} if tone == "lost" else colour(tone)
        Xml.SubElement(root, "rect", place | fill)
        write(root, left + 28, base, words, "soft", 11.5)
        left += 28 + len(words) * 6.6 + 18
