"""Names and records that every layer shares: levels, modalities, splits, samples, prompts; what typed names mean."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import unknown_name

LEVELS: tuple[str, ...] = ("clear", "lq1", "lq2", "lq3", "lq3plus")
"""The levels of growing strength, as the medical track has them."""
ROBUST_SEG_TYPES: dict[str, str] = {
    "snow": "Snow",
    "fog": "Fog",
    "rain": "Rain",
    "gauss_noise": "Gauss noise",
    "ISO_noise": "ISO noise",
    "impulse_noise": "Impulse noise",
    "resampling_blur": "Resampling blur",
    "motion_blur": "Motion blur (moves)",
    "zoom_blur": "Zoom blur",
    "color_jitter": "Color jitter",
    "compression": "Compression",
    "elastic_transform": "Elastic transform (moves)",
    "frosted_glass_blur": "Frosted glass blur",
    "brightness": "Brightness",
    "contrast": "Contrast",
}
"""RobustSeg's 15 degradations by their authors' names and in their order -> label. They are levels without an order of
strength; two of them move the image's content and leave the mask."""
ALL_LEVELS: tuple[str, ...] = (*LEVELS, *ROBUST_SEG_TYPES)
"""What the tables of any track may name."""
LEVEL_LABELS: dict[str, str] = {
    "clear": "Clear",
    "lq1": "LQ-1",
    "lq2": "LQ-2",
    "lq3": "LQ-3",
    "lq3plus": "LQ-3+",
    **ROBUST_SEG_TYPES,
}
MODALITIES: tuple[str, ...] = (
    "ultrasound",
    "mri",
    "ct",
    "xray",
    "dental",
    "endoscopy",
    "dermoscopy",
    "microscopy",
)
SPLITS: tuple[str, ...] = ("train", "seen", "unseen")
MEDICAL = "medical"
TRACK_LEVELS: dict[str, tuple[str, ...]] = {
    MEDICAL: LEVELS,
    "natural": ("clear", "lq1", "lq2", "lq3"),
    "natural-robust": ("clear", *ROBUST_SEG_TYPES),
    "natural-real": ("clear",),
    "natural-text": ("clear", "lq1", "lq2", "lq3"),
}
"""Track -> its levels. ``natural``: photographs degraded by LQ-Seg. ``natural-robust``: the same photographs, degraded
by RobustSeg. ``natural-real``: photographs taken in bad conditions, of which ``clear`` is the file itself.
``natural-text``: photographs whose objects are named by sentences, degraded by LQ-Seg. Tracks are never mixed in a
benchmark, a run or a ranking."""
TRACKS: tuple[str, ...] = tuple(TRACK_LEVELS)
ROBUST = "natural-robust"
DATASETS_OF: dict[str, str] = {ROBUST: "natural"}
"""Track without datasets of its own -> the track whose it degrades in another way."""
PHOTO = "photo"
"""What the images of the natural tracks are; no degradation of the medical track knows them."""
ALL_MODALITIES: tuple[str, ...] = (*MODALITIES, PHOTO)
"""What the tables of any track may name."""

Image = NDArray[Any]
"""An image: (H, W) or (H, W, 3), uint8 unless a function says otherwise."""
Mask = NDArray[np.bool_]
"""One object: (H, W) bool, on the grid of its image."""


DICOM_MODALITIES: dict[str, str] = {
    "CT": "ct",
    "MR": "mri",
    "US": "ultrasound",
    "IVUS": "ultrasound",
    "BDUS": "ultrasound",
    "CR": "xray",
    "DX": "xray",
    "DR": "xray",
    "RF": "xray",
    "RG": "xray",
    "XA": "xray",
    "MG": "xray",
    "IO": "dental",
    "PX": "dental",
    "ES": "endoscopy",
    "DMS": "dermoscopy",
    "SM": "microscopy",
    "GM": "microscopy",
}
"""DICOM tag Modality (PS3.3 C.7.3.1.1.1) -> ours. Codes that are missing say nothing of how the image was made."""
_LEVEL_NAMES = {"clean": "clear"}
_MODALITY_NAMES: dict[str, str] = {
    **{code.lower(): modality for code, modality in DICOM_MODALITIES.items()},
    "ultrasonography": "ultrasound",
    "sonography": "ultrasound",
    "magneticresonance": "mri",
    "magneticresonanceimaging": "mri",
    "mrt": "mri",
    "computedtomography": "ct",
    "cat": "ct",
    "cxr": "xray",
    "chestxray": "xray",
    "radiograph": "xray",
    "radiography": "xray",
    "opg": "dental",
    "panoramic": "dental",
    "dentalxray": "dental",
    "colonoscopy": "endoscopy",
    "dermatoscopy": "dermoscopy",
    "microscope": "microscopy",
}


def _strip_signs(text: str) -> str:
    """Return the letters and digits of a name, in lower case; + and & are words."""
    text = unicodedata.normalize("NFKC", text).lower().replace("+", "plus").replace("&", "and")
    return "".join(sign for sign in text if sign.isalnum())


