"""How a group of GPUs and a machine's heading are drawn in a picture: each function draws at a place
and knows its height beforehand.

Fills are attributes, so that every viewer shows them; the classes are for dark pages, see `fleet_svg`.
"""

from xml.etree import ElementTree as Xml

from ollama_fleet.report.counts import State
from ollama_fleet.report.fleet_picture import SIGNS, GpuView, Group, HostView, Share, SliceView
from ollama_fleet.report.svg import BOLD, cut, numbers, text, width_of

# Class to its colour on light and on dark pages.
COLOURS = {
    "ground": ("#f4f5f7", "#0e1216"),
    "surface": ("#ffffff", "#161b21"),
    "raised": ("#f8f9fb", "#1c232b"),
    "ink": ("#1b2128", "#e7eaee"),
    "soft": ("#545e69", "#a3adb8"),
    "line": ("#dde1e6", "#2b343d"),
    "well": ("#0b6a71", "#5fc3c9"),
    "warn": ("#865300", "#e6b14e"),
    "bad": ("#b3261e", "#ff8f82"),
    "used": ("#4477aa", "#6c9fd2"),
    "plan": ("#a9bdd3", "#3f5872"),
    "track": ("#e6e9ed", "#262e36"),
}
STATES: dict[State, str] = {
    "ok": "well",
    "warning": "warn",
    "drained": "warn",
    "failed": "bad",
    "lost": "bad",
    "unreachable": "bad",
}
PAD, GAP = 10.0, 10.0
GPU_HEIGHT, CUT_HEIGHT, SLICE_HEIGHT = 42.0, 13.0, 18.0
BAR, PLAN = 12.0, 4.0
HEADING, SMALL, PLAIN = 34.0, 11.5, 12.5


def colour(name: str) -> dict[str, str]:
    """Fill and class."""
    return {"fill": COLOURS[name][0], "class": f"f-{name}"}


def write(
    root: Xml.Element,
    left: float,
    base: float,
    words: str,
    tone: str = "ink",
    size: float = PLAIN,
    weight: str = "normal",
    anchor: str = "start",
) -> None:
    """Words in one of the colours."""
    tinted = text(root, left, base, words, size=size, weight=weight, fill=COLOURS[tone][0])
    tinted.set("class", f"f-{tone}")
    if anchor != "start":
        tinted.set("text-anchor", anchor)


def box(
    root: Xml.Element, left: float, top: float, width: float, height: float, tone: str, round_: int
) -> Xml.Element:
    """A rectangle with a line around it."""
    place = numbers(x=left + 0.5, y=top + 0.5, width=width - 1, height=height - 1, rx=round_)
    edge = {"stroke": COLOURS["line"][0], "class": f"f-{tone} s-line"}
    return Xml.SubElement(root, "rect", place | {"fill": COLOURS[tone][0]} | edge)


def group_height(group: Group, columns: int) -> float:
    """Of a group whose GPUs stand in so many columns, or fewer."""
    columns = max(1, min(columns, len(group.gpus)))
    rows = [group.gpus[at : at + columns] for at in range(0, len(group.gpus), columns)]
    gpus = sum(max(_gpu_height(gpu) for gpu in row) for row in rows) or SLICE_HEIGHT
    return gpus + max(1, len(group.slices)) * SLICE_HEIGHT + 10


def draw_group(
    root: Xml.Element,
    left: float,
    top: float,
    width: float,
    height: float,
    group: Group,
    columns: int,
) -> None:
    """GPUs with their bars, then the slices that have them."""
    columns = max(1, min(columns, len(group.gpus)))
    box(root, left, top, width, height, "raised", 6)
    _edge(
        root,
        left,
        top,
        height,
        [gpu.state for gpu in group.gpus] + [item.state for item in group.slices],
    )
    inner, base = (width - 2 * PAD - (columns - 1) * GAP) / columns, top
    for at in range(0, len(group.gpus), columns):
        row = group.gpus[at : at + columns]
        for number, gpu in enumerate(row):
            _draw_gpu(root, left + PAD + number * (inner + GAP), base, inner, gpu)
        base += max(_gpu_height(gpu) for gpu in row)
    if not group.gpus:
        write(root, left + PAD, base + 18, "no GPU", "bad", SMALL, "bold")
        base += SLICE_HEIGHT
    for item in group.slices:
        _draw_slice(root, left + PAD, base + 14, width - 2 * PAD, item)
        base += SLICE_HEIGHT
    if not group.slices:
        write(root, left + PAD, base + 14, "no slice", "soft")


