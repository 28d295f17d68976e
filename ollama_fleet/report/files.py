"""A verification as files, one per form, each written at once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ollama_fleet.checks.outcome import Outcome
from ollama_fleet.report.kept_runs import write_whole
from ollama_fleet.yamlfile import YamlFile, read_yaml

# What a deploy writes into the folder that it is given.
OF_A_DEPLOY = {
    "json": "verification.json",
    "junit": "junit.xml",
    "ctrf": "ctrf.json",
    "html": "report.html",
}


def write_reports(
    outcome: Outcome, files: Mapping[str, Path], history: Sequence[Outcome] = ()
) -> None:
    """Write each form (json, junit, ctrf, sarif, html, svg, png) to its file. Raises OSError."""
    for form, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content(form, outcome, history))


def content(form: str, outcome: Outcome, history: Sequence[Outcome] = ()) -> bytes:
    """One form of it; each is loaded when it is wanted, for drawing needs more than others."""
    if form == "png":
        from ollama_fleet.report.fleet_png import fleet_png

        return fleet_png(outcome)
    return _TEXTS[form](outcome, history).encode()


def _json(outcome: Outcome, history: Sequence[Outcome]) -> str:
    from ollama_fleet.report.verification_json import outcome_text

    return outcome_text(outcome)


def _junit(outcome: Outcome, history: Sequence[Outcome]) -> str:
    from ollama_fleet.report.junit import junit_text

    return junit_text(outcome)


def _ctrf(outcome: Outcome, history: Sequence[Outcome]) -> str:
    from ollama_fleet.report.ctrf import ctrf_text

    return ctrf_text(outcome)


def _sarif(outcome: Outcome, history: Sequence[Outcome]) -> str:
    from ollama_fleet.report.sarif import sarif_text

    return sarif_text(outcome, _described(outcome))


def _html(outcome: Outcome, history: Sequence[Outcome]) -> str:
    from ollama_fleet.report.page import page_html

    return page_html(outcome, history)


def _svg(outcome: Outcome, history: Sequence[Outcome]) -> str:
    from ollama_fleet.report.fleet_svg import fleet_svg

    return fleet_svg(outcome)


def _described(outcome: Outcome) -> YamlFile | None:
    """The inventory as YAML, by which results have lines; an inventory in Python has none."""
    path = Path(outcome.inventory).with_suffix(".yml")
    return read_yaml(path) if path.is_file() else None


_TEXTS: dict[str, Callable[[Outcome, Sequence[Outcome]], str]] = {
    "json": _json,
    "junit": _junit,
    "ctrf": _ctrf,
    "sarif": _sarif,
    "html": _html,
    "svg": _svg,
}
