"""What all torch operations share: numbers on their way to the device, saturating arithmetic, fields, borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmseg.simulators.fields import normal_table
from dmseg.simulators.scene import Scene

Values = Sequence[Mapping[str, float]]
"""Parameters of each image of a batch; lengths in px of the image."""


def put(array: Any, device: torch.device) -> Tensor:
    """Return an array as a tensor on a device, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def put_numbers(values: Sequence[float], like: Tensor) -> Tensor:
    """Return one number an image, float32 (B, 1, 1, 1)."""
    return put(np.asarray(values, np.float32), like.device).reshape(-1, 1, 1, 1)


def top(x: Tensor) -> float:
    """Return the value that stands for white: 255 or 1."""
    return 255.0 if x.dtype == torch.uint8 else 1.0


def finish(values: Tensor, like: Tensor) -> Tensor:
    """Return values of the scale of ``like`` in its type: rounded half up, saturating."""
    if like.dtype == torch.uint8:
        return (values + 0.5).clamp_(0, 255.5).to(torch.uint8)
    return values.clamp_(0, 1)


def affine(x: Tensor, gain: Tensor | None, offset: Tensor | None = None) -> Tensor:
    """Return ``x * gain + offset``, offset in units of full scale; see :func:`dmseg.simulators.pixels.affine`."""
    values = x.float() if gain is None else x.float() * gain
    return finish(values if offset is None else values + offset * top(x), x)


def look_up(tables: NDArray[Any], x: Tensor) -> Tensor:
    """Return ``tables[b][x[b]]`` for uint8 images and a table of 256 numbers for each."""
    flat = x.reshape(len(x), -1).long()
    return torch.gather(put(tables, x.device), 1, flat).reshape(x.shape)


def mirror(index: Tensor, size: int) -> Tensor:
    """Return indices of a line that continues as its own mirror image, edge pixels twice."""
    index = index % (2 * size)
    return torch.where(index < size, index, 2 * size - 1 - index)


def pick(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return ``x[b, c, rows[b, y], columns[b, x]]``; indices are int64 (B, H) and (B, W)."""
    count, channels, _, width = x.shape
    places = (rows[:, :, None] * width + columns[:, None, :]).reshape(count, 1, -1).expand(-1, channels, -1)
    return torch.gather(x.reshape(count, channels, -1), 2, places).reshape(count, channels, rows.shape[1], -1)


def pad_mirrored(x: Tensor, pad: int) -> Tensor:
    """Return the images with ``pad`` mirrored px on every side."""
    rows, columns = (mirror(torch.arange(-pad, size + pad, device=x.device), size) for size in x.shape[2:])
    return x[:, :, rows][:, :, :, columns]


def average_locally(x: Tensor, size: int, *, repeat_edge: bool = True) -> Tensor:
    """Return the mean of ``size`` x ``size`` neighbours, rounded for integers, as :func:`cv2.blur` does."""
    pad = size // 2
    near = pad_mirrored(x, pad) if repeat_edge else torch.nn.functional.pad(x.float(), (pad,) * 4, "reflect")
    near = near.float() if x.dtype != torch.uint8 else near.int()
    height, width = x.shape[2:]
    across = near[..., :width]
    for k in range(1, size):
        across = across + near[..., k : k + width]
    total = across[:, :, :height]
    for k in range(1, size):
        total = total + across[:, :, k : k + height]
    if x.dtype == torch.uint8:
        return torch.div(total + size * size // 2, size * size, rounding_mode="floor")
    return total / (size * size)


def make_area_weights(size: int, side: int) -> np.ndarray:
    """Return the share of every px in the mean of each of ``side`` equal parts, float32 (side, size)."""
    edges = np.arange(side + 1) * (size / side)
    first, last = edges[:-1, None], edges[1:, None]
    px = np.arange(size)[None]
    overlap = np.clip(np.minimum(last, px + 1) - np.maximum(first, px), 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True), np.float32)


def convolve(x: Tensor, taps: NDArray[np.float32], axis: int) -> Tensor:
    """Return a float image, already padded along ``axis``, summed with one row of taps an image; float32 (B, K)."""
    weights = put(taps, x.device).reshape(len(taps), -1, 1, 1, 1)
    length = x.shape[axis] - taps.shape[1] + 1
    total = x.narrow(axis, 0, length) * weights[:, 0]
    for k in range(1, taps.shape[1]):
        total = torch.addcmul(total, x.narrow(axis, k, length), weights[:, k])
    return total


_GOLDEN, _MIX_1, _MIX_2 = (
    number - 2**64 for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)  # as signed 64-bit numbers, which wrap as unsigned ones do


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def draw_normals(keys: Sequence[int], count: int, device: torch.device) -> Tensor:
    """Return ``count`` normal deviates times 4096 of each key, int16 (B, count): the bits of ``fields.normals``."""
    signed = np.array([key & (2**64 - 1) for key in keys], np.uint64).view(np.int64)
    counter = torch.arange(1, (count + 3) // 4 + 1, device=device)
    z = put(signed, device)[:, None] + counter * _GOLDEN
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    z = z ^ _shift(z, 31)
    lanes = torch.stack([(z >> bits) & 0xFFFF for bits in (0, 16, 32, 48)], dim=-1)
    return _put_normal_table(device)[lanes.reshape(len(keys), -1)[:, :count]]


_TABLES: dict[torch.device, Tensor] = {}


def _put_normal_table(device: torch.device) -> Tensor:
    if device not in _TABLES:
        _TABLES[device] = put(normal_table(), device)
    return _TABLES[device]


def draw_pixel_normals(scenes: Sequence[Scene], field: str, x: Tensor) -> Tensor:
    """Return the field that an operation on arrays would add to each image, int16 (B, C, H, W).

    Colours have a number for each channel, images of three equal channels one for all, as on arrays.
    """
    keys = [scene.key(field) for scene in scenes]
    count, channels, height, width = x.shape
    one = draw_normals(keys, height * width, x.device).reshape(count, 1, height, width)
    if channels == 1:
        return one
    colours = draw_normals(keys, channels * height * width, x.device).reshape(count, height, width, channels)
    equal = ((x[:, :1] == x).flatten(1)).all(dim=1).reshape(-1, 1, 1, 1)
    return torch.where(equal, one, colours.permute(0, 3, 1, 2))
