"""Upper abdominal ultrasound with a convex probe (abdominalUS): liver, kidney, gallbladder, vessels, spleen, pancreas."""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import grid, smooth_field
from dmseg.phantoms.shapes import Frame, Outline, Shape, blob, curve, fill, fixed, ribbon, shrunk
from dmseg.phantoms.ultrasound import Body, Convex, amplitude, compressed
from dmseg.rng import Stream
from dmseg.types import Mask, Structure

VIEWS = ("right", "left", "middle")


def upper_abdomen(stream: Stream, shape: Shape, view: str) -> Drawing:
    """Draw one view: "right" (liver, kidney, gallbladder, vessels), "left" (spleen, kidney), "middle" (liver, pancreas,
    vessels, vertebra). Structure names are those of the data set's palette."""
    height, width = shape
    probe = Convex(
        (width * stream.uniform(0.48, 0.52), -stream.uniform(0.28, 0.36) * height),
        stream.uniform(0.36, 0.4) * height,
        stream.uniform(1.24, 1.32) * height,
        stream.integer(380, 450),
    )
    body = Body(stream, shape, "peritoneum")
    body.level += 2.0 * smooth_field(stream, shape, (height / 30, width / 7))
    frame = Frame(stream, (width / 2, height / 2), (width / 2, height / 2), 0.035)
    organs: list[Structure] = []
    sector = probe.sector(shape)

    def add(name: str, outline: Outline, tissue: str, *, rim: float = 6.0, inside: Mask | None = None) -> Mask:
        mask = fill(outline, shape) & sector
        if inside is not None:
            mask &= inside
        body.add(mask, tissue, edge=1.1, grain=10)
        body.interface(mask, rim, 1.0)
        if name:
            organs.append(Structure(name, mask))
        return mask

    draw = {"right": _right, "left": _left, "middle": _middle}[view]
    draw(stream, frame, shape, body, add)
    _wall(stream, body, probe)
    body.loss += 0.045
    image = compressed(amplitude(body, probe, axial=0.9, lateral=1.5))
    return Drawing(image, tuple(_without_overlap(organs)), {"view": view})


def _wall(stream: Stream, body: Body, probe: Convex) -> None:
    """Skin, fat and muscle of the belly under the probe: layers that follow its curve."""
    y, x = grid(body.shape)
    depth = np.hypot(x - probe.apex[0], y - probe.apex[1]) - probe.near
    thick = stream.uniform(0.1, 0.14) * body.shape[0]
    body.add(depth < thick, "muscle", edge=1.0, gain=6.0)
    body.add(depth < 0.45 * thick, "fat", edge=1.0, gain=4.0)
    body.add(depth < 0.12 * thick, "skin", edge=1.0)
    for part in (0.45, 0.7, 1.0):
        body.add(np.abs(depth - part * thick) < 0.9, "fascia", edge=0.8, gain=-2.0)


def _without_overlap(organs: list[Structure]) -> list[Structure]:
    """A later organ covers an earlier one, as in the painted annotation."""
    kept: list[Structure] = []
    covered = np.zeros(organs[0].mask.shape, np.bool_)
    for organ in reversed(organs):
        mask = organ.mask & ~covered
        covered |= organ.mask
        kept.append(Structure(organ.name, mask))
    return kept[::-1]


