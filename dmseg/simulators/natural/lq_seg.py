"""LQ-Seg's degradation: a sharpened image, twice blurred, resized, made noisy and compressed; levels by one divisor.

Offline is how the published test sets were made, online how GleSAM trains. Both are keyed here. The published levels
are three independent runs, so one image's LQ-1 can look worse than its LQ-3; ``coupled=True`` (ours, another name in
the record) draws once for all levels, which then differ by the divisor alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg import canonical
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.rng import Stream
from dmseg.simulators.natural import jpeg, kernels, noise
from dmseg.simulators.natural.resampling import MODES, resize
from dmseg.tables import read_packaged_table
from dmseg.types import as_rgb

TABLE = read_packaged_table(__name__.rpartition(".")[0], "lq_seg.toml")
LQ_SEG_VERSION = "lq-seg-1"
"""Raised with any change of the tables or of what they mean."""
LEVEL_SCALES: dict[str, int] = TABLE["scales"]
LEVELS = ("clear", *LEVEL_SCALES)
Pixels = NDArray[np.float32]
_CV_MODES = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


@dataclass(frozen=True, slots=True)
class Pass:
    """What one of the two passes does: values as drawn."""

    factor: float
    mode: str
    gaussian: bool
    strength: float
    grey: bool
    quality: float


@dataclass(frozen=True, slots=True)
class LqSegValues:
    """All that is drawn for one image at one level.

    Attributes:
        blur, second_blur: (kind, side, ...) of a kernel; ``second_blur`` None: not blurred again.
        first, second: the two passes.
        filter_first: the image goes back to its size before the last JPEG, not after it.
        back: mode of that resizing.
        sinc: (side, cutoff) of the last filter, or None.
    """

    blur: tuple[Any, ...]
    second_blur: tuple[Any, ...] | None
    first: Pass
    second: Pass
    filter_first: bool
    back: str
    sinc: tuple[int, float] | None


def draw_lq_seg(stream: Stream, table: str = "offline") -> LqSegValues:
    """Draw the values of one image from ``offline`` or ``online`` tables."""
    shared = TABLE["kernels"]
    blur, second = (_draw_kernel(stream, shared[name]) for name in ("first_sigma", "second_sigma"))
    sinc = None
    if stream.uniform() < shared["final_sinc"]:
        sinc = (stream.choice(shared["sides"]), stream.uniform(math.pi / shared["sinc_wide"], math.pi))
    first = _draw_pass(stream, TABLE[table]["first"])
    blurred = stream.uniform() < shared["second_blur"]
    last = _draw_pass(stream, TABLE[table]["second"])
    if table == "online":
        second = blur  # the published trainer makes a second kernel and drops it
    return LqSegValues(
        blur, second if blurred else None, first, last, stream.uniform() < 0.5, stream.choice(MODES), sinc
    )


def _draw_kernel(stream: Stream, sigma: Sequence[float]) -> tuple[Any, ...]:
    table = TABLE["kernels"]
    side = stream.choice(table["sides"])
    if stream.uniform() < table["sinc"]:
        lowest = table["sinc_wide"] if side < table["sinc_change"] else table["sinc_narrow"]
        return ("sinc", side, stream.uniform(math.pi / lowest, math.pi))
    kind = _choose(stream, table["kinds"], table["shares"])
    across = stream.uniform(*sigma)
    down, rotation = (across, 0.0)
    if kind.endswith("aniso"):
        down, rotation = stream.uniform(*sigma), stream.uniform(-math.pi, math.pi)
    family = kind.rpartition("_")[0]
    if not family:
        return ("generalised", side, across, down, rotation, 1.0)
    low, high = table[family]
    beta = stream.uniform(low, 1.0) if stream.uniform() < 0.5 else stream.uniform(1.0, high)
    return (family, side, across, down, rotation, beta)


def _draw_pass(stream: Stream, table: dict[str, Any]) -> Pass:
    low, high = table["range"]
    direction = _choose(stream, ("up", "down", "keep"), table["resize"])
    factor = {"up": stream.uniform(1.0, high), "down": stream.uniform(low, 1.0), "keep": 1.0}[direction]
    mode = stream.choice(MODES)
    gaussian = stream.uniform() < table["gaussian"]
    strength = stream.uniform(*table["sigma" if gaussian else "poisson"])
    return Pass(factor, mode, gaussian, strength, stream.uniform() < table["grey"], stream.uniform(*table["quality"]))


def _choose(stream: Stream, options: Sequence[str], shares: Sequence[float]) -> str:
    place = stream.uniform() * sum(shares)
    return options[min(int(np.searchsorted(np.cumsum(shares), place, side="right")), len(options) - 1)]


def build_kernel(drawn: tuple[Any, ...]) -> NDArray[np.float64]:
    """Return the kernel that the drawn values stand for."""
    kind, *values = drawn
    makers: dict[str, Callable[..., NDArray[np.float64]]] = {
        "sinc": kernels.make_sinc,
        "generalised": kernels.make_generalised,
        "plateau": kernels.make_plateau,
    }
    return makers[kind](*values)


def sharpen(image: Pixels) -> Pixels:
    """Return the unsharp mask of an image in [0, 1], where it differs enough from its blur."""
    table = TABLE["sharpen"]
    line = cv2.getGaussianKernel(table["side"], 0)
    blurred = cv2.sepFilter2D(image, -1, line, line, borderType=cv2.BORDER_REFLECT_101)
    rest = image - blurred
    mask = (np.abs(rest) * 255 > table["threshold"]).astype(np.float32)
    soft = cv2.sepFilter2D(mask, -1, line, line, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(soft * np.clip(image + table["weight"] * rest, 0, 1) + (1 - soft) * image, dtype=np.float32)


def apply_values(image: Pixels, values: LqSegValues, scale: int, parts: noise.Parts) -> Pixels:
    """Return a clean image in [0, 1], float32 (H, W, 3), degraded as the offline pipeline does, before it is stored.

    Args:
        scale: the level's divisor.
        parts: key of the noise fields.
    """
    height, width = image.shape[:2]
    out = noise.filter_image(sharpen(image), build_kernel(values.blur))
    factor = values.first.factor
    size = (max(1, math.floor(height * factor)), max(1, math.floor(width * factor)))
    out = resize(out, size, values.first.mode, factor)
    out = jpeg.compress(np.clip(_add_noise(out, values.first, (*parts, "first")), 0, 1), values.first.quality)
    if values.second_blur is not None and min(out.shape[:2]) > TABLE["kernels"]["sides"][-1] // 2:
        out = noise.filter_image(out, build_kernel(values.second_blur))
    factor = values.second.factor
    size = (max(1, int(height / scale * factor)), max(1, int(width / scale * factor)))
    out = _add_noise(resize(out, size, values.second.mode), values.second, (*parts, "second"))
    if not values.filter_first:
        out = jpeg.compress(np.clip(out, 0, 1), values.second.quality)
    out = resize(out, (height, width), values.back)
    if values.sinc is not None:
        out = noise.filter_image(out, kernels.make_sinc(*values.sinc))
    if values.filter_first:
        out = jpeg.compress(np.clip(out, 0, 1), values.second.quality)
    return np.clip(out, 0, 1)


def _add_noise(image: Pixels, values: Pass, parts: noise.Parts) -> Pixels:
    add = noise.add_gaussian if values.gaussian else noise.add_poisson
    return add(image, values.strength, values.grey, parts)


def store_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Return RGB as it is read back from a JPEG file of OpenCV."""
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class LqSegPlan:
    """What will be done to one image at LQ-1, LQ-2 and LQ-3, by name and key.

    Attributes:
        key, seed: what all draws and fields depend on.
        coupled: one draw for all levels (ours), not one for each (as published).
        stored: the result passes through a JPEG file of quality 95, as the published sets did.
    """

    key: str
    seed: int = 0
    coupled: bool = False
    stored: bool = True

    @property
    def name(self) -> str:
        """Return ``lq-seg``, or ``lq-seg-coupled``."""
        return "lq-seg-coupled" if self.coupled else "lq-seg"

    def _parts(self, level: str) -> noise.Parts:
        return (self.name, self.seed, self.key, "all" if self.coupled else level)

    def values(self, level: str) -> LqSegValues:
        """Return what is drawn for a level.

        Raises:
            UsageError: no level of this set.
        """
        if level not in LEVEL_SCALES:
            raise unknown_name("level of LQ-Seg", level, tuple(LEVEL_SCALES))
        return draw_lq_seg(Stream(*self._parts(level)))

    def apply(self, image: NDArray[np.uint8], level: str) -> NDArray[np.uint8]:
        """Return the image at a level, uint8 RGB (H, W, 3) of the same size; ``clear`` is the image itself."""
        if level == "clear":
            return image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UsageError(f"LQ-Seg degrades uint8 RGB images (H, W, 3), not {image.dtype} {image.shape}")
        pixels = np.ascontiguousarray(image, dtype=np.float32) / np.float32(255)
        made = apply_values(pixels, self.values(level), LEVEL_SCALES[level], self._parts(level))
        rounded = np.rint(made * 255).astype(np.uint8)
        return store_jpeg(rounded, TABLE["stored"]["quality"]) if self.stored else rounded

    def apply_levels(self, image: NDArray[np.uint8], levels: Sequence[str] = LEVELS) -> dict[str, NDArray[np.uint8]]:
        """Return level -> image."""
        return {level: self.apply(image, level) for level in levels}

    def to_json(self, level: str) -> str:
        """Return what is done at a level as canonical JSON."""
        record: dict[str, Any] = {"degradation": self.name, "key": self.key, "seed": self.seed, "level": level}
        if level != "clear":
            values = self.values(level)
            record |= {"scale": LEVEL_SCALES[level], "stored": self.stored}
            record["values"] = {name: _plain(getattr(values, name)) for name in LqSegValues.__dataclass_fields__}
        return canonical.canonical_json(record)

    @classmethod
    def from_json(cls, text: str) -> LqSegPlan:
        """Read what :meth:`to_json` wrote; the plan makes every level, whichever it was written for.

        Raises:
            DataError: it is no such record, or other tables drew its values.
        """
        try:
            record = json.loads(text)
            coupled = {"lq-seg": False, "lq-seg-coupled": True}[record["degradation"]]
            plan = cls(str(record["key"]), int(record["seed"]), coupled, bool(record.get("stored", True)))
            same = plan.to_json(record["level"]) == canonical.canonical_json(record)
        except (ValueError, KeyError, TypeError, UsageError) as error:
            raise DataError(f"not a plan of LQ-Seg ({error})") from None
        if not same:
            raise DataError(
                f"the plan of {plan.key} at {record['level']} has other values than this dmseg draws "
                f"(LQ-Seg tables {LQ_SEG_VERSION}); install the dmseg that made it"
            )
        return plan

    def digest(self, level: str) -> str:
        """Return the sha256 (64 hex digits) of what is done at a level."""
        return canonical.digest([self.to_json(level), tables_digest()])


