"""The built site in a real browser: no console error, no outside request, no serious accessibility violation."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe import find_violations
from browser import open_address

pytestmark = pytest.mark.browser

SITE = Path(os.environ.get("DMSEG_SITE") or Path(__file__).parents[1] / "site")
PAGES = ("", "gallery/", "degradations/", "evaluate/", "api/", "click_demo.html", "leaderboard.html")
LOOKS = [("light", 1200), ("dark", 1200), ("light", 400)]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    if not (SITE / "index.html").is_file():
        pytest.skip("no built site: make site")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_are_quiet_and_accessible(address: str, scheme: str, width: int) -> None:
    with open_address(address, scheme=scheme, width=width) as (page, events):
        for path in PAGES:
            page.goto(address + path)
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            assert page.evaluate("[...document.images].every(i => i.loading === 'lazy' || i.naturalWidth > 0)"), path
            assert events == [], path
            assert find_violations(page) == [], path


def test_search_finds_a_page(address: str) -> None:
    with open_address(address) as (page, events):
        page.locator("[data-md-component=search-query]").click()
        page.keyboard.type("speckle")
        found = page.locator(".md-search-result__link")
        found.first.wait_for(timeout=20000)
        assert any("degradations" in link.get_attribute("href") for link in found.all())
    assert events == []
