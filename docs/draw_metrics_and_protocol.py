"""Draws the pictures of docs/metrics.md and docs/protocol.md with the package's own functions.

python docs/draw_metrics_and_protocol.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dmseg.metrics.reference import pixel_boundary, vertex_boundary
from dmseg.protocol import first_prompts, next_click, preset
from dmseg.protocol.boxes import candidate_boxes, tight_box
from dmseg.types import Mask

IMAGES = Path(__file__).parent / "images"
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#d9d9d9"  # Okabe-Ito
TEXT = 'font-family="sans-serif" font-size="13" fill="#222"'


def pixels(mask: Mask, cell: float, colour: str) -> str:
    """Return a mask as one path of unit squares, row by row."""
    parts = []
    for row, line in enumerate(mask):
        edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0))
        for start, stop in edges.reshape(-1, 2):
            parts.append(f"M{start * cell:g} {row * cell:g}h{(stop - start) * cell:g}v{cell:g}H{start * cell:g}z")
    return f'<path d="{"".join(parts)}" fill="{colour}"/>'


def dot(x: float, y: float, radius: float, colour: str) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{colour}" stroke="#fff" stroke-width="0.7"/>'


def panel(content: str, left: float, title: str) -> str:
    return f'<g transform="translate({left:g} 30)"><text x="0" y="-10" {TEXT}>{title}</text>{content}</g>'


def svg(name: str, width: float, height: float, panels: list[str]) -> None:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">'
    ground = '<rect width="100%" height="100%" fill="#fff"/>'
    (IMAGES / name).write_text(f"{head}{ground}{''.join(panels)}</svg>\n", encoding="utf-8")


def boundaries() -> None:
    """The two boundary conventions on one mask with a thin part."""
    y, x = np.mgrid[:11, :15]
    mask = ((y - 5) ** 2 + (x - 4) ** 2 < 14) | ((y == 5) & (x < 14))
    cell = 20
    square = pixels(mask, cell, GREY)
    vertices = vertex_boundary(mask.view(np.uint8), (1.0, 1.0))
    weights = vertices.pieces @ vertices.lengths
    corners = "".join(
        dot(j * cell, i * cell, 2.5 + 2 * w, BLUE) for (i, j), w in zip(vertices.points, weights, strict=True)
    )
    centres = pixel_boundary(mask.view(np.uint8), (1.0, 1.0)).points
    middles = "".join(dot((j + 0.5) * cell, (i + 0.5) * cell, 4.5, ORANGE) for i, j in centres)
    svg(
        "metrics_boundary.svg",
        680,
        270,
        [
            panel(square + corners, 15, "vertex (default): corners, weight = contour length"),
            panel(square + middles, 355, "pixel: centres, weight 1"),
        ],
    )


def clicks() -> None:
    """The two deterministic corrective rules on one error."""
    y, x = np.mgrid[:60, :90]
    reference = ((y - 30) ** 2 / 500 + (x - 40) ** 2 / 900 < 1) | ((y - 45) ** 2 + (x - 75) ** 2 < 70)
    prediction = ((y - 30) ** 2 / 480 + (x - 33) ** 2 / 800 < 1) & ~((y - 20) ** 2 + (x - 45) ** 2 < 50)
    prediction |= (y > 6) & (y < 10) & (x > 55)
    cell = 3.5
    layers = (
        pixels(reference & prediction, cell, GREY)
        + pixels(reference & ~prediction, cell, BLUE)
        + pixels(prediction & ~reference, cell, ORANGE)
    )
    panels = []
    for place, rule in enumerate(("center", "edt-max")):
        click = next_click(reference, prediction, corrective=rule)
        assert click is not None
        mark = dot((click.x + 0.5) * cell, (click.y + 0.5) * cell, 6, GREEN if click.label else PURPLE)
        panels.append(panel(layers + mark, 15 + 335 * place, f"{rule}: the next click"))
    svg("protocol_clicks.svg", 680, 250, panels)


def boxes() -> None:
    """Jittered boxes of the protocol, and candidates of the search presets."""
    y, x = np.mgrid[:60, :90]
    mask = ((y - 30) ** 2 / 300 + (x - 44) ** 2 / 600) * (1 + 0.3 * np.sin(x / 6)) < 1
    cell = 3.5
    jittered = [first_prompts(preset("box"), mask, f"example {i}").box for i in range(8)]
    panels = []
    for place, (title, drawn) in enumerate(
        (("box: eight objects' jitter", jittered), ("breps: 50 candidates", candidate_boxes(mask, "example", 0)))
    ):
        lines = ""
        for box, colour in [*((box, BLUE) for box in drawn if box is not None), (tight_box(mask), ORANGE)]:
            x0, y0, x1, y1 = (float(v) * cell for v in box)
            lines += (
                f'<rect x="{x0:g}" y="{y0:g}" width="{x1 - x0 + cell:g}" height="{y1 - y0 + cell:g}" fill="none" '
                f'stroke="{colour}" stroke-width="1.2" stroke-opacity="0.7"/>'
            )
        panels.append(panel(pixels(mask, cell, GREY) + lines, 15 + 335 * place, title))
    svg("protocol_boxes.svg", 680, 250, panels)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    boundaries()
    clicks()
    boxes()
