"""The picture of a fleet as PNG, where SVG is not shown.

Brings its own letters, so that it looks the same where there is no font; what they lack (those of East
Asia, say) comes from the machine's own, where it has them.
"""

from pathlib import Path

from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.fleet_svg import fleet_svg

FONTS = Path(__file__).with_name("fonts")
FAMILY = "Noto Sans"


def fleet_png(outcome: Outcome, zoom: int = 2) -> bytes:
    """The picture's bytes; `zoom` pixels for each of the picture's own."""
    from resvg_py import svg_to_bytes

    return svg_to_bytes(
        svg_string=fleet_svg(outcome),
        zoom=zoom,
        font_files=[str(path) for path in sorted(FONTS.glob("*.ttf"))],
        font_family=FAMILY,
        sans_serif_family=FAMILY,
    )
