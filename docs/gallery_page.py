# ruff: noqa: E501 (the page is prose)
"""Writes docs/gallery.md and its pictures: every operation at three severities, a part enlarged, what changed.

.venv/bin/python docs/gallery_page.py RAW         page and pictures; RAW holds downloads of BBBC038, ISIC and BUSI
.venv/bin/python docs/gallery_page.py RAW NAME... these pictures alone (levels: the README's real images), and the page
.venv/bin/python docs/gallery_page.py --text      page alone

Phantoms are synthetic. Real images are shown only where their licence is CC0.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from degradations_page import PHANTOM, sample
from PIL import Image as Pillow

import dmseg
from dmseg import imaging
from dmseg.datasets import reader, recipe
from dmseg.figures import contact_sheet, draw_signed_heat
from dmseg.phantoms import write_phantoms
from dmseg.simulators import GENERAL, OPS, corrupt, modality_operations, operation
from dmseg.simulators.operations import home_modality
from dmseg.types import LEVEL_LABELS, LEVELS, MODALITIES, Sample, Window

HERE = Path(__file__).parent
PICTURES = HERE / "images" / "gallery"
KEY = "gallery"
CELL, SIDE = 192, 320
ZOOM, INSET = 3, 0.42  # enlargement, and side of the inset as a share of the image
SUBTLE = (
    "speckle",
    "gibbs_ringing",
    "beam_hardening",
    "ct_ring",
    "grid_banding",
    "bias_field",
    "jpeg",
    "double_exposure",
)
"""Operations that need a row of what changed: green is brighter than Clear, red darker."""
FULL_CHANGE = 0.15  # of full scale, at full colour
REAL = {
    "ultrasound": ("BUSI", "CC0 by its copy at Kaggle; Al-Dhabyani et al. 2020", ""),
    "dermoscopy": ("ISIC", "CC0, an image of 2017", "ISIC_0013085"),
    "microscopy": ("BBBC038", "CC0 1.0; Caicedo et al. 2019", "9bb6e39d"),
}
"""Modality -> dataset, licence and image (empty: the first) of the real image that is shown."""
LEVELS_ON = ("microscopy", "dermoscopy")  # the real images that the README shows, CC0 at their source
GENERAL_ON = "dermoscopy"  # the real image that general operations are shown on
MOVING = ("speckle", "acoustic_shadow", "ct_ring", "beam_hardening", "gibbs_ringing", "mr_ghosting", "vignette", "fog")
"""Operations of the animation."""
FRAME, FRAME_MS = 136, 900


@dataclass(frozen=True)
class Shown:
    """One image that operations are shown on, and how its row is named."""

    label: str
    modality: str
    image: np.ndarray
    window: Window | None = None


def read_phantoms() -> dict[str, Shown]:
    """Return the synthetic image of each modality."""
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), per_dataset=1, datasets=list(PHANTOM.values()))
        found = {modality: sample(Path(folder), dataset) for modality, dataset in PHANTOM.items()}
    return {modality: Shown("synthetic", modality, image, window) for modality, (image, window) in found.items()}


def read_real(raw: Path) -> dict[str, Shown]:
    """Return the real image of each modality of :data:`REAL`, its longest side as that of the phantoms."""
    found = {}
    for modality, (dataset, _, wanted) in REAL.items():
        assert "CC0" in recipe(dataset).licence, f"{dataset} may not be shown"
        source_reader = reader(dataset)
        root = source_reader.find(raw)
        if root is None:
            sys.exit(f"{raw}: no {dataset} there")
        samples = (
            each
            for source in source_reader.sources(root)
            for each in source_reader.read(root, source)
            if isinstance(each, Sample) and each.source_id.startswith(wanted)
        )
        image = next(samples).image
        size = imaging.compute_stored_size(*image.shape[:2], longest=SIDE)
        found[modality] = Shown(f"real, {dataset}", modality, imaging.resize_image(image, size))
    return found


def choose_shown(name: str, phantoms: dict[str, Shown], real: dict[str, Shown]) -> list[Shown]:
    """Return the images that an operation is shown on: a phantom, and a real image where one may be shown."""
    if name in GENERAL:
        return [phantoms["ct"], real[GENERAL_ON]]
    home = str(home_modality(name))
    others = [real[modality] for modality in REAL if name in modality_operations(modality)]
    return [phantoms[home], *others]


def find_detail(clear: np.ndarray, changed: np.ndarray) -> tuple[int, int, int]:
    """Return x, y and side of the part that changes most and has structure, as a square of the image."""
    side = round(INSET * min(clear.shape[:2]) / ZOOM)
    grey, after = (one if one.ndim == 2 else one.mean(axis=2) for one in (clear, changed))
    change = cv2.blur(np.abs(after.astype(np.float32) - grey), (side, side))
    steep = cv2.blur(np.abs(cv2.Laplacian(grey.astype(np.float32), cv2.CV_32F)), (side, side))
    weight = change * steep
    half = side // 2 + 1
    weight[:half], weight[-half:], weight[:, :half], weight[:, -half:] = 0, 0, 0, 0
    y, x = np.unravel_index(int(weight.argmax()), weight.shape)
    return int(x) - side // 2, int(y) - side // 2, side


def add_inset(image: np.ndarray, detail: tuple[int, int, int]) -> np.ndarray:
    """Return an RGB copy with the part framed, and enlarged in the corner that is farthest from it."""
    x, y, side = detail
    shown = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    shown = np.array(shown)
    part = cv2.resize(shown[y : y + side, x : x + side], None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
    height, width = shown.shape[:2]
    size = part.shape[0]
    left = 0 if x + side / 2 > width / 2 else width - size
    top = 0 if y + side / 2 > height / 2 else height - size
    shown[top : top + size, left : left + size] = part
    yellow = (240, 200, 0)
    cv2.rectangle(shown, (x, y), (x + side, y + side), yellow, 1)
    cv2.rectangle(shown, (left, top), (left + size - 1, top + size - 1), yellow, 1)
    return shown


def draw_change(clear: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return what changed, in colour: green brighter, red darker, full colour at :data:`FULL_CHANGE`."""
    change = (image.astype(np.float32) - clear) / 255
    return draw_signed_heat(change if change.ndim == 2 else change.mean(axis=2), FULL_CHANGE)


