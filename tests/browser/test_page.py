"""The page of a verification as people meet it: light and dark, on a phone and a desk, by keys, on paper."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ollama_fleet.report.fleet_svg import fleet_svg
from ollama_fleet.report.page import page_html
from tests.browser.conftest import DESKTOP, PHONE, Opened
from tests.unit.outcomes import history, hostile, many, recorded, well

CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
WIDTHS = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
EVERY_WAY = [(size, colours) for size in (PHONE, DESKTOP) for colours in ("light", "dark")]


def rows(page: Page, status: str) -> int:
    """Rows of results that can be seen."""
    return page.locator(f".of-host[open] tr[data-status={status}]:visible").count()


@pytest.mark.parametrize(("size", "colours"), EVERY_WAY)
@pytest.mark.parametrize("what", ["ill", "well", "hostile"])
def test_it_fits_every_screen_and_can_be_read(
    opened: Opened, what: str, size: tuple[int, int], colours: str
) -> None:
    outcome = {"ill": recorded(), "well": well(recorded()), "hostile": hostile()}[what]
    with opened(page_html(outcome, history()), size, colours) as page:
        page.get_by_role("button", name="All", exact=True).click()
        wide, seen = page.evaluate(WIDTHS)
        assert wide <= seen
        assert page.evaluate(CONTRAST) == []
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 18, 22)"
        assert dark == (colours == "dark")


def test_too_pale_a_text_would_be_noticed(opened: Opened) -> None:
    with opened(
        "<!doctype html><body style='background:#fff'><p class=x style='color:#999'>pale"
    ) as page:
        assert page.evaluate(CONTRAST) == [["pale", "x", 2.85]]


@pytest.mark.parametrize("width", [320, 600, 721, 768, 1024, 1920])
def test_no_width_scrolls_sideways(opened: Opened, width: int) -> None:
    with opened(page_html(recorded(), history(24)), (width, 800)) as page:
        page.get_by_role("button", name="All", exact=True).click()
        wide, seen = page.evaluate(WIDTHS)
        assert wide <= seen


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_what_failed_is_seen_before_anybody_does_anything(
    opened: Opened, size: tuple[int, int]
) -> None:
    with opened(page_html(recorded(), history()), size) as page:
        assert page.get_by_role("heading", level=1).inner_text() == (
            "✕15 checks failed, 1 machine not verified"
        )
        assert (rows(page, "failed"), rows(page, "warning"), rows(page, "ok")) == (16, 0, 0)
        assert page.locator("#shown").inner_text() == "16 shown"


def test_results_can_be_chosen_and_searched(opened: Opened) -> None:
    with opened(page_html(recorded(), history())) as page:
        page.get_by_role("button", name="Failed and warnings").click()
        assert (rows(page, "failed"), rows(page, "warning")) == (16, 3)
        page.get_by_role("button", name="All", exact=True).click()
        assert page.locator("#shown").inner_text() == "139 shown"
        page.get_by_label("Search the results").fill("gpu02 INFERENCE")
        expect(page.locator("#shown")).to_have_text("4 shown")
        assert rows(page, "ok") == 4
        page.get_by_label("Search the results").fill("there is no such thing")
        page.wait_for_selector("#none:visible")
        assert page.locator(".of-host:visible").count() == 0


def test_a_command_is_copied(opened: Opened) -> None:
    with opened(page_html(recorded())) as page:
        row = page.locator("tr", has_text="then deploy again").filter(has_text="unit").first
        row.get_by_role("button", name="Copy the command").click()
        page.wait_for_function(
            "document.querySelector('[data-copy]:focus')?.textContent === 'copied'"
        )
        assert (
            page.evaluate("navigator.clipboard.readText()") == "journalctl -u ollama-code.service"
        )


def test_colours_can_be_turned(opened: Opened) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(page_html(recorded())) as page:
        page.get_by_role("button", name="Show in dark colours").click()
        assert page.evaluate(ground) == "rgb(14, 18, 22)"
        page.get_by_role("button", name="Show in light colours").click()
        assert page.evaluate(ground) == "rgb(244, 245, 247)"


def test_the_keyboard_reaches_everything(opened: Opened) -> None:
    with opened(page_html(recorded(), history())) as page:
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate(
                    "(e => e.id || e.dataset.show || e.className || e.tagName)(document.activeElement)"
                )
            )
        assert reached[:2] == ["skip", "theme"]
        assert {"panel past", "failed", "warning", "all", "search", "SUMMARY"} <= set(reached)
        page.locator(".of-host summary").first.focus()
        page.keyboard.press("Enter")
        assert page.locator(".of-host").first.get_attribute("open") is None


def test_names_and_roles_are_there_for_screen_readers(opened: Opened) -> None:
    with opened(page_html(recorded(), history())) as page:
        for name in ("Fleet", "Results", "Last runs", "Since the last run"):
            assert page.get_by_role("heading", name=name, exact=True).count() == 1
        lost = page.get_by_role("img", name="GPU 5")
        assert (lost.get_attribute("aria-label") or "").endswith("lost")
        nameless = "[...document.querySelectorAll('button, input, svg[role=img]')].filter((e) => "
        nameless += "!(e.textContent.trim() || e.getAttribute('aria-label'))).length"
        assert page.evaluate(nameless) == 0


def test_without_scripts_every_result_is_there(opened: Opened) -> None:
    with opened(page_html(recorded()), script=False) as page:
        assert page.locator("tbody tr").filter(visible=True).count() == 139
        assert not page.locator("#search").is_visible()


def test_on_paper_it_is_light_and_complete(opened: Opened) -> None:
    with opened(page_html(recorded()), colours="dark") as page:
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert rows(page, "failed") == 16
        assert not page.locator("#theme").is_visible()


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_five_hundred_hosts_open_at_once(opened: Opened, size: tuple[int, int]) -> None:
    fleet = many(500)
    text = page_html(fleet, [fleet] * 3)
    started = time.monotonic()
    with opened(text, size) as page:
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        # One second where the machine has nothing else to do; how much there is to lay out is the same
        # everywhere.
        assert time.monotonic() - started < 15
        assert page.evaluate("document.querySelectorAll('*').length") < 60_000
        wide, seen = page.evaluate(WIDTHS)
        assert wide <= seen
        assert rows(page, "failed") == 140


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_picture_alone_follows_the_page_it_is_on(opened: Opened, colours: str) -> None:
    with opened(f"<!doctype html><title>x</title>{fleet_svg(recorded())}", colours=colours) as page:
        ground = "getComputedStyle(document.querySelector('svg > rect')).fill"
        assert page.evaluate(ground) == (
            "rgb(14, 18, 22)" if colours == "dark" else "rgb(244, 245, 247)"
        )
        box = page.locator("svg").bounding_box()
        assert box and (box["width"], box["height"]) == (1200, pytest.approx(517, abs=1))
        outside = """[...document.querySelectorAll('svg text')].filter((text) => {
            const box = text.getBBox(); return box.x < 0 || box.x + box.width > 1200; }).length"""
        assert page.evaluate(outside) == 0
