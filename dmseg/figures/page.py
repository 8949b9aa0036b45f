"""The frame of every page that dmseg writes: one self-contained HTML document that opens anywhere, without a network.

The content-security policy allows exactly the page's own style sheet and script (by their hashes) and pictures that
are embedded: no request leaves the page, and a text that slipped through escaping could not run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.figures.svg import FIGURE_CSS


@cache
def _page_css() -> str:
    return resources.files("dmseg.figures").joinpath("page.css").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def page(title: str, body: str, *, style: str = "", script: str = "", asks_itself: bool = False) -> str:
    """Return the HTML document.

    Args:
        title: plain text, escaped here.
        body: HTML of the body, every given text in it already escaped; no style attributes, no event attributes.
        style: rules beside the common ones.
        script: plain JavaScript, run at the end of the body; empty for none.
        asks_itself: whether the script may ask the address that the page came from, and nobody else.
    """
    sheet = _page_css() + FIGURE_CSS + style
    policy = [
        "default-src 'none'",
        "img-src data:",
        f"style-src {_hash(sheet)}",
        f"script-src {_hash(script) if script else chr(39) + 'none' + chr(39)}",
        *(["connect-src 'self'"] if asks_itself else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(policy)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{sheet}</style></head>\n'
        f"<body>\n{body}\n{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def embed_png(picture: NDArray[np.uint8]) -> str:
    """Return a uint8 (H, W, 3) RGB or (H, W) picture as a ``data:`` address of a PNG."""
    ordered = picture[..., ::-1] if picture.ndim == 3 else picture
    done, content = cv2.imencode(".png", np.ascontiguousarray(ordered), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not done:
        raise ValueError(f"not a picture that PNG can hold: {picture.dtype} {picture.shape}")
    return "data:image/png;base64," + base64.b64encode(content.tobytes()).decode()
