"""The docs as a site: every page is in it, no link is dead, and nothing is fetched from elsewhere."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [ROOT / ".venv" / "bin" / "mkdocs", "build", "--strict", "-d", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_on_the_site(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    wanted = {str(page.with_suffix(".html")).replace("README.html", "index.html") for page in pages}
    made = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    assert wanted <= made and "README.zh.html" in made


def test_the_first_page_is_the_readme(site: Path) -> None:
    assert "make demo" in (site / "index.html").read_text("utf-8")


def test_a_reader_s_browser_asks_nobody_else(site: Path) -> None:
    loads = re.compile(
        r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"(https?:)?//[^\"]*\"[^>]*>"
    )
    for page in site.rglob("*.html"):
        found = [match[0] for match in loads.finditer(page.read_text("utf-8"))]
        assert not [tag for tag in found if 'rel="canonical"' not in tag], page
