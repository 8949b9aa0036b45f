"""The page: one document with its own style and script; it asks nobody but the address that it came from."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from dmseg.figures import page


def build_page(title: str, recorded: dict[str, Any] | None = None) -> str:
    """Return the HTML document.

    Args:
        title: what is clicked on, plain text.
        recorded: answers that the page holds itself (see :mod:`dmseg.click.export`), or None: it asks its server.
    """
    parts = resources.files("dmseg.click")
    body, style, script = (parts.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    if recorded is not None:
        # A text inside of a script ends at "</": JSON may write the slash with a backslash.
        held = json.dumps(recorded, separators=(",", ":")).replace("</", "<\\/")
        script = f"const RECORDED = {held};\n{script}"
    else:
        script = f"const RECORDED = null;\n{script}"
    return page(f"dmseg click: {title}", body, style=style, script=script, asks_itself=recorded is None)
