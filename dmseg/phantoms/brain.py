"""Axial MR of the head with glioma (BraTS, LGG): scalp, skull, folded cortex, white matter, ventricles, tumour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmseg.phantoms.drawing import Stack
from dmseg.phantoms.fields import Field, blur, depth_inside, fractal_field, paint, smooth_field
from dmseg.phantoms.mr import BRAIN_TISSUES, NOISE, rician, sensitivity, signals, to_stored
from dmseg.phantoms.shapes import BodyFrame, Shape, blob, curve, fill, grow, shrink
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask

_OUTLINES = read_packaged_table("dmseg.phantoms", "templates.toml")["head"]

TUMOUR_PARTS = ("oedema", "core", "enhancing")


@dataclass(frozen=True, slots=True)
class HeadSlice:
    """One axial slice: tissue name -> mask in painting order, the brain, and the tumour's parts (disjoint)."""

    tissues: dict[str, Mask]
    brain: Mask
    tumour: dict[str, Mask]


class BrainHead:
    """One patient's head; ``cut`` gives a slice. All slices share the outline and the tumour's place.

    Args:
        key: of the patient.
        shape: rows and columns.
        foci: number of separate tumours, 1 or 2.
    """

    def __init__(self, key: str, shape: Shape, foci: int = 1) -> None:
        stream = Stream(key, "head")
        height, width = shape
        self.key, self.shape = key, shape
        self.centre = (width * stream.uniform(0.48, 0.52), height * stream.uniform(0.48, 0.52))
        self.radii = (width * stream.uniform(0.37, 0.41), height * stream.uniform(0.43, 0.46))
        self.frame = BodyFrame(stream, self.centre, self.radii, 0.02)
        self.ventricle = stream.uniform(0.8, 1.3)
        side = 1 if stream.uniform() < 0.5 else -1
        self.foci = [
            (side * (1 - 2 * k) * stream.uniform(0.3, 0.5), stream.uniform(-0.45, 0.4), stream.uniform(0.2, 0.32))
            for k in range(foci)
        ]
        self.ring = stream.uniform() < 0.75  # an enhancing rim, otherwise a low grade tumour

    def cut(self, name: str, *, size: float = 1.0, tumours: dict[int, float] | None = None) -> HeadSlice:
        """Cut one slice.

        Args:
            name: key of the slice inside the patient.
            size: of the head in this slice, part of the largest.
            tumours: focus number -> relative radius in this slice; those not named are absent.
        """
        stream = Stream(self.key, "slice", name)
        outline = np.array(_OUTLINES["head"]) * size
        scalp, bone, brain = (fill(curve(self.frame.at(outline * part)), self.shape) for part in (1.0, 0.94, 0.875))
        tissues = {"scalp": scalp, "skull": bone, "fluid": brain}
        cortex, white = self._folds(stream, brain)
        tissues |= {"grey": cortex, "white": white}
        tissues |= self._deep(stream, brain, size)
        tumour = self._tumour(stream, brain, tumours or {})
        return HeadSlice(tissues, brain, tumour)

    def _folds(self, stream: Stream, brain: Mask) -> tuple[Mask, Mask]:
        """Return the grey and the white matter; sulci cut in from the surface, and the fissure between the halves."""
        depth = depth_inside(brain) / min(self.radii)
        folds = smooth_field(stream, self.shape, min(self.radii) / 8)
        rows, columns = np.indices(self.shape)
        fissure_x = self.centre[0] + 1.5 * smooth_field(stream, (self.shape[0], 1), (self.shape[0] / 6, 1))
        fissure = (np.abs(columns - fissure_x) < 1.1) & (np.abs(rows - self.centre[1]) > 0.42 * self.radii[1])
        sulci = (np.abs(folds) < 0.17) & (depth < 0.2)
        grey = brain & ~sulci & ~fissure & (depth > 0.02)
        white = grey & (depth > 0.11 + 0.05 * folds) & ~grow(sulci, 2) & ~grow(fissure, 2)
        return grey, white

    def _deep(self, stream: Stream, brain: Mask, size: float) -> dict[str, Mask]:
        """Return basal ganglia and ventricles, slightly different on the two sides."""
        nuclei, ventricles = np.zeros(self.shape, np.bool_), np.zeros(self.shape, np.bool_)
        grow = self.ventricle * size
        horns = {-1: _OUTLINES["right_horn"], 1: _OUTLINES["left_horn"]}
        for side, points in horns.items():
            nuclei |= fill(self.frame.oval(stream, (side * 0.27, -0.08), (0.1, 0.17)), self.shape)
            nuclei |= fill(self.frame.oval(stream, (side * 0.13, 0.12), (0.08, 0.1)), self.shape)
            wide = [(u * grow, v * size) for u, v in points]
            ventricles |= fill(self.frame.template(stream, wide, 0.03), self.shape)
        return {"nuclei": nuclei & brain & ~ventricles, "ventricles": ventricles & brain}

    def _tumour(self, stream: Stream, brain: Mask, tumours: dict[int, float]) -> dict[str, Mask]:
        """Return disjoint oedema, necrotic core and enhancing rim."""
        parts = {name: np.zeros(self.shape, np.bool_) for name in TUMOUR_PARTS}
        inside = shrink(brain, 2)
        for focus, radius in tumours.items():
            u, v, reach = self.foci[focus]
            x, y = self.frame.at([[u, v]])[0] / 256
            size = reach * radius * min(self.radii)
            own = Stream(self.key, "focus", focus)
            angle = own.integer(0, 2047)
            whole = (
                fill(blob(own, (x, y), (size * 1.25, size), angle=angle, irregular=0.38, lobes=10), self.shape) & inside
            )
            centre = (x + stream.uniform(-0.08, 0.08) * size, y + stream.uniform(-0.08, 0.08) * size)
            core = fill(blob(own, centre, (size * 0.62, size * 0.5), angle=angle, irregular=0.2), self.shape) & whole
            rim = core & ~shrink(core, max(2, int(size * 0.12))) if self.ring else np.zeros_like(core)
            parts["oedema"] |= whole
            parts["core"] = (parts["core"] | core) & ~rim
            parts["enhancing"] |= rim
        parts["oedema"] &= ~parts["core"] & ~parts["enhancing"]
        return parts


