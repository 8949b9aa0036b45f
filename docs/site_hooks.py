"""What the site takes from outside of docs/: the README as its first page, files that pages link to, the ranking."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
RANKING = ROOT / "dmseg" / "leaderboard" / "leaderboard.html"
_OUTSIDE = re.compile(r"\]\(\.\./([^)#\s]+)")
_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):(?=<code>~?)")
_SEARCH = '<div class="md-search" data-md-component="search" role="dialog"'
_README_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the README as index.md, and under source/ each file outside of docs/ that a page links to."""
    wanted = set()
    for page in Path(config.docs_dir).glob("*.md"):
        wanted.update(_OUTSIDE.findall(page.read_text("utf-8")))
    readme = (ROOT / "README.md").read_text("utf-8")
    wanted.update(link for link in _README_LINK.findall(readme) if not link.startswith("docs/"))
    for name in sorted(wanted):
        files.append(File.generated(config, f"source/{_name(name)}", abs_src_path=str(ROOT / name)))
    files.append(File.generated(config, RANKING.name, abs_src_path=str(RANKING)))
    files.append(File.generated(config, "index.md", content=_README_LINK.sub(_link_of_readme, readme)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links out of docs/ into links to the copies under source/."""
    if "/" in page.file.src_uri:
        return markdown
    return _OUTSIDE.sub(lambda match: f"](source/{_name(match[1])}", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Take the names of roles (``:class:``) out of docstrings, written for ``help()``, too; name the search."""
    return _ROLE.sub("", output).replace(_SEARCH, f'{_SEARCH} aria-label="Search"')


def _name(path: str) -> str:
    """Return the name of a copy; Markdown outside of docs/ would lose its own links as a page, so it stays text."""
    return path + ".txt" if path.endswith(".md") or "." not in Path(path).name else path


def _link_of_readme(match: re.Match[str]) -> str:
    link = match[1]
    return f"]({link.removeprefix('docs/')}" if link.startswith("docs/") else f"](source/{_name(link)}"
