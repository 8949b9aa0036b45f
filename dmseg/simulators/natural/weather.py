"""Snow, rain and fog of RobustSeg, as imgaug and albumentations draw them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dmseg.rng import Stream

Bytes = NDArray[np.uint8]


def _draw_field(stream: Stream, height: int, width: int) -> NDArray[np.float64]:
    return stream.uniforms(height * width).reshape(height, width)


def _draw_flakes(stream: Stream, shape: tuple[int, int], size: float, density: float, table: dict[str, Any]) -> Bytes:
    """Return bright pixels on a coarse grid, thinned by a smooth gate and enlarged to (H, W)."""
    height, width = (max(1, int(side * (1.0 - size))) for side in shape)
    hit = _draw_field(stream, height, width) < density
    arcsine = np.sin(np.pi / 2 * _draw_field(stream, height, width)) ** 2  # a Beta(1/2, 1/2) number
    salt = np.where(hit, np.rint((np.abs(arcsine - 0.5) + 0.5) * 255), 0)
    side = table["gate_side"]
    flank = max(1.0 - stream.uniform(*table["gate_uniformity"]), 1e-9)
    gate = 1 - (1 - _draw_field(stream, side, side)) ** (1 / flank)  # Beta(1, flank) numbers
    smooth = np.clip(cv2.resize(gate, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    kept = np.clip(salt.astype(np.float32) * smooth, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(kept, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC), np.uint8).reshape(shape)


def _smear(flakes: Bytes, speed: float, angle: float) -> Bytes:
    """Blur along a line that fades from its top to its bottom, turned by ``angle`` degrees."""
    length = int(speed * max(flakes.shape))
    if length <= 1:
        return flakes
    side = max(length, 3) | 1
    line = np.zeros((side, side), np.float32)
    line[:, side // 2] = np.linspace(1.0, 0.0, side)
    turn = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -angle, 1.0)
    turned = cv2.warpAffine((line * 255).astype(np.uint8), turn, (side, side)).astype(np.float32)
    return np.asarray(cv2.filter2D(flakes, -1, turned / turned.sum()), np.uint8)


def add_snow(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    """Add a layer of snow one to three times; before it an 8-bit trip to HLS, all that is left of the first half."""
    out = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2HLS), cv2.COLOR_HLS2RGB)
    shape = (image.shape[0], image.shape[1])
    layers = stream.integer(*table["layers"])
    size = stream.uniform(*table["flake_size"])
    uniformity = stream.uniform(*table["size_uniformity"])
    speed = stream.uniform(*table["speed"])
    sigma = float(np.clip(max(shape) * stream.uniform(*table["blur_share"]), *table["blur_limits"]))
    flakes = _draw_flakes(stream, shape, size, table["density"], table)
    side = int(max((3.3 if sigma < 3 else 2.9) * sigma, 5)) | 1
    flakes = _smear(np.asarray(cv2.GaussianBlur(flakes, (side, side), sigma, sigmaY=sigma), np.uint8), speed, 0.0)
    curve = (np.linspace(0, 1, 256, dtype=np.float32) ** np.float32(1 + 2 * (1 - uniformity)) * 255).astype(np.uint8)
    white = cv2.LUT(flakes, curve).astype(np.float32)[..., None] * np.float32(1 + 5 * (1 - uniformity))
    for _ in range(layers):
        summed = np.clip(out.astype(np.float32) + np.float32(0.1 + 20 * speed) * white, 0, 255).astype(np.uint8)
        out = np.clip(np.maximum(summed, np.float32(1 + 20 * speed) * white), 0, 255).astype(np.uint8)
    return np.asarray(out)


def add_rain(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    """Add a layer of drops one to three times; their colour follows from the layer's first thousand values."""
    out = image
    layers = stream.integer(*table["layers"])
    size, speed = stream.uniform(*table["drop_size"]), stream.uniform(*table["speed"])
    angle = stream.uniform(*table["angle"])
    drops = _draw_flakes(stream, (image.shape[0], image.shape[1]), size, stream.uniform(*table["density"]), table)
    drops = _smear(drops, speed, angle)
    total = int(np.repeat(drops.ravel()[:334], 3)[:1000].sum()) or 1
    colour = table["dark"] + (table["bright"] - table["dark"]) % total
    share = np.clip(table["visibility"] * (drops[..., None] / 255.0), 0, 1)
    for _ in range(layers):
        out = np.clip((1 - share) * out.astype(np.float32) + share * colour, 0, 255).astype(np.uint8)
    return out


def _draw_cloud(stream: Stream, height: int, width: int, exponent: float) -> NDArray[np.float32]:
    """Return noise in [0.01, 1] whose amplitudes follow a power of the distance to the spectrum's corners."""
    sides = [np.concatenate([np.arange(n // 2), [n // 2] * (n % 2), np.arange(n // 2)[::-1]]) for n in (height, width)]
    distance = np.hypot(sides[0][:, None], sides[1][None])
    corners = np.ix_([0, -1], [0, -1])
    distance[corners] = 1
    scale = distance**exponent
    scale[corners] = 0
    size = _draw_field(stream, height, width) * max(height, width) ** 2 * scale
    phase = _draw_field(stream, height, width) * 2 * np.pi
    field = np.fft.ifft2(size * np.exp(1j * phase)).real
    low, high = field.min(), field.max()
    return np.asarray(0.01 + 0.99 * (field - low) / max(high - low, 1e-12), np.float32)


def add_fog(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    """Add the fixed fog texture of the image's size, then white discs and a box blur."""
    height, width = image.shape[:2]
    texture = Stream("robust-seg", "fog", height, width)  # the published seed is a constant
    side = table["coarse_side"]
    offsets = np.array([texture.normal(0, table["coarse"]) for _ in range(side**2)], np.float32).reshape(side, side)
    coarse = cv2.resize(table["mean"] + offsets, (width, height), interpolation=cv2.INTER_CUBIC)
    fine = table["mean"] * (2 * _draw_cloud(texture, height, width, table["fine_exponent"]) - 1) * table["fine_share"]
    small = np.array(table["alpha_grid"], np.float32) / 255
    local = np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    alpha = ((table["alpha_min"] + table["alpha_share"] * local) ** table["sparsity"] * table["density"]).clip(0, 1)
    out = (1 - alpha[..., None]) * image + (alpha * np.clip(coarse + fine, 0, 255))[..., None]
    return _add_discs(np.clip(out, 0, 255).astype(np.uint8), stream, table)


def _add_discs(image: Bytes, stream: Stream, table: dict[str, Any]) -> Bytes:
    height, width = image.shape[:2]
    coefficient = stream.uniform(*table["discs"])
    reach = max(1, int(width // 3 * coefficient))
    middle_x, middle_y, turn = width // 2 - 2 * reach, height // 2 - reach, 1
    places = []
    while middle_x > -reach or middle_y > -reach:
        for _ in range(reach // 10 * turn):
            x = stream.integer(*sorted((middle_x, width - middle_x - reach)))
            y = stream.integer(*sorted((middle_y, height - middle_y - reach)))
            places.append((x, y))
        middle_x -= 3 * reach * width // (width + height)
        middle_y -= 3 * reach * height // (width + height)
        turn += 1
    side, alpha = max(int(width // 3 * coefficient), 10), table["disc_alpha"] * coefficient
    for x, y in places:
        disc = cv2.circle(image.copy(), (x + side // 2, y + side // 2), side // 2, (255, 255, 255), -1)
        image = np.asarray(cv2.addWeighted(disc, alpha, image, 1 - alpha, 0), np.uint8)
    return np.asarray(cv2.blur(image, (side // 10, side // 10)))