def channel(key: str, head: HeadSlice, name: str, *, skull: bool = True, noise: float = 0.02) -> Field:
    """Return the signal of one slice in one sequence with Rician noise.

    Args:
        key: of the slice; the coil's sensitivity and the noise depend on it and on the sequence.
        head: what is where.
        name: "flair", "t1", "t1ce" or "t2".
        skull: False strips everything outside the brain to exactly 0, as BraTS does.
        noise: standard deviation of the noise in each of the two channels.
    """
    stream = Stream(key, name)
    values = dict(zip(BRAIN_TISSUES, signals(name), strict=True))
    values |= {"nuclei": 0.6 * values["grey"] + 0.4 * values["white"], "ventricles": values["fluid"]}
    shape = (head.brain.shape[0], head.brain.shape[1])
    image = np.zeros(shape)
    grain = fractal_field(stream, shape, 7, 2)
    for tissue, mask in head.tissues.items():
        paint(image, mask, values[tissue] * (1 + 0.04 * grain), 0.6)
    soft = 2.2 + blur(grain, 3)
    for tissue, mask in head.tumour.items():
        edge = 4.0 if tissue == "oedema" else 0.9
        paint(image, mask, values[tissue] * (1 + 0.13 * grain + 0.04 * soft), edge)
    image = rician(stream, image * sensitivity(stream, shape), noise)
    return image if skull else np.where(head.brain, image, 0.0)


def brats_volume(key: str) -> Stack:
    """Draw one skull-stripped patient, 240 x 240, eight slices 6 mm apart, two tumours that do not share a slice.

    Slices 1 and 6 carry the largest areas and lie five apart.
    """
    head = BrainHead(key, (240, 240), foci=2)
    radii: list[dict[int, float]] = [{0: 0.8}, {0: 1.0}, {0: 0.75}, {}, {}, {1: 0.75}, {1: 1.0}, {1: 0.8}]
    cuts = [head.cut(str(z), size=0.94 - 0.012 * abs(z - 3), tumours=tumours) for z, tumours in enumerate(radii)]
    noise = Stream(key, "noise").uniform(*NOISE)
    values = {
        name: np.stack([
            to_stored(channel(f"{key}/{z}", cut, name, skull=False, noise=noise)) for z, cut in enumerate(cuts)
        ])
        for name in ("t1", "t1ce", "t2", "flair")
    }  # fmt: skip
    labels = {part: np.stack([cut.tumour[part] for cut in cuts]) for part in TUMOUR_PARTS}
    return Stack(values, labels, (6.0, 1.0, 1.0))


def lgg_slices(key: str) -> Stack:
    """Draw one patient of three slices, 256 x 256, 8-bit values, the skull kept; the first slice has no tumour."""
    head = BrainHead(key, (256, 256))
    head.ring = False
    radii: list[dict[int, float]] = [{}, {0: 1.0}, {0: 0.75}]
    cuts = [head.cut(str(z), size=0.98 - 0.05 * z, tumours=tumours) for z, tumours in enumerate(radii)]
    noise = Stream(key, "noise").uniform(*NOISE)
    values = {
        name: np.stack([
            np.floor(np.clip(gain * channel(f"{key}/{z}", cut, name, noise=noise), 0, 255) + 0.5).astype(np.int16)
            for z, cut in enumerate(cuts)
        ])
        for name, gain in (("t1", 130), ("flair", 230), ("t1ce", 130))
    }  # fmt: skip
    labels = {part: np.stack([cut.tumour[part] for cut in cuts]) for part in TUMOUR_PARTS}
    return Stack(values, labels, (6.0, 1.0, 1.0))
