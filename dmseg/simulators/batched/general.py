"""The eight general operations on (B, C, H, W) tensors; see :mod:`dmseg.simulators.general`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from dmseg.simulators import fields, general
from dmseg.simulators.batched import tensors
from dmseg.simulators.batched.jpeg import code_jpeg
from dmseg.simulators.batched.tensors import Values, put, put_numbers
from dmseg.simulators.scene import Scene

_FRACTION = 8


def gaussian_noise(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Add independent normal noise; the same bits as on arrays."""
    deviates = tensors.draw_pixel_normals(scenes, "noise", x)
    sigmas = [one["sigma"] for one in values]
    if x.dtype != torch.uint8:
        return tensors.finish(
            x + put_numbers([sigma / 2**fields.NORMAL_BITS for sigma in sigmas], x) * deviates.float(), x
        )
    strength = put(np.array([round(sigma * 255 * 2**_FRACTION) for sigma in sigmas], np.int32), x.device)
    shift = _FRACTION + fields.NORMAL_BITS
    noise = (deviates.int() * strength.reshape(-1, 1, 1, 1) + (1 << (shift - 1))) >> shift
    return (x.int() + noise).clamp_(0, 255).to(torch.uint8)


def salt_pepper(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Set a share of the pixels to white and another share to black; the same pixels as on arrays."""
    size = x.shape[2] * x.shape[3]
    out = x.reshape(len(x), x.shape[1], size).clone()
    images: list[np.ndarray] = []
    places: list[np.ndarray] = []
    greys: list[np.ndarray] = []
    for number, (scene, one) in enumerate(zip(scenes, values, strict=True)):
        white, black = (max(1, round(one[name] * size)) if one[name] > 0 else 0 for name in ("salt", "pepper"))
        key = scene.key("places")
        places += [fields.places(key, size, 0, white), fields.places(key, size, size - black, black)]
        images.append(np.full(white + black, number))
        greys.append(np.repeat([tensors.top(x), 0], [white, black]))
    at = [put(np.concatenate(parts), x.device) for parts in (images, places)]
    colour = put(np.concatenate(greys).astype(np.float32), x.device).to(x.dtype)
    out[at[0], :, at[1]] = colour[:, None].expand(-1, x.shape[1])
    return out.reshape(x.shape)


def motion_blur(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Average along a straight line centred on each pixel; uint8 in whole numbers, the same bits as on arrays."""
    taps = [general.line_taps(one["length"], one["angle"]) for one in values]
    most = max(each[2].size for each in taps)
    dy, dx, weights = (put(np.stack([np.pad(each[part], (0, most - each[part].size)) for each in taps]), x.device)
                       for part in range(3))  # fmt: skip
    height, width = x.shape[2:]
    rows, columns = (torch.arange(size, device=x.device)[None] for size in (height, width))
    whole = x.dtype == torch.uint8
    given = x.int() if whole else x
    share = weights.int() if whole else (weights.double() / 2**general.TAP_BITS).float()
    total = torch.full_like(given, 1 << (general.TAP_BITS - 1)) if whole else torch.zeros_like(given)
    for tap in range(most):
        down = tensors.mirror(rows + dy[:, tap, None], height)
        across = tensors.mirror(columns + dx[:, tap, None], width)
        total += tensors.pick(given, down, across) * share[:, tap].reshape(-1, 1, 1, 1)
    return (total >> general.TAP_BITS).to(torch.uint8) if whole else total.clamp_(0, 1)


def gaussian_blur(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Convolve with a normal point spread."""
    taps = [general.make_gaussian_taps(one["sigma"]) for one in values]
    radius = max(each.size for each in taps) // 2
    rows = np.stack([np.pad(each, radius - each.size // 2) for each in taps])
    padded = tensors.pad_mirrored(x, radius).float()
    return tensors.finish(tensors.convolve(tensors.convolve(padded, rows, 3), rows, 2), x)


def brightness_contrast(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Stretch about the mean of Clear and shift; where there is no signal, black stays. Equal on uint8."""
    asked = [(scene.mean, one["brightness"], one["contrast"]) for scene, one in zip(scenes, values, strict=True)]
    local = tensors.average_locally(x, general.NEIGHBOURS)
    if x.dtype == torch.uint8:
        made = [general.make_curves(255, mean, general.effective_shift(b, mean), c) for mean, b, c in asked]
        curves, lifts = (np.stack(part) for part in zip(*made, strict=True))
        return (tensors.look_up(curves, x) - tensors.look_up(lifts, local)).clamp_(0, 255).to(torch.uint8)
    mean, contrast = put_numbers([one[0] for one in asked], x), put_numbers([one[2] for one in asked], x)
    shift = [general.effective_shift(brightness, average) for average, brightness, _ in asked]
    lifted = [max(0.0, one[0] * (1 - one[2]) + b) for one, b in zip(asked, shift, strict=True)]
    along = (local / general.FULL_SIGNAL).clamp(0, 1)
    unlit = 1 - along * along * (3 - 2 * along)
    stretched = contrast * (x - mean) + mean + put_numbers(shift, x) - put_numbers(lifted, x) * unlit
    return tensors.finish(stretched, x)


def gamma(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Raise to a power. Equal on uint8."""
    if x.dtype != torch.uint8:
        return tensors.finish(x ** put_numbers([one["gamma"] for one in values], x), x)
    greys = np.arange(256, dtype=np.uint8)
    curves = [general.gamma(greys, scene, gamma=one["gamma"]) for scene, one in zip(scenes, values, strict=True)]
    return tensors.look_up(np.stack(curves), x)


def jpeg(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Encode as JPEG and decode again, as libjpeg does. Equal on uint8."""
    eight = x if x.dtype == torch.uint8 else torch.floor(x * 255 + 0.5).to(torch.uint8)
    coded = code_jpeg(eight, [int(one["quality"]) for one in values])
    return coded if x.dtype == torch.uint8 else coded.float() / 255


def glare(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Add a saturating veil of light; pixels beyond 4 standard deviations keep their bits."""
    names = ("size", "x", "y", "aspect")
    lobes = [general.make_lobe((x.shape[2], x.shape[3]), *(one[name] for name in names)) for one in values]
    rows, columns = (put(np.stack(part), x.device) for part in zip(*lobes, strict=True))
    lobe = rows[:, None, :, None] * columns[:, None, None, :]
    veil = torch.where(lobe > math.exp(-(general.LOBE_CUT**2) / 2), lobe, 0.0)
    veil = veil * put_numbers([one["intensity"] for one in values], x)
    confined = [float(scene.modality not in general.UNCONFINED) for scene in scenes]
    if any(confined):
        share = torch.nn.functional.interpolate(measure_scanned_share(clear), x.shape[2:], mode="bilinear")
        bound = put_numbers(confined, x)
        veil = veil * (share * bound + (1 - bound))
    return tensors.affine(x, None, veil)


def measure_scanned_share(clear: Tensor) -> Tensor:
    """Return 0 where Clear shows nothing and 1 inside, float32 (B, 1, 64, 64); see :mod:`dmseg.simulators.general`."""
    side = general.MAP_SIDE
    grey = clear.amax(dim=1, keepdim=True).float()
    down, across = (put(tensors.make_area_weights(size, side), clear.device) for size in clear.shape[2:])
    small = down @ grey @ across.T
    small = torch.round(small) / 255 if clear.dtype == torch.uint8 else small
    lit = torch.nn.functional.pad((small > general.LIT_GREY).float(), (8,) * 4, mode="replicate")
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)).astype(np.float32)
    closed = 1 - _dilate(1 - _dilate(lit, disc), disc)
    inner = 1 - _dilate(1 - closed, np.ones((5, 5), np.float32))
    taps = np.repeat(np.asarray(cv2.getGaussianKernel(13, 1.5).T, np.float32), len(clear), axis=0)
    padded = torch.nn.functional.pad(inner, (6,) * 4, mode="reflect")
    return tensors.convolve(tensors.convolve(padded, taps, 3), taps, 2)[:, :, 8:-8, 8:-8]


def _dilate(mask: Tensor, kernel: np.ndarray) -> Tensor:
    weights = put(kernel, mask.device)[None, None]
    return (torch.nn.functional.conv2d(mask, weights, padding=kernel.shape[0] // 2) > 0.5).float()