def draw_operation(name: str, images: Iterable[Shown]) -> np.ndarray:
    """Return the picture of one operation: Clear and three severities of each image, and what changed."""
    rows, labels = [], []
    for shown in images:
        made = [
            corrupt(shown.image, name, severity, modality=shown.modality, key=KEY, window=shown.window)
            for severity in (1, 2, 3)
        ]
        detail = find_detail(shown.image, made[-1])
        rows.append([add_inset(one, detail) for one in (shown.image, *made)])
        labels.append(f"{shown.modality}\n{shown.label}")
        if name in SUBTLE:
            rows.append([None, *(draw_change(shown.image, one) for one in made)])
            labels.append("what changed")
    return contact_sheet(rows, labels, ["Clear", "severity 1", "severity 2", "severity 3"], cell=CELL)


def draw_animation(phantoms: dict[str, Shown]) -> list[Pillow.Image]:
    """Return four frames, Clear to severity 3, of some operations side by side."""
    frames = []
    for severity in range(4):
        tiles = []
        for name in MOVING:
            shown = phantoms[str(home_modality(name))]
            options = {"modality": shown.modality, "key": KEY, "window": shown.window}
            image = corrupt(shown.image, name, severity, **options) if severity else shown.image
            side = min(image.shape[:2])
            y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
            tile = cv2.resize(image[y : y + side, x : x + side], (FRAME, FRAME), interpolation=cv2.INTER_AREA)
            tile = np.ascontiguousarray(tile if tile.ndim == 3 else np.repeat(tile[..., None], 3, axis=2))
            said = f"{name} {severity}" if severity else f"{name}"
            cv2.rectangle(tile, (0, FRAME - 14), (FRAME, FRAME), (0, 0, 0), -1)
            cv2.putText(tile, said, (3, FRAME - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 220, 60), 1, cv2.LINE_AA)
            tiles.append(tile)
        half = len(tiles) // 2
        frames.append(Pillow.fromarray(np.vstack([np.hstack(tiles[:half]), np.hstack(tiles[half:])])))
    return frames


