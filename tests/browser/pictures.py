"""The pictures of docs/reports.md, of the recorded verification: `python -m tests.browser.pictures`."""

from pathlib import Path

from playwright.sync_api import sync_playwright

from ollama_fleet.report.fleet_png import fleet_png
from ollama_fleet.report.fleet_svg import fleet_svg
from ollama_fleet.report.page import page_html
from tests.browser.conftest import chromium
from tests.unit.outcomes import history, recorded

FOLDER = Path(__file__).parents[2] / "docs/pictures"
# Name to width, height and colours.
SHOTS = {
    "report-desktop-light": (1280, 1080, "light"),
    "report-desktop-dark": (1280, 1080, "dark"),
    "report-phone": (390, 1500, "light"),
}


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "fleet.svg").write_text(fleet_svg(recorded()), encoding="utf-8")
    (FOLDER / "fleet.png").write_bytes(fleet_png(recorded()))
    text = page_html(recorded(), history())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for name, (width, height, colours) in SHOTS.items():
            page = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme=colours,  # type: ignore[arg-type]
            )
            page.set_content(text)
            page.screenshot(path=FOLDER / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