def _plain(value: Any) -> Any:
    if isinstance(value, Pass):
        return {name: _plain(getattr(value, name)) for name in Pass.__dataclass_fields__}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return canonical.significant(value) if isinstance(value, float) else value


def tables_digest() -> str:
    """Return the sha256 of LQ-Seg's tables."""
    return canonical.digest(TABLE)


def degrade_online(image: NDArray[np.uint8], key: str, *, seed: int = 0, scale: int | None = None) -> NDArray[np.uint8]:
    """Return an image degraded as GleSAM's trainer does it: OpenCV's filters, one kernel twice, no sharpening.

    The trainer first stretches an image to 512 x 512; give it so, uint8 RGB (H, W, 3), if that is wanted.

    Args:
        key, seed: what all draws depend on.
        scale: the divisor; None: drawn from the published list.
    """
    parts: noise.Parts = ("lq-seg-online", seed, key)
    stream = Stream(*parts)
    values = draw_lq_seg(stream, "online")
    divisor = stream.choice(TABLE["online_scales"]["values"]) if scale is None else scale
    height, width = image.shape[:2]
    out = noise.filter_image(image.astype(np.float32) / np.float32(255), build_kernel(values.blur))
    for number, one in (("first", values.first), ("second", values.second)):
        if number == "second":
            if values.second_blur is not None:
                out = noise.filter_image(out, build_kernel(values.second_blur))
            size = (int(width / divisor * one.factor), int(height / divisor * one.factor))
        else:
            size = (int(width * one.factor), int(height * one.factor))
        wanted = (max(1, size[0]), max(1, size[1]))
        out = np.asarray(cv2.resize(out, wanted, interpolation=_CV_MODES[one.mode]), dtype=np.float32)
        out = _add_noise(out, one, (*parts, number))
        if number == "first":
            out = _compress(out, one.quality)
    if not values.filter_first:
        out = _compress(out, values.second.quality)
    out = np.asarray(cv2.resize(out, (width, height), interpolation=_CV_MODES[values.back]), dtype=np.float32)
    if values.sinc is not None:
        out = noise.filter_image(out, kernels.make_sinc(*values.sinc))
    if values.filter_first:
        out = _compress(out, values.second.quality)
    return np.clip(np.rint(out * 255), 0, 255).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class OnlinePlan:
    """What is done to one image in training: :func:`degrade_online` with the divisor of the level.

    Attributes:
        key, seed: what all draws depend on.
    """

    key: str
    seed: int = 0

    def apply(self, image: NDArray[np.uint8], level: str) -> NDArray[np.uint8]:
        """Return the image at a level, uint8 RGB (H, W, 3) of the same size; ``clear`` is the image itself.

        Raises:
            UsageError: no level of this set.
        """
        if level == "clear":
            return image
        if level not in LEVEL_SCALES:
            raise unknown_name("level of LQ-Seg", level, tuple(LEVEL_SCALES))
        return degrade_online(as_rgb(image), f"{self.key}/{level}", seed=self.seed, scale=LEVEL_SCALES[level])


def _compress(image: Pixels, quality: float) -> Pixels:
    rounded = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return np.asarray(store_jpeg(rounded, int(quality)), dtype=np.float32) / np.float32(255)
