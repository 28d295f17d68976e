"""The pages for users: each can be found from the README, and every link leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\b(docs/[\w./-]+\.md\b)(?:#([\w-]+))?")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def links(page: Path) -> list[str]:
    """Relative links of a page, with what comes after `#`."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_that_a_message_or_an_alert_names_is_there() -> None:
    """Messages of ours, units, alert rules (`runbook:`) and workflows: page and heading."""
    folders = (ROOT / name for name in ("ollama_fleet", "tasks", "templates", "ci"))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    for file in files:
        if file.suffix == ".pyc":
            continue
        for name, anchor in NAMED.findall(file.read_text("utf-8", "ignore")):
            assert (ROOT / name).exists(), f"{file}: {name}"
            assert not anchor or anchor in anchors(ROOT / name), f"{file}: {name}#{anchor}"


def test_every_page_for_users_is_found_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
    assert not set((ROOT / "docs").glob("*.md")) - seen
