"""What every SVG picture is drawn with: text that fits its place, numbers without tails."""

import unicodedata
from xml.etree import ElementTree as Xml

from ollama_fleet.report.text import one_line

INK, SOFT = "#222222", "#555555"
# Widths of letters as shares of the font's size, of Noto Sans; others are as wide as most.
WIDTHS = {
    0.2: "'",
    0.26: " !,.:;Jijl·",
    0.3: "()-`",
    0.35: "/I[]ft\\",
    0.42: '"r{}°',
    0.46: "?_z",
    0.5: "FLcsvy",
    0.56: "$*+0123456789<=>ESTYZ^aekx|~",
    0.61: "KPRVXbdghnopqu",
    0.64: "#ABC",
    0.75: "&DGHNU…",
    0.79: "OQw",
    0.9: "@M%",
    0.94: "Wm",
}
LETTER = {letter: width for width, letters in WIDTHS.items() for letter in letters}
MOST, WIDE = 0.58, 1.05
# Of bold letters against these.
BOLD = 1.06


def text(
    root: Xml.Element,
    left: float,
    base: float,
    words: str,
    *,
    size: float = 13,
    weight: str = "normal",
    fill: str = INK,
    **attributes: str,
) -> Xml.Element:
    """Words at a place; further attributes as they are, `_` in their names for `-`."""
    element = Xml.SubElement(root, "text", numbers(x=left, y=base, fill=fill))
    element.attrib |= {"font-size": f"{size:g}", "font-weight": weight}
    element.attrib |= {name.replace("_", "-"): value for name, value in attributes.items()}
    element.text = one_line(words)
    return element


def cut(words: str, width: float, size: float, heavier: float = 1.0) -> str:
    """Words shortened with … where they would be wider than `width` at this size."""
    words = one_line(words)
    if width_of(words, size, heavier) <= width:
        return words
    while words and width_of(words + "…", size, heavier) > width:
        words = words[:-1]
    return f"{words.rstrip()}…" if words else ""


def width_of(words: str, size: float, heavier: float = 1.0) -> float:
    """About how wide they are drawn; letters of East Asia are wide."""
    return size * heavier * sum(map(_letter, words))


def _letter(character: str) -> float:
    wide = unicodedata.east_asian_width(character) in "WF"
    return WIDE if wide else LETTER.get(character, MOST)


def numbers(**values: object) -> dict[str, str]:
    """Attributes with numbers rounded to a tenth."""
    return {
        name: f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
        for name, value in values.items()
    }