def draw_levels(real: dict[str, Shown]) -> np.ndarray:
    """Return the real images of the README, Clear and at each level of their datasets."""
    rows, labels = [], []
    for modality in LEVELS_ON:
        shown, dataset = real[modality], REAL[modality][0]
        rows.append(
            [dmseg.degrade(shown.image, level, dataset=dataset, modality=modality, key=dataset) for level in LEVELS]
        )
        labels.append(f"{modality}\n{dataset}, CC0")
    return contact_sheet(rows, labels, [LEVEL_LABELS[level] for level in LEVELS], cell=CELL)


def draw_pictures(raw: Path, names: Iterable[str], animate: bool) -> None:
    """Write the pictures of some operations."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    phantoms, real = read_phantoms(), read_real(raw)
    names = list(names)
    if animate or "levels" in names:
        sheet = Pillow.fromarray(draw_levels(real))
        sheet.save(PICTURES.parent / "levels_real.jpg", quality=80, optimize=True)
    for name in [one for one in names if one != "levels"]:
        sheet = Pillow.fromarray(draw_operation(name, choose_shown(name, phantoms, real)))
        sheet.save(PICTURES / f"{name}.jpg", quality=70, optimize=True)
    if animate:
        first, *others = (frame.quantize(64, dither=Pillow.Dither.NONE) for frame in draw_animation(phantoms))
        first.save(PICTURES / "severities.gif", save_all=True, append_images=others, duration=FRAME_MS, loop=0)


HEAD = """# Gallery

*Written by `docs/gallery_page.py`; edit that.*

Every degradation at severity 1, 2 and 3, as `dmseg.corrupt(image, NAME, severity=...)` and `dmseg degrade --op NAME --severity ...` make it.
The framed part is enlarged threefold. Where the effect is subtle a second row shows what changed: green is brighter than Clear, red
darker. Equations, ranges and proofs: [degradations.md](degradations.md). Your own image:
`dmseg preview FILE --by operation --out sheet.png`.

Rows called *synthetic* are phantoms, drawn by `dmseg phantom`; they are no scans. Rows called *real* are one image each of three datasets
whose licence is CC0: {real}. No other real image may be shown here.

![Eight degradations from Clear to severity 3, on phantoms](images/gallery/severities.gif)
"""


def write_page() -> str:
    """Return the page."""
    real = "; ".join(f"{dataset} ({licence})" for dataset, licence, _ in REAL.values())
    return "\n".join([HEAD.format(real=real), *_write_sections()])


def _write_sections() -> Iterator[str]:
    groups = [("General operations", list(GENERAL))]
    groups += [(modality, [name for name in OPS if home_modality(name) == modality]) for modality in MODALITIES]
    for title, names in groups:
        if names:
            yield f"## {title}\n"
        for name in names:
            also = [modality for modality in MODALITIES if name in modality_operations(modality) and modality != title]
            yield f"### {name}\n"
            yield operation(name).summary.replace("``", "`") + (f" Also: {', '.join(also)}." if also else "") + "\n"
            yield f"![{name}: Clear and three severities](images/gallery/{name}.jpg)\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--text"]:
        if not sys.argv[1:]:
            sys.exit(__doc__)
        draw_pictures(Path(sys.argv[1]), sys.argv[2:] or OPS, animate=not sys.argv[2:])
    (HERE / "gallery.md").write_text(write_page())