def _kidney(stream: Stream, frame: Frame, shape: Shape, body: Body, add, points) -> None:  # type: ignore[no-untyped-def]
    """A kidney: dark cortex, darker pyramids around the bright sinus."""
    outline = frame.template(stream, points, 0.05)
    kidney = add("kidney", outline, "kidney_cortex", rim=11.0)
    middle = outline.sum(axis=0) // len(outline)
    sinus = fill(middle + (outline - middle) * 115 // 256, shape) & kidney
    for step in range(0, len(outline), 8):
        x, y = (middle + (outline[step] - middle) * 150 // 256) / 256
        size = float(np.sqrt(kidney.sum())) * 0.055
        body.add(fill(blob(stream, (x, y), (size, size * 0.8), points=24), shape) & kidney, "kidney_pyramid", edge=1.0)
    body.add(sinus, "kidney_sinus", edge=2.0, grain=4)


def _vessels(stream: Stream, shape: Shape, liver: Mask, count: int) -> list[Outline]:
    rows, columns = np.nonzero(shrunk(liver, 9))
    outlines = []
    for _ in range(count if len(rows) else 0):
        pick = stream.integer(0, len(rows) - 1)
        centre = (float(columns[pick]), float(rows[pick]))
        size = stream.uniform(0.014, 0.022) * shape[1]
        stretch = stream.uniform(1.0, 3.0)
        outlines.append(blob(stream, centre, (size * stretch, size), angle=stream.integer(-400, 400), irregular=0.08))
    return outlines


def _diaphragm(stream: Stream, frame: Frame, shape: Shape, body: Body, points) -> None:  # type: ignore[no-untyped-def]
    line = curve(frame.at(points), closed=False)
    body.add(fill(ribbon(line, 1.8), shape), "diaphragm", edge=0.8)
    below = np.concatenate([line, fixed([(shape[1] * 1.2, shape[0] * 1.2), (-0.2 * shape[1], shape[0] * 1.2)])])
    body.add(fill(below, shape) & ~fill(ribbon(line, 2.5), shape), "muscle", edge=1.0, gain=-8.0)


def _right(stream: Stream, frame: Frame, shape: Shape, body: Body, add) -> None:  # type: ignore[no-untyped-def]
    _diaphragm(
        stream, frame, shape, body, [(-1.1, 0.2), (-0.75, 0.52), (-0.3, 0.74), (0.2, 0.86), (0.7, 0.92), (1.2, 0.94)]
    )
    points = [(-0.85, -0.3), (-0.4, -0.62), (0.1, -0.66), (0.5, -0.5), (0.62, -0.2), (0.4, 0.02), (0.1, 0.22), (-0.1, 0.5), (-0.4, 0.6), (-0.72, 0.36), (-0.9, 0.0)]  # fmt: skip
    liver = add("liver", frame.template(stream, points, 0.03), "liver", rim=5.0)
    kidney = [
        (0.02, 0.36),
        (0.28, 0.12),
        (0.55, 0.1),
        (0.68, 0.26),
        (0.56, 0.5),
        (0.3, 0.66),
        (0.08, 0.66),
        (-0.04, 0.52),
    ]
    _kidney(stream, frame, shape, body, add, kidney)
    for outline in _vessels(stream, shape, liver, stream.integer(2, 4)):
        add("vessels", outline, "vessel", rim=9.0, inside=liver)
    if stream.uniform() < 0.6:
        bladder = [(0.36, -0.34), (0.5, -0.4), (0.64, -0.3), (0.66, -0.12), (0.54, -0.04), (0.42, -0.14)]
        add("gallbladder", frame.template(stream, bladder, 0.05), "fluid", rim=10.0)


def _left(stream: Stream, frame: Frame, shape: Shape, body: Body, add) -> None:  # type: ignore[no-untyped-def]
    _diaphragm(stream, frame, shape, body, [(-1.2, -0.1), (-0.86, 0.2), (-0.6, 0.5), (-0.4, 0.84), (-0.3, 1.1)])
    points = [(-0.72, -0.1), (-0.5, -0.44), (-0.1, -0.6), (0.28, -0.56), (0.34, -0.4), (0.1, -0.24), (-0.14, 0.0), (-0.36, 0.3), (-0.56, 0.34), (-0.7, 0.14)]  # fmt: skip
    add("spleen", frame.template(stream, points, 0.04), "spleen", rim=7.0)
    kidney = [
        (-0.24, 0.34),
        (-0.02, 0.04),
        (0.24, -0.14),
        (0.48, -0.12),
        (0.54, 0.08),
        (0.38, 0.36),
        (0.12, 0.58),
        (-0.14, 0.58),
    ]
    _kidney(stream, frame, shape, body, add, kidney)


def _middle(stream: Stream, frame: Frame, shape: Shape, body: Body, add) -> None:  # type: ignore[no-untyped-def]
    points = [
        (-0.8, -0.46),
        (-0.3, -0.68),
        (0.3, -0.66),
        (0.52, -0.48),
        (0.2, -0.34),
        (-0.1, -0.22),
        (-0.4, -0.06),
        (-0.7, 0.0),
    ]
    liver = add("liver", frame.template(stream, points, 0.04), "liver", rim=5.0)
    pancreas = [(-0.34, 0.08), (-0.3, -0.06), (-0.1, -0.1), (0.12, -0.2), (0.4, -0.24), (0.46, -0.1), (0.2, -0.02), (0.0, 0.06), (-0.2, 0.16)]  # fmt: skip
    add("pancreas", frame.template(stream, pancreas, 0.04), "pancreas", rim=4.0)
    for centre, radii in (((0.14, 0.34), (0.095, 0.12)), ((-0.2, 0.34), (0.12, 0.1)), ((0.1, 0.1), (0.05, 0.06))):
        add("vessels", frame.oval(stream, centre, radii), "vessel", rim=12.0)
    for outline in _vessels(stream, shape, liver, 2):
        add("vessels", outline, "vessel", rim=9.0, inside=liver)
    bone = fill(frame.oval(stream, (-0.02, 0.78), (0.3, 0.22)), shape)
    body.add(bone & ~shrunk(bone, 4), "bone", edge=0.8)
    add("bones", frame.at([(-0.3, 0.78), (-0.24, 0.62), (-0.02, 0.54), (0.2, 0.62), (0.28, 0.78)]), "bone", rim=2.0)
