"""Upper abdominal ultrasound with a convex probe (abdominalUS): liver, kidney, gallbladder, vessels, spleen, pancreas.

The structures' names are those of the data set's palette.
"""

from __future__ import annotations

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.fields import grid, smooth_field
from dmseg.phantoms.shapes import BodyFrame, Outline, Shape, blob, curve, fill, ribbon, shrink, to_fixed_point
from dmseg.phantoms.ultrasound import Body, Convex, amplitude, compress_log
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask, Structure

_OUTLINES = read_packaged_table("dmseg.phantoms", "templates.toml")["upper_abdomen"]
VIEWS = ("right", "left", "middle")


def upper_abdomen(stream: Stream, shape: Shape, view: str) -> Drawing:
    """Draw one view.

    Args:
        stream: all randomness.
        shape: height and width in px.
        view: "right" (liver, kidney, vessels, often gallbladder), "left" (spleen, kidney) or "middle" (liver,
            pancreas, vessels, bones).
    """
    scene = _Scene(stream, shape)
    {"right": _right, "left": _draw_left, "middle": _middle}[view](scene)
    scene.belly_wall()
    scene.body.loss += 0.045
    image = compress_log(amplitude(scene.body, scene.probe, axial=0.9, lateral=1.5))
    return Drawing(image, tuple(scene.visible_organs()), {"view": view})


class _Scene:
    """The probe, what lies in front of it, and the organs painted so far."""

    def __init__(self, stream: Stream, shape: Shape) -> None:
        height, width = shape
        self.stream, self.shape = stream, shape
        self.probe = Convex(
            (width * stream.uniform(0.48, 0.52), -stream.uniform(0.28, 0.36) * height),
            stream.uniform(0.36, 0.4) * height,
            stream.uniform(1.24, 1.32) * height,
            stream.integer(380, 450),
        )
        self.sector = self.probe.sector(shape)
        self.frame = BodyFrame(stream, (width / 2, height / 2), (width / 2, height / 2), 0.035)
        self.body = Body(stream, shape, "peritoneum")
        self.body.level += 2.0 * smooth_field(stream, shape, (height / 30, width / 7))
        self._organs: list[Structure] = []

    def template(self, name: str, vary: float = 0.04) -> Outline:
        return self.frame.template(self.stream, _OUTLINES[name], vary)

    def organ(self, name: str, outline: Outline, tissue: str, *, rim: float, inside: Mask | None = None) -> Mask:
        """Paint an annotated organ; ``rim`` dB is the echo of its capsule. Return its mask."""
        mask = fill(outline, self.shape) & self.sector
        if inside is not None:
            mask &= inside
        self.body.add(mask, tissue, edge=1.1, grain=10)
        self.body.interface(mask, rim, 1.0)
        if mask.any():
            self._organs.append(Structure(name, mask))
        return mask

    def visible_organs(self) -> list[Structure]:
        """Return the organs without what later ones cover, as in the painted annotation."""
        kept: list[Structure] = []
        covered = np.zeros(self.shape, np.bool_)
        for organ in reversed(self._organs):
            kept.append(Structure(organ.name, organ.mask & ~covered))
            covered |= organ.mask
        return kept[::-1]

    def belly_wall(self) -> None:
        """Skin, fat and muscle under the probe: layers that follow its curve."""
        y, x = grid(self.shape)
        depth = np.hypot(x - self.probe.apex[0], y - self.probe.apex[1]) - self.probe.near
        thick = self.stream.uniform(0.1, 0.14) * self.shape[0]
        self.body.add(depth < thick, "muscle", gain=6.0)
        self.body.add(depth < 0.45 * thick, "fat", gain=4.0)
        self.body.add(depth < 0.12 * thick, "skin")
        for part in (0.45, 0.7, 1.0):
            self.body.add(np.abs(depth - part * thick) < 0.9, "fascia", edge=0.8, gain=-2.0)

    def kidney(self, name: str) -> None:
        """A kidney: dark cortex, darker pyramids around the bright sinus."""
        outline = self.template(name, 0.05)
        kidney = self.organ("kidney", outline, "kidney_cortex", rim=9.0)
        middle = outline.sum(axis=0) // len(outline)
        size = float(np.sqrt(kidney.sum())) * 0.055
        for step in range(0, len(outline), 8):
            x, y = (middle + (outline[step] - middle) * 150 // 256) / 256
            pyramid = fill(blob(self.stream, (x, y), (size, size * 0.8), points=24), self.shape) & kidney
            self.body.add(pyramid, "kidney_pyramid")
        sinus = fill(middle + (outline - middle) * 115 // 256, self.shape) & kidney
        self.body.add(sinus, "kidney_sinus", edge=2.0, grain=4)

    def liver_vessels(self, liver: Mask, count: int) -> None:
        rows, columns = np.nonzero(shrink(liver, 9))
        for _ in range(count if len(rows) else 0):
            pick = self.stream.integer(0, len(rows) - 1)
            centre = (float(columns[pick]), float(rows[pick]))
            size = self.stream.uniform(0.014, 0.022) * self.shape[1]
            radii = (size * self.stream.uniform(1.0, 3.0), size)
            outline = blob(self.stream, centre, radii, angle=self.stream.integer(-400, 400), irregular=0.08)
            self.organ("vessels", outline, "vessel", rim=9.0, inside=liver)

    def diaphragm(self, name: str) -> None:
        height, width = self.shape
        line = curve(self.frame.at(_OUTLINES[name]), closed=False)
        self.body.add(fill(ribbon(line, 1.8), self.shape), "diaphragm", edge=0.8)
        below = np.concatenate([line, to_fixed_point([(width * 1.2, height * 1.2), (-0.2 * width, height * 1.2)])])
        self.body.add(fill(below, self.shape) & ~fill(ribbon(line, 2.5), self.shape), "muscle", gain=-8.0)


def _right(scene: _Scene) -> None:
    scene.diaphragm("right_diaphragm")
    liver = scene.organ("liver", scene.template("right_liver", 0.03), "liver", rim=5.0)
    scene.kidney("right_kidney")
    scene.liver_vessels(liver, scene.stream.integer(2, 4))
    if scene.stream.uniform() < 0.6:
        scene.organ("gallbladder", scene.template("gallbladder", 0.05), "fluid", rim=10.0)


def _draw_left(scene: _Scene) -> None:
    scene.diaphragm("left_diaphragm")
    scene.organ("spleen", scene.template("spleen"), "spleen", rim=7.0)
    scene.kidney("left_kidney")


def _middle(scene: _Scene) -> None:
    liver = scene.organ("liver", scene.template("middle_liver"), "liver", rim=5.0)
    scene.organ("pancreas", scene.template("pancreas"), "pancreas", rim=4.0)
    for centre, radii in _OUTLINES["middle_vessels"]:
        scene.organ("vessels", scene.frame.oval(scene.stream, centre, radii), "vessel", rim=12.0)
    scene.liver_vessels(liver, 2)
    vertebra = fill(scene.frame.oval(scene.stream, *_OUTLINES["vertebra"]), scene.shape)
    scene.body.add(vertebra & ~shrink(vertebra, 4), "bone", edge=0.8)
    scene.organ("bones", scene.frame.at(_OUTLINES["vertebra_front"]), "bone", rim=2.0)
