"""A verification as one HTML page: what failed, the picture of the fleet, every result, the last runs.

Needs nothing from outside and asks nothing of the network: it opens from a file, an artifact store or a mail.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ollama_fleet.checks.kinds import kind_of
from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.counts import changes, counts, verdict
from ollama_fleet.report.fleet_picture import SIGNS, HostView, picture
from ollama_fleet.report.page_history import duration, history_view, moment
from ollama_fleet.report.page_results import result_rows
from ollama_fleet.report.text import fit

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent
# More machines than this, and those that are well are tiles without their slices.
MOST_CARDS = 24
# Of a large fleet so many machines that are not well have all of their picture.
MOST_ILL = 60
MOST_CHANGES = 40


def page_html(outcome: Outcome, history: Sequence[Outcome] = ()) -> str:
    """The page; `history` are earlier runs, the oldest first."""
    cards, tiles = _cards_and_tiles(picture(outcome))
    news = changes(outcome, history)
    return _template().render(
        outcome=outcome,
        counts=counts(outcome),
        verdict=verdict(outcome),
        when=moment(outcome.started),
        took=duration(outcome.seconds),
        before=moment(history[-1].started) if history else "",
        news=news[:MOST_CHANGES],
        more_news=max(0, len(news) - MOST_CHANGES),
        cards=cards,
        tiles=tiles,
        hosts=result_rows(outcome),
        past=history_view(outcome, history) if history else None,
        show=_shown_first(outcome),
    )


def _cards_and_tiles(
    views: Sequence[HostView],
) -> tuple[Sequence[HostView], Sequence[HostView]]:
    if len(views) <= MOST_CARDS:
        return views, ()
    ill = [view for view in views if view.state != "ok"][:MOST_ILL]
    return ill, [view for view in views if view not in ill]


def _shown_first(outcome: Outcome) -> str:
    """What the results show before anybody chose: what there is to do."""
    found = counts(outcome)
    if found.failed or found.unreachable:
        return "failed"
    return "warning" if found.warnings else "all"


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: fit(value) if type(value) is str else value,
    )
    environment.globals.update(
        css=Markup(_file("page.css")), js=Markup(_file("page.js")), signs=SIGNS, kind_of=kind_of
    )
    environment.filters.update(thousandth=_thousandth)
    return environment.from_string(_file("page.html.j2"))


def _thousandth(fraction: float) -> str:
    """A fraction as the drawings count it: of 1000, without a tail."""
    return f"{fraction * 1000:.1f}".removesuffix(".0")


def _file(name: str) -> Any:
    return (FOLDER / name).read_text(encoding="utf-8")