def draw_heading(root: Xml.Element, left: float, top: float, width: float, view: HostView) -> None:
    """Name, facts and tally of a machine; what they say is cut to the room that there is."""
    tone = STATES[view.state]
    name = cut(view.outcome.host, width / 2, 15, BOLD)
    write(root, left + 14, top + 24, SIGNS[view.state], tone, 14, "bold")
    write(root, left + 32, top + 24, name, size=15, weight="bold")
    write(root, left + width - 14, top + 24, view.tally, tone, SMALL, anchor="end")
    begin = left + 32 + width_of(name, 15, BOLD) + 12
    room = left + width - 26 - width_of(view.tally, SMALL) - begin
    write(root, begin, top + 24, cut(view.about, room, SMALL), "soft", SMALL)


def _edge(root: Xml.Element, left: float, top: float, height: float, states: list[State]) -> None:
    tones = [STATES[state] for state in states]
    tone = next((tone for tone in ("bad", "warn") if tone in tones), "")
    if tone:
        place = numbers(x=left, y=top, width=3.0, height=height, rx=1.5)
        Xml.SubElement(root, "rect", place | colour(tone))


def _gpu_height(gpu: GpuView) -> float:
    return GPU_HEIGHT + (CUT_HEIGHT if any(share.label for share in gpu.shares) else 0)


def _draw_gpu(root: Xml.Element, left: float, top: float, width: float, gpu: GpuView) -> None:
    whole = Xml.SubElement(root, "g")
    Xml.SubElement(whole, "title").text = gpu.words
    told = "lost" if gpu.state == "lost" else gpu.memory
    if gpu.sight.temperature_c is not None and gpu.state != "lost":
        told += f" · {gpu.sight.temperature_c} °C"
    tone = "ink" if gpu.state == "ok" else STATES[gpu.state]
    end = left + width
    if gpu.state != "ok":
        # Letters of another font stand alone: some viewers draw all of a text in the one that has them.
        write(whole, end, top + 18, SIGNS[gpu.state], tone, SMALL, anchor="end")
        end -= 16
    write(whole, left, top + 18, gpu.name, size=PLAIN, weight="bold")
    write(whole, end, top + 18, told, tone, SMALL, anchor="end")
    begin = left + width_of(gpu.name, PLAIN, BOLD) + 7
    room = end - begin - width_of(told, SMALL) - 8
    write(whole, begin, top + 18, cut(gpu.card, room, SMALL), "soft", SMALL)
    track = numbers(x=left, y=top + 24, width=width, height=BAR + 1 + PLAN, rx=2)
    Xml.SubElement(whole, "rect", track | colour("track"))
    if gpu.state == "lost":
        Xml.SubElement(whole, "rect", track | {"fill": "url(#lost)"})
    for share in gpu.shares:
        _draw_share(whole, left, top + 24, width, share)


def _draw_share(root: Xml.Element, left: float, top: float, width: float, share: Share) -> None:
    begin = left + share.left * width
    for part, tone, y, height in (
        (share.used, "used", top, BAR),
        (share.planned, "plan", top + BAR + 1, PLAN),
    ):
        if part:
            place = numbers(x=begin, y=y, width=part * width, height=height)
            Xml.SubElement(root, "rect", place | colour(tone))
    if share.label:
        end = begin + share.width * width
        gap = numbers(x=end - 2, y=top, width=2.0, height=BAR + 1 + PLAN)
        Xml.SubElement(root, "rect", gap | colour("raised"))
        short = share.label.split(".")[0]
        words, room = f"{short} {share.slice or 'free'}", share.width * width - 3
        shown = words if width_of(words, 10) <= room else cut(short, room, 10)
        write(root, begin, top + 28, shown, "soft", 10)


def _draw_slice(root: Xml.Element, left: float, base: float, width: float, item: SliceView) -> None:
    told = item.state if item.state in ("failed", "drained") else item.speed
    tone = "ink" if told == item.speed else STATES[item.state]
    weight = "normal" if told == item.speed else "bold"
    name = cut(item.sight.name, width / 2, PLAIN, BOLD)
    write(root, left, base, SIGNS[item.state], STATES[item.state], PLAIN)
    write(root, left + 16, base, name, weight="bold")
    write(root, left + width, base, told, tone, PLAIN, weight, "end")
    begin = 16 + width_of(name, PLAIN, BOLD) + 7
    room = width - begin - width_of(told, PLAIN, BOLD) - 8
    words = cut(item.serves, room, PLAIN)
    write(root, left + begin, base, words, "soft")
