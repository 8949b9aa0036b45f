"""RobustSeg's 15 degradations, uint8 RGB in and out, keyed where the published code seeds nothing.

The names are the authors', also where the effect is another: ``impulse_noise`` is one brightening factor, and the first
half of ``snow`` changes nothing. Two of them move the image's content and leave the mask (:data:`MOVING`); ``centred``
is our version that does not: a motion kernel centred on its pixel, a deformation without its mean and affine part.
"""

from __future__ import annotations

import functools
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
from dmseg.simulators.natural import weather
from dmseg.simulators.natural.lq_seg import store_jpeg
from dmseg.simulators.natural.noise import draw_normals, draw_poisson
from dmseg.tables import read_packaged_table
from dmseg.types import TRACK_LEVELS

TABLE = read_packaged_table(__name__.rpartition(".")[0], "robust_seg.toml")
ROBUST_SEG_VERSION = "robust-seg-1"
"""Raised with any change of the tables or of what they mean."""
LEVELS = TRACK_LEVELS["natural-robust"]
MOVING = ("motion_blur", "elastic_transform")
"""The operations after which the published masks no longer fit the images."""
Bytes = NDArray[np.uint8]
Operation = Callable[[Bytes, Stream, dict[str, Any]], Bytes]


def _truncate(values: NDArray[Any]) -> Bytes:
    return np.asarray(np.clip(values, 0, 255), dtype=np.uint8)


def _parts(stream: Stream) -> tuple[str | int, ...]:
    return ("robust-seg field", int(stream.words(1)[0]))


def _gauss_noise(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    sigma = math.sqrt(stream.uniform(*table["variance"]))
    return _truncate(image + draw_normals(_parts(stream), image.shape) * np.float32(sigma))


def _iso_noise(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    shift, intensity = stream.uniform(*table["colour_shift"]), stream.uniform(*table["intensity"])
    hls: NDArray[Any] = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2HLS)
    rate = float(hls[..., 1].std()) * intensity * 255
    shape = image.shape[:2]
    light = draw_poisson(_parts(stream), np.full(shape, rate, np.float32)) / 255
    hue = hls[..., 0] + draw_normals(_parts(stream), shape) * np.float32(shift * 360 * intensity)
    hue[hue < 0] += 360
    hue[hue > 360] -= 360
    hls[..., 0] = hue
    hls[..., 1] += np.asarray(light * (1 - hls[..., 1]), np.float32)
    return (cv2.cvtColor(hls, cv2.COLOR_HLS2RGB) * 255).astype(np.uint8)


def _impulse_noise(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    return _truncate(image.astype(np.float32) * np.float32(stream.uniform(*table["factor"])))


def _blur_by_resampling(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, int(width / table["factor"])), max(1, int(height / table["factor"]))))
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def _motion_blur(image: Bytes, stream: Stream, table: dict[str, Any], centred: bool = False) -> Bytes:
    low, high = table["sides"]
    side = stream.choice(range(low, high + 1, 2))
    x = [stream.integer(0, side - 1), stream.integer(0, side - 1)]
    dot = x[0] == x[1]  # then the line must not end where it begins
    y = stream.sample(range(side), 2) if dot else [stream.integer(0, side - 1), stream.integer(0, side - 1)]
    if centred:
        x, y = _centre_line(x, side), _centre_line(y, side)
    kernel = cv2.line(np.zeros((side, side), np.uint8), (x[0], y[0]), (x[1], y[1]), 1, thickness=1).astype(np.float32)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def _centre_line(ends: list[int], side: int) -> list[int]:
    """Return both ends with an odd number of pixels between and the middle in the kernel's."""
    first, second = ends
    if (abs(first - second) + 1) % 2 == 0:
        if second > first:
            second -= 1
        else:
            first -= 1
    shift = (first + second) // 2 - side // 2
    return [first - shift, second - shift]


def _zoom_blur(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    largest, step = stream.uniform(*table["factor"]), stream.uniform(*table["step"])
    factors = np.arange(1.0, largest, step)
    height, width = image.shape[:2]
    total = image.astype(np.float32)
    for factor in factors:
        rows, columns = math.ceil(height / factor), math.ceil(width / factor)
        top, left = (height - rows) // 2, (width - columns) // 2
        part = image[top : top + rows, left : left + columns]
        zoomed = cv2.resize(part, (int(columns * factor), int(rows * factor)), interpolation=cv2.INTER_LINEAR)
        top, left = (zoomed.shape[0] - height) // 2, (zoomed.shape[1] - width) // 2
        total += zoomed[top : top + height, left : left + width]
    return _truncate(total / (len(factors) + 1))


def _color_jitter(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    drawn = {name: stream.uniform(*table[name]) for name in ("brightness", "contrast", "saturation", "hue")}
    steps = {"brightness": _brighten, "contrast": _spread, "saturation": _saturate, "hue": _turn_hue}
    for place in stream.permutation(len(drawn)):
        name = tuple(drawn)[int(place)]
        image = steps[name](image, drawn[name])
    return image


def _brighten(image: Bytes, factor: float) -> Bytes:
    return _truncate(np.arange(256) * factor)[image]


def _spread(image: Bytes, factor: float) -> Bytes:
    mean = float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean())
    return _truncate(np.arange(256) * factor + mean * (1 - factor))[image]


def _saturate(image: Bytes, factor: float) -> Bytes:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, factor, grey, 1 - factor, 0), np.uint8)


