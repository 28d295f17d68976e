"""The pictures of docs/prometheus.md: our dashboards, drawn by Grafana's own components, of what a Prometheus
answers that looks at a fleet (such as one of the lab).

    npm install --prefix FOLDER @grafana/ui@13 @grafana/data@13 react@19 react-dom@19 esbuild
    python -m tests.browser.dashboards URL FOLDER MINUTES

`URL` is Prometheus', the last `MINUTES` are drawn. For people who change the table of dashboards: nothing of
it is installed by `make setup`, or run by `make test`.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Route, sync_playwright

from ollama_fleet.monitor.dashboards import dashboard_files
from tests.browser.conftest import chromium

PICTURES = Path(__file__).parents[2] / "docs/pictures"
PROGRAM = Path(__file__).with_suffix(".jsx")
WIDTH, POINTS = 1400, 240
# A page of its own origin, for these components look into the browser's store.
PAGE, BODY = "http://localhost:1/page", '<body style="margin: 0"><div id="root"></div></body>'


def main(url: str, folder: str, minutes: str) -> None:
    """Write a picture of every dashboard."""
    built = build(Path(folder))
    end = time.time()
    begin = end - 60 * float(minutes)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for name, text in dashboard_files().items():
            found = {"dashboard": json.loads(text), "from": begin, "to": end, "width": WIDTH}
            found["answers"] = answers(url, found["dashboard"], begin, end)
            shoot(browser, built, found, PICTURES / f"dashboard-{name.removesuffix('.json')}.png")
        browser.close()


def build(folder: Path) -> list[Path]:
    """Program and styles of the page, with everything in them."""
    program = folder / PROGRAM.name
    program.write_bytes(PROGRAM.read_bytes())
    loaders = [f"--loader:.{kind}=dataurl" for kind in ("svg", "ttf", "woff2")]
    command = [
        folder / "node_modules/.bin/esbuild",
        program,
        "--bundle",
        "--jsx=automatic",
        *loaders,
    ]
    command += ['--define:process.env.NODE_ENV="production"', f"--outfile={folder}/page.js"]
    subprocess.run(command, check=True, cwd=folder)
    return [
        folder / "page.js",
        folder / "page.css",
        folder / "node_modules/uplot/dist/uPlot.min.css",
    ]


def answers(url: str, dashboard: dict[str, Any], begin: float, end: float) -> dict[str, Any]:
    """What Prometheus says to every question of every panel, with everything chosen."""
    found: dict[str, Any] = {}
    for panel in dashboard["panels"]:
        asked = {target["refId"]: target for target in panel["targets"]}
        found[panel["id"]] = {ref: _ask(url, one, begin, end) for ref, one in asked.items()}
    return found


def _ask(url: str, target: dict[str, Any], begin: float, end: float) -> list[dict[str, Any]]:
    expr = target["expr"].replace("$__rate_interval", "1m")
    query = {"query": re.sub(r"\$[a-z]\w*", ".*", expr)}
    if target["instant"]:
        path, more = "query", {"time": end}
    else:
        path, more = "query_range", {"start": begin, "end": end, "step": (end - begin) / POINTS}
    said = httpx.get(f"{url}/api/v1/{path}", params={**query, **more}, timeout=60, trust_env=False)
    rows: list[dict[str, Any]] = said.raise_for_status().json()["data"]["result"]
    return rows


def shoot(browser: Browser, built: list[Path], found: dict[str, Any], picture: Path) -> None:
    """Draw one dashboard; what goes wrong in the page ends it."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    page.on("pageerror", lambda error: sys.exit(f"{picture.name}: {error}"))
    page.route("**/*", _answer)
    page.goto(PAGE)
    page.add_script_tag(content=f"window.INPUT = {json.dumps(found)}")
    for path in built:
        if path.suffix == ".css":
            page.add_style_tag(path=path)
    page.add_script_tag(path=built[0])
    height = page.evaluate("window.HEIGHT")
    page.set_viewport_size({"width": WIDTH, "height": int(height)})
    page.wait_for_timeout(3000)  # curves are drawn when their places are known
    page.screenshot(path=picture)
    page.close()


def _answer(route: Route) -> None:
    """Nothing is fetched from anywhere."""
    if route.request.url == PAGE:
        route.fulfill(body=BODY, content_type="text/html")
    else:
        route.abort()


if __name__ == "__main__":
    main(*sys.argv[1:])
