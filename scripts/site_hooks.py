"""What the docs need to be a site: the README as its first page, and files elsewhere that pages link to."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
# Where files from outside docs/ lie on the site.
OUTSIDE = "files"


def on_files(files: Files, config: Any) -> Files:
    """Add the READMEs, and each file outside docs/ that a page names."""
    for name, readme in (("index.md", "README.md"), ("README.zh.md", "README.zh.md")):
        text = (ROOT / readme).read_text("utf-8")
        files.append(File.generated(config, name, content=_moved(text, ROOT, "")))
    pages = [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "README.zh.md"]
    for target in sorted({path for page in pages for path in _outside(page)}):
        place = f"{OUTSIDE}/{target.relative_to(ROOT)}"
        # As text: a browser shows it, and MkDocs takes no README among them for a page.
        files.append(File.generated(config, f"{place}.txt", content=_text(target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of pages in docs/ that lead out of it, to where those files lie on the site."""
    if page.file.generated_by:
        return markdown
    up = "../" * page.file.src_uri.count("/")
    return _moved(markdown, (DOCS / page.file.src_uri).parent, up)


def _outside(page: Path) -> list[Path]:
    """Files and folders of the repository that a page names and that are no pages of the site."""
    found = [(page.parent / match[2]).resolve() for match in LINK.finditer(page.read_text("utf-8"))]
    return [path for path in found if _is_outside(path)]


def _is_outside(path: Path) -> bool:
    known = path.is_relative_to(DOCS) or path in (ROOT / "README.md", ROOT / "README.zh.md")
    return path.is_relative_to(ROOT) and path.exists() and not known


def _moved(markdown: str, folder: Path, up: str) -> str:
    def one(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        before, anchor, after = match[1], match[3] or "", match[4]
        if target == ROOT / "README.md":
            return f"{before}{up}index.md{anchor}{after}"
        if target == ROOT / "README.zh.md":
            return f"{before}{up}README.zh.md{anchor}{after}"
        if target.is_relative_to(DOCS) and not match[2].startswith("http"):
            return f"{before}{up}{target.relative_to(DOCS)}{anchor}{after}"
        if _is_outside(target):
            return f"{before}{up}{OUTSIDE}/{target.relative_to(ROOT)}.txt{after}"
        return match[0]

    return LINK.sub(one, markdown)


def _text(path: Path) -> str:
    if path.is_dir():
        return "".join(f"{item.name}\n" for item in sorted(path.iterdir()))
    return path.read_text("utf-8")