def _turn_hue(image: Bytes, factor: float) -> Bytes:
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    hsv[..., 0] = np.mod(np.arange(256) + 180 * factor, 180).astype(np.uint8)[hsv[..., 0]]
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _compression(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    quality = stream.integer(*table["quality"])
    # Red and blue change places for the encoder, as in the published call, which hands RGB to a BGR function.
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), np.uint8)


def _elastic_transform(image: Bytes, stream: Stream, table: dict[str, Any], centred: bool = False) -> Bytes:
    from scipy.ndimage import gaussian_filter

    height, width = image.shape[:2]
    middle, reach = np.array((height, width), np.float32) // 2, min(height, width) // 3
    before = np.stack([middle + reach, middle + np.array((reach, -reach)), middle - reach]).astype(np.float32)
    moved = stream.uniforms(6).reshape(3, 2) * 2 - 1
    if not centred:
        after = before + (moved * table["affine"]).astype(np.float32)
        matrix = cv2.getAffineTransform(before, after)
        image = np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)
    fields = []
    for _ in range(2):
        field = gaussian_filter(stream.uniforms(height * width).reshape(height, width) * 2 - 1, table["sigma"])
        fields.append((field - field.mean() if centred else field) * table["alpha"])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    mapped = cv2.remap(
        image,
        (x + fields[0]).astype(np.float32),
        (y + fields[1]).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return np.asarray(mapped, np.uint8)


def _blur_as_frosted_glass(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    height, width = image.shape[:2]
    span = 2 * table["reach"] + 1
    moves = (stream.uniforms(2 * height * width) * span).astype(np.int64).reshape(2, height, width) - table["reach"]
    y, x = np.mgrid[:height, :width]
    return np.ascontiguousarray(image[(y + moves[0]).clip(0, height - 1), (x + moves[1]).clip(0, width - 1)])


def _brightness(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    return _truncate(image * stream.uniform(*table["factor"]))


def _contrast(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    factor = stream.uniform(*table["factor"])
    return _truncate((image.astype(np.float32) - 128) * np.float32(factor) + 128)


OPERATIONS: dict[str, Operation] = {
    "snow": weather.add_snow,
    "fog": weather.add_fog,
    "rain": weather.add_rain,
    "gauss_noise": _gauss_noise,
    "ISO_noise": _iso_noise,
    "impulse_noise": _impulse_noise,
    "resampling_blur": _blur_by_resampling,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "color_jitter": _color_jitter,
    "compression": _compression,
    "elastic_transform": _elastic_transform,
    "frosted_glass_blur": _blur_as_frosted_glass,
    "brightness": _brightness,
    "contrast": _contrast,
}
"""The authors' names, in their order."""


def degrade_robust_seg(image: Bytes, name: str, key: str, *, seed: int = 0, centred: bool = False) -> Bytes:
    """Return an image with one of the 15 degradations.

    Args:
        image: uint8 RGB (H, W, 3).
        name: one of :data:`OPERATIONS`.
        key, seed: what all draws depend on.
        centred: our version of the two of :data:`MOVING`, which keeps objects in their place on average.

    Raises:
        UsageError: an unknown name, an image of another kind, or ``centred`` for an operation that moves nothing.
    """
    if name not in OPERATIONS:
        raise unknown_name("degradation of RobustSeg", name, tuple(OPERATIONS))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"RobustSeg degrades uint8 RGB images (H, W, 3), not {image.dtype} {image.shape}")
    if centred and name not in MOVING:
        raise UsageError(f'"{name}" moves nothing; centred is for {" and ".join(MOVING)}')
    operation: Any = OPERATIONS[name]
    apply = functools.partial(operation, centred=True) if centred else operation
    made: Bytes = apply(np.ascontiguousarray(image), Stream("robust-seg", seed, key, name), TABLE[name])
    return made


@dataclass(frozen=True, slots=True)
class RobustSegPlan:
    """What will be done to one image, by each of the 15 types alone; the types are levels of a benchmark.

    Attributes:
        key, seed: what all draws depend on.
    """

    key: str
    seed: int = 0

    def apply(self, image: Bytes, level: str) -> Bytes:
        """Return the image of a type, uint8 RGB (H, W, 3) of the same size; ``clear`` is the image itself.

        The result passes through a JPEG file of quality 95, as the published sets did.
        """
        if level == "clear":
            return image
        return store_jpeg(degrade_robust_seg(image, level, self.key, seed=self.seed), TABLE["stored"]["quality"])

    def apply_levels(self, image: Bytes, levels: Sequence[str] = LEVELS) -> dict[str, Bytes]:
        """Return level -> image."""
        return {level: self.apply(image, level) for level in levels}

    def to_json(self, level: str) -> str:
        """Return what is done at a level as canonical JSON."""
        return canonical.canonical_json({"degradation": level, "key": self.key, "seed": self.seed, "level": level})

    @classmethod
    def from_json(cls, text: str) -> RobustSegPlan:
        """Read what :meth:`to_json` wrote; the plan makes every type, whichever it was written for.

        Raises:
            DataError: it is no such record.
        """
        try:
            record = json.loads(text)
            plan = cls(str(record["key"]), int(record["seed"]))
            same = record["level"] in LEVELS and plan.to_json(record["level"]) == canonical.canonical_json(record)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a plan of RobustSeg ({error})") from None
        if not same:
            raise DataError(f"not a plan of RobustSeg: {text[:200]}")
        return plan

    def digest(self, level: str) -> str:
        """Return the sha256 (64 hex digits) of what is done at a level."""
        return canonical.digest([self.to_json(level), tables_digest()])


def tables_digest() -> str:
    """Return the sha256 of RobustSeg's tables."""
    return canonical.digest(TABLE)
