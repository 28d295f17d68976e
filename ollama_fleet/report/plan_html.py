"""A plan as one HTML page with its picture and arithmetic; needs nothing from outside."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ollama_fleet.planner.plan import HostPlan
from ollama_fleet.planner.refusal import Refusal
from ollama_fleet.report.plan_svg import plan_svg

TEMPLATE = Path(__file__).with_name("plan_page.html.j2")


def plan_html(title: str, plans: Mapping[str, HostPlan], refusals: Sequence[Refusal]) -> str:
    """The page of these hosts."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    # The picture is our own XML, escaped where it was made.
    picture = Markup(plan_svg(plans))
    return page.render(title=title, hosts=dict(plans), refusals=refusals, picture=picture)
