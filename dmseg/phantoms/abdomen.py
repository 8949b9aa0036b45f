"""Axial geometry of the trunk for CT and MR: which tissue lies where, and the exact organ masks. No grey values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.phantoms.shapes import SINES, TURN, BodyFrame, Outline, Shape, blob, curve, ellipse, fill, shrink
from dmseg.rng import Stream
from dmseg.tables import read_packaged_table
from dmseg.types import Mask

_TABLE = read_packaged_table("dmseg.phantoms", "abdomen.toml")
LEVELS = ("pelvis", "renal", "upper")


@dataclass(frozen=True, slots=True)
class TissuePart:
    """One painted region: the tissue's name, its mask, the annotated organ ("" = none)."""

    tissue: str
    mask: Mask
    organ: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One axial slice: parts in painting order and organ -> mask of what stays visible of it."""

    parts: tuple[TissuePart, ...]
    organs: dict[str, Mask]
    trunk: Mask


class Trunk:
    """One patient's trunk; ``section(level)`` cuts it."""

    def __init__(self, case: str, stream: Stream, shape: Shape) -> None:
        height, width = shape
        self.case, self.shape = case, shape
        self.centre = (width * stream.uniform(0.48, 0.52), height * stream.uniform(0.45, 0.48))
        self.radii = (width * stream.uniform(0.42, 0.47), height * stream.uniform(0.30, 0.35))
        self.metastases = stream.integer(2, 6)
        self.fatness = stream.uniform(-0.05, 0.02)
        self.frame = BodyFrame(stream, self.centre, self.radii, 0.025)

    def section(self, level: str) -> Section:
        """Cut the trunk at "pelvis", "renal" or "upper"."""
        stream = Stream(self.case, "section", level)
        parts = self._wall(stream, level) + self._spine(stream, level)
        taken = np.zeros(self.shape, np.bool_)
        organs: dict[str, Mask] = {}
        cavity = parts[2].mask
        occupied = np.any([part.mask for part in parts[3:]], axis=0)
        for row in _TABLE[level]:
            mask = self._mask(stream, row) & cavity & ~occupied & ~taken
            taken |= mask
            parts.append(TissuePart(row["tissue"], mask, row["organ"]))
            if row["organ"]:
                organs[row["organ"]] = mask
            parts += self._inside(stream, row["tissue"], row["organ"], mask)
        return Section(tuple(parts), organs, parts[0].mask)

    def _mask(self, stream: Stream, row: dict[str, Any]) -> Mask:
        if "oval" in row:
            u, v, ru, rv = row["oval"]
            moved = (u + stream.uniform(-0.012, 0.012), v + stream.uniform(-0.012, 0.012))
            return fill(self.frame.oval(stream, moved, (ru, rv), 0.07), self.shape)
        return fill(self.frame.template(stream, row["points"], 0.045), self.shape)

    def _wall(self, stream: Stream, level: str) -> list[TissuePart]:
        outline = np.array(_TABLE["trunk"]["outline"])
        wall = _TABLE["trunk"]["wall"] + self.fatness
        cavity = _TABLE["trunk"]["cavity"] + self.fatness

        def ring(scale: float) -> Outline:
            return curve(self.frame.at(outline * scale))

        parts = [
            TissuePart("fat", fill(ring(1.0), self.shape)),
            TissuePart("muscle", fill(ring(wall), self.shape)),
            TissuePart("fat", fill(ring(cavity), self.shape)),
        ]
        if level != "pelvis":
            for k in range(5):
                for side in (-1, 1):
                    place = 0.16 + 0.15 * k + stream.uniform(-0.03, 0.03)
                    parts += self._rib(place * side, (wall + cavity) / 2)
        return parts

    def _rib(self, place: float, scale: float) -> list[TissuePart]:
        """Return an oblique cut through a rib; ``place`` 0..1 goes from the spine around the flank."""
        ring = np.array(_TABLE["trunk"]["outline"]) * scale
        ring = ring[7:] if place < 0 else ring[7::-1]
        along = abs(place) * 6.2
        low = int(along)
        u, v = ring[low] + (ring[low + 1] - ring[low]) * (along - low)
        du, dv = ring[low + 1] - ring[low]
        x, y = self.frame.at([[u, v]])[0] / 256
        angle = _turn(du * self.radii[0], dv * self.radii[1])
        radii = (0.055 * self.radii[0], 0.024 * self.radii[0])
        bone = fill(ellipse((x, y), radii, angle), self.shape)
        return [TissuePart("bone", bone), TissuePart("marrow", shrink(bone, 1))]

    def _spine(self, stream: Stream, level: str) -> list[TissuePart]:
        table = _TABLE["spine"]

        def draw_part(name: str) -> Mask:
            return fill(self.frame.template(stream, table[name], 0.02), self.shape)

        def oval(name: str) -> Mask:
            u, v, ru, rv = table[name]
            return fill(self.frame.oval(stream, (u, v), (ru, rv), 0.03), self.shape)

        parts = [TissuePart("muscle", draw_part(name)) for name in ("erector_right", "erector_left")]
        if level == "renal":
            parts += [TissuePart("muscle", draw_part(name)) for name in ("psoas_right", "psoas_left")]
        parts.append(TissuePart("bone", draw_part("arch")))
        vertebra = oval("body")
        parts += [
            TissuePart("bone", vertebra),
            TissuePart("marrow", shrink(vertebra, 1)),
            TissuePart("canal", oval("canal")),
        ]
        return parts

    def _inside(self, stream: Stream, tissue: str, organ: str, mask: Mask) -> list[TissuePart]:
        """Return what is seen inside an organ: vessels of the liver, medulla, gas and fluid of the gut."""
        if not mask.any():
            return []
        if tissue == "liver":
            inside = [TissuePart("vein", self._spots(stream, mask, 10, (0.018, 0.04)))]
            if self.metastases:
                inside.append(TissuePart("metastasis", self._spots(stream, mask, self.metastases, (0.05, 0.1))))
            return inside
        if tissue == "kidney":
            sinus = self._spots(stream, mask, 2, (0.025, 0.04))
            return [
                TissuePart("medulla", shrink(mask, max(2, round(self.radii[0] * 0.03)))),
                TissuePart("sinus", sinus),
            ]
        if tissue in ("gut_wall", "stomach", "colon"):
            inner = shrink(mask, 2)
            rows = np.flatnonzero(inner.any(axis=1))
            if len(rows) < 3:
                return []
            if (
                organ
            ):  # filled with water, as before a scan of the pancreas; gas only in the loops that are not annotated
                return [TissuePart("chyme", inner)]
            level = rows[0] + int(len(rows) * stream.uniform(0.15, 0.4))
            gas = inner.copy()
            gas[level:] = False
            return [TissuePart("chyme", inner), TissuePart("gas", gas)]
        return []

    def _spots(self, stream: Stream, organ: Mask, count: int, sizes: tuple[float, float]) -> Mask:
        """Return ``count`` ovals inside an organ; ``sizes`` are the smallest and largest half axis in trunk widths."""
        rows, columns = np.nonzero(shrink(organ, 5))
        spots = np.zeros(self.shape, np.bool_)
        for _ in range(count if len(rows) else 0):
            pick = stream.integer(0, len(rows) - 1)
            size = self.radii[0] * stream.uniform(*sizes)
            centre = (float(columns[pick]), float(rows[pick]))
            outline = blob(stream, centre, (size * stream.uniform(1, 2.4), size), angle=stream.integer(0, 2047))
            spots |= fill(outline, self.shape)
        return spots & organ


def _turn(dx: float, dy: float) -> int:
    """Return the angle of a direction in 1/4096 turn by comparing cross products: no arc tangent, so exact."""
    turns = np.arange(0, TURN, 16)
    cross = SINES[(turns + TURN // 4) % TURN] * dy - SINES[turns] * dx
    dot = SINES[(turns + TURN // 4) % TURN] * dx + SINES[turns] * dy
    return int(turns[np.argmin(np.where(dot > 0, np.abs(cross), np.inf))])


def stack_organs(sections: list[Section], names: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
    """Return organ -> (Z, H, W) bool of several slices."""
    empty = np.zeros(sections[0].trunk.shape, np.bool_)
    return {name: np.stack([section.organs.get(name, empty) for section in sections]) for name in names}
