"""A page in headless Chromium; skips with a reason where there is no Chromium."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_SHARED: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def share_browser() -> Iterator[None]:
    """One Chromium for the tests of a module, started by the first that opens a page; each page has its own context."""
    with ExitStack() as stack:
        _SHARED["stack"] = stack
        yield
        _SHARED.clear()


def _find_browser() -> Any:
    if "browser" not in _SHARED:
        sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
        playwright = _SHARED["stack"].enter_context(sync_api.sync_playwright())
        chromium = shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(chromium).is_file():
            pytest.skip("no chromium on this machine: playwright install chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        _SHARED["stack"].callback(browser.close)
        _SHARED["browser"] = browser
    return _SHARED["browser"]


@contextmanager
def open_address(
    address: str, *, scheme: str = "light", width: int = 1200, height: int = 900, offline: bool = False, **context: Any
) -> Iterator[tuple[Any, list[str]]]:
    """Yield the page and the list of everything that must not happen: outside requests, console errors, exceptions.

    Args:
        address: what is opened; requests within its origin are its own.
        offline: whether the network is off.
        **context: more of the browser's context, such as has_touch.
    """
    events: list[str] = []
    parts = urlsplit(address)
    own = ("data:", "blob:", f"{parts.scheme}://{parts.netloc}/")
    size = {"width": width, "height": height}
    made = _find_browser().new_context(color_scheme=scheme, viewport=size, offline=offline, **context)
    try:
        page = made.new_page()
        page.on("console", lambda m: events.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: events.append(str(e)))
        page.on("request", lambda r: None if r.url.startswith(own) else events.append(r.url))
        page.goto(address)
        yield page, events
    finally:
        made.close()


def open_page(path: Path, *, fragment: str = "", **look: Any) -> AbstractContextManager[tuple[Any, list[str]]]:
    """Open a file as :func:`open_address` does, with the network off."""
    return open_address(path.resolve().as_uri() + fragment, offline=True, **look)


def count_pages(page: Any) -> int:
    """Return on how many sheets a page is printed, in its own size of paper."""
    return len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(prefer_css_page_size=True)))