def resolve_name(kind: str, given: str, allowed: Iterable[str], others: Mapping[str, str] | None = None) -> str:
    """Return the one of ``allowed`` that a typed name means: capitals, spaces, hyphens and underscores do not count.

    Args:
        kind: what is named, for the error.
        given: what was typed.
        allowed: the names.
        others: further names (letters and digits, lower case) -> one of ``allowed``.

    Raises:
        UsageError: it means none of them; the message names the close ones.

    >>> resolve_name("operation", "CT ring", ["ct_ring", "fog"])
    'ct_ring'
    """
    names = allowed if isinstance(allowed, (tuple, list)) else list(allowed)
    if given in names:
        return given
    given, others = str(given), others or {}
    known = {_strip_signs(name): name for name in names}
    plain = _strip_signs(given)
    if plain in known or plain in others:
        return known.get(plain) or others[plain]
    raise unknown_name(kind, given, names, most=3)


def check_level(name: str, kind: str = "level", allowed: Sequence[str] = LEVELS) -> str:
    """Return the level id that a name means, as people type it, else raise :class:`~dmseg.errors.UsageError`.

    ``kind`` is what the error calls it, ``allowed`` the levels that can be meant.

    >>> check_level("LQ-3"), check_level("lq3+")
    ('lq3', 'lq3plus')
    """
    return resolve_name(kind, name, allowed, _LEVEL_NAMES)


def check_modality(name: str) -> str:
    """Return the modality that a name or a DICOM tag means, else raise :class:`~dmseg.errors.UsageError`.

    >>> check_modality("MR"), check_modality("X-ray"), check_modality("US")
    ('mri', 'xray', 'ultrasound')
    """
    return resolve_name("modality", name, MODALITIES, _MODALITY_NAMES)


def check_track(name: str) -> str:
    """Return the track that a name means, else raise :class:`~dmseg.errors.UsageError`."""
    return resolve_name("track", name, TRACKS)


@dataclass(frozen=True, slots=True)
class Window:
    """A grey window in stored units (CT: HU): black at center - width/2, white at center + width/2."""

    center: float
    width: float


@dataclass(frozen=True, slots=True)
class Structure:
    """One annotated object as a dataset reader yields it.

    Attributes:
        name: what it is.
        mask: (H, W) bool at native resolution.
        expressions: sentences that name this object of the image alone, where the dataset has some.
    """

    name: str
    mask: Mask
    expressions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its objects, as a dataset reader yields it (native resolution, already windowed to 8 bit).

    Attributes:
        source_id: stable id inside the dataset (file stem, patient, series, ``_z012`` for a slice), never a folder
            that depends on where the download was unpacked.
        case_id: patient or case inside the dataset; images of one case never sit on both sides of a split.
        modality: one of :data:`MODALITIES`.
        image: uint8, (H, W) or (H, W, 3) RGB.
        structures: at least one object, each mask of the image's height and width.
        spacing: (y, x) in mm of this grid, or None where the file does not say.
        source: path relative to the dataset's folder, with ``#z012`` for a slice of a volume.
        window: grey window that produced the 8 bit, or None.
    """

    source_id: str
    case_id: str
    modality: str
    image: Image
    structures: Sequence[Structure]
    spacing: tuple[float, float] | None
    source: str
    window: Window | None = None


STROKES = ("scribble", "lasso")


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line drawn by hand, in pixels of the canvas.

    Attributes:
        kind: ``scribble``, a line over pixels of its label, or ``lasso``, an outline (the last point joins the first).
        path: (K, 2) float32, columns x and y, in the order drawn; K is at least 1, of a lasso 3.
        label: 1 foreground, 0 background: of the line's pixels, or of the object inside the outline.
    """

    kind: str
    path: NDArray[np.float32]
    label: int


@dataclass(frozen=True, slots=True)
class Prompts:
    """All prompts given so far for one mask, in pixels of the canvas (x right, y down, integer = pixel centre).

    Attributes:
        points: (K, 2) float32, columns x and y, in the order given; K may be 0.
        labels: (K,) int8, 1 foreground, 0 background.
        box: (4,) float32 x0, y0, x1, y1 (inclusive pixels), or None.
        step: 1..T, the interaction that these prompts lead to.
        strokes: scribbles and lassos, in the order given; only recorded prompts have some.
        text: an expression that names the object, or None; only the preset ``text`` gives one, and nothing else.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int8]
    box: NDArray[np.float32] | None
    step: int
    strokes: tuple[Stroke, ...] = ()
    text: str | None = None


def as_rgb(image: Image) -> NDArray[np.uint8]:
    """Return a grey or colour image, uint8 (H, W) or (H, W, 3), as contiguous (H, W, 3)."""
    return np.ascontiguousarray(np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image)


def pack_mask_uint64(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return a (H, W) mask of 0/1 bytes as (H, ceil(W / 8)) uint64; missing columns are background.

    Kernels pass over eight pixels at a time in this form.
    No copy is made where the memory can be read as words. A bool array viewed from other bytes than 0 and 1 keeps
    them; kernels notice, and :func:`zero_or_one` puts it right.
    """
    height, width = mask.shape
    if width % 8 or mask.ctypes.data % 8 or not mask.flags.carray:  # one kind of array means one compilation
        padded = np.zeros((height, -(-width // 8) * 8), dtype=np.uint8)
        padded[:, :width] = mask.view(np.uint8)
        return padded.view(np.uint64)
    return mask.view(np.uint64)


def zero_or_one(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a (H, W) mask whose True is stored as the byte 1."""
    return np.asarray(np.not_equal(mask.view(np.uint8), 0))
