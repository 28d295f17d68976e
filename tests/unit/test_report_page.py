"""The page of a verification as a file: everything is in it, nothing breaks out of it, and it stays small."""

import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ollama_fleet.checks.outcome import HostOutcome, Outcome
from ollama_fleet.report.counts import changes
from ollama_fleet.report.page import page_html
from tests.unit.outcomes import HOSTILE, history, hostile, many, recorded, well

VOID = {"meta", "link", "col", "input", "img", "br", "rect", "path"}
KNOWN = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "style",
        "body",
        "a",
        "header",
        "div",
        "h1",
        "h2",
        "h3",
    ),
    *(
        "span",
        "p",
        "b",
        "i",
        "button",
        "main",
        "section",
        "ul",
        "li",
        "article",
        "svg",
        "rect",
        "path",
    ),
    *(
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "colgroup",
        "col",
        "input",
        "details",
        "summary",
    ),
    *("pre", "code", "footer", "script"),
}


class Page(HTMLParser):
    """Elements with their attributes, text by element, and whether everything is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == [], "not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())


EVERY = {
    "recorded": lambda: page_html(recorded(), history()),
    "without history": lambda: page_html(recorded()),
    "well": lambda: page_html(well(recorded()), history()),
    "hostile": lambda: page_html(hostile(), [hostile()]),
    "nobody": lambda: page_html(replace(recorded(), hosts=())),
    "many": lambda: page_html(many(60), [many(60)]),
}


@pytest.mark.parametrize("what", EVERY)
def test_a_page_is_well_formed_and_asks_nothing_of_the_network(what: str) -> None:
    page = Page(EVERY[what]())
    assert {tag for tag, _ in page.elements} <= KNOWN
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes
        if "href" in attributes and tag != "a":
            assert (attributes["href"] or "").startswith("data:image/svg+xml,")
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv"))
    assert (policy or "").startswith("default-src 'none'; style-src 'unsafe-inline'; script-src")


def test_what_hosts_say_is_text_and_nothing_else() -> None:
    text = page_html(hostile(), [hostile()])
    page = Page(text)
    assert "<img src=x onerror=alert(1)>" in page.text
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert text.count("<script>") == text.count("</script>") == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    assert HOSTILE not in text


def test_every_failure_is_there_with_what_was_expected_found_and_to_do() -> None:
    said = Page(page_html(recorded(), history())).text
    assert "15 checks failed, 1 machine not verified" in said
    for result in recorded().results:
        if result.status != "ok":
            assert " ".join(result.found.split())[:100] in said
            assert " ".join(result.expected.split())[:100] in said
    assert "journalctl -u ollama-code.service" in said
    assert "cannot be reached: Connection refused" in said


def test_the_picture_shows_gpus_slices_instances_and_what_is_lost() -> None:
    page = Page(page_html(recorded()))
    bars = [a.get("aria-label") or "" for tag, a in page.elements if a.get("role") == "img"]
    assert "GPU 0, RTX 3090: 10.6 of 24.0 GiB in use, 11.0 GiB planned" in bars
    assert any(bar.startswith("GPU 5") and bar.endswith(", lost") for bar in bars)
    assert any("2g.20gb medium" in bar and "1g.10gb free" in bar for bar in bars)
    for words in (
        ":11434 qwen3:32b",
        "115 tok/s",
        "drained",
        "10.0.0.11 · gateway · driver 580.95.05",
    ):
        assert words in page.text


def test_a_fleet_that_is_well_says_so() -> None:
    page = Page(page_html(well(recorded()), [well(recorded())]))
    assert "The fleet is well" in page.text and "Nothing changed." in page.text


def test_changes_since_the_last_runs_are_told_by_subject() -> None:
    news = changes(recorded(), history())
    code = next(one for one in news if one.subject == "code")
    assert (code.host, code.before, code.now) == ("gpu01", "ok", "failed")
    assert code.checks[:2] == ("unit", "environment") and len(code.checks) > 5
    assert changes(recorded(), []) == changes(recorded(), [recorded()]) == []
    better = changes(well(recorded()), [recorded()])
    assert {one.now for one in better} == {"ok"}


def test_a_run_over_one_host_does_not_make_all_others_new() -> None:
    """`--host gpu03` was the last run: what gpu01 is like is compared with the run before it."""
    alone = replace(recorded(), hosts=recorded().hosts[2:])
    assert changes(recorded(), [recorded(), alone]) == []


def test_history_has_a_cell_for_each_run_and_machine() -> None:
    text = page_html(recorded(), history(30))
    assert len(re.findall(r'<td class="p-', text)) == 3 * 24
    assert "2026-11-28 06:00 UTC: not verified" in text
    assert Page(page_html(well(recorded()), [well(recorded())])).text.count("3 machines well") == 1


def test_five_hundred_hosts_are_a_page_of_less_than_5_mb() -> None:
    fleet = many(500)
    started = time.monotonic()
    text = page_html(fleet, [fleet, fleet])
    assert time.monotonic() - started < 15
    assert len(text.encode()) < 5_000_000
    page = Page(text)
    assert page.text.count("gpu499") >= 2
    assert "unit ×6" in page.text


def test_machines_without_gpus_have_their_card() -> None:
    lone = replace(recorded(), hosts=(HostOutcome("gw1", ("gateway",), address="10.0.0.9"),))
    said = Page(page_html(lone)).text
    assert "no GPUs here" in said and "10.0.0.9 · gateway" in said


def test_the_same_outcome_gives_the_same_page() -> None:
    outcome: Outcome = recorded()
    assert page_html(outcome, history()) == page_html(outcome, history())
