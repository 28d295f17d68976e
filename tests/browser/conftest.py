"""A headless Chromium for these tests, and pages in it whose console and requests are watched."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = (
    "apt-get",
    "-qq",
    "-y",
    "-o",
    "DPkg::Lock::Timeout=300",
    "install",
    "--no-install-recommends",
)
PHONE, DESKTOP = (390, 844), (1440, 900)
Opened = Callable[..., AbstractContextManager[Page]]


def chromium() -> str | None:
    """The browser's path; as root it is installed where it is missing."""
    if not _found() and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (("apt-get", "-qq", "update"), (*INSTALL, "chromium", "fonts-dejavu-core")):
            subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL)
    return _found()


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


# Not for the whole session: while it is open Playwright's event loop runs in this thread, and tests that
# come after in the same worker could run none of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("no Chromium here: `apt-get install chromium` as root")
    with sync_playwright() as playwright:
        # Root has no sandbox of its own; what is opened is our own page.
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Opened:
    """Opens a page's text as a file, and fails where the console or the network hears of anything."""

    @contextmanager
    def open_page(
        text: str, size: tuple[int, int] = DESKTOP, colours: str = "light", script: bool = True
    ) -> Iterator[Page]:
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        heard: list[str] = []
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=colours,  # type: ignore[arg-type]
            java_script_enabled=script,
            permissions=["clipboard-read", "clipboard-write"],
        )
        page = context.new_page()
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: heard.append(f"request: {request.url}"))
        try:
            page.goto(file.as_uri())
            yield page
        finally:
            context.close()
        assert [one for one in heard if not one.startswith("request: data:")] == [
            f"request: {file.as_uri()}"
        ]

    return open_page
