"""A page in headless Chromium with the network off; skips with a reason where there is no Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def open_page(
    path: Path, *, scheme: str = "light", width: int = 1200, fragment: str = ""
) -> Iterator[tuple[Any, list[str]]]:
    """Yield the page and the list of everything that must not happen: requests, console errors, exceptions."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    events: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True)
            page = context.new_page()
            page.on("console", lambda m: events.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda e: events.append(str(e)))
            page.on("request", lambda r: events.append(r.url) if not r.url.startswith(("file:", "data:")) else None)
            page.goto(path.resolve().as_uri() + fragment)
            yield page, events
        finally:
            browser.close()


def count_pages(page: Any) -> int:
    """Return on how many sheets a page is printed, in its own size of paper."""
    return len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(prefer_css_page_size=True)))
