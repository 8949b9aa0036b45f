"""Operations that draw on places of their own: reflections, dead pixels, a second exposure, echoes of the gel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmseg.simulators import fields, optical, ultrasound
from dmseg.simulators.batched import tensors
from dmseg.simulators.batched.tensors import Values, put, put_numbers
from dmseg.simulators.scene import Scene


def specular_reflection(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Add spots where a surface mirrors the lamp."""
    shape = (x.shape[2], x.shape[3])
    soft = [scene.modality == "microscopy" for scene in scenes]
    lobes = _draw_lobes(
        [optical.reflection_lobes(scene, shape, int(one["spots"]), one["radius"]) for scene, one in
         zip(scenes, values, strict=True)],
        [0.0 if each else optical.CORE_SHARE for each in soft], x,
    )  # fmt: skip
    strength = [
        one.get("strength", 1.0) * float(scene.observed.get("bright", 1.0)) if each else 1.0
        for each, scene, one in zip(soft, scenes, values, strict=True)
    ]
    kept = torch.where(put(np.asarray(soft), x.device).reshape(-1, 1, 1, 1), 1.0, 1 - lobes)
    return tensors.affine(x, kept, lobes * put_numbers(strength, x))


def _draw_lobes(spots: Sequence[NDArray[np.float64]], cores: Sequence[float], x: Tensor) -> Tensor:
    """Return the largest lobe at every pixel, float32 (B, 1, H, W): each is drawn on a patch of its own."""
    count, (height, width) = len(x), x.shape[2:]
    most = max(len(rows) for rows in spots)
    table = np.stack([np.pad(rows, ((0, most - len(rows)), (0, 0)), constant_values=1.0) for rows in spots])
    unused = np.stack([np.arange(most) >= len(rows) for rows in spots])
    corner = np.floor(table[..., :2] - table[..., 2:3]).astype(np.int64)
    side = 2 * math.ceil(float(table[..., 2].max())) + 3
    inside = put(np.concatenate([table[..., :2] - corner, table[..., 2:]], axis=2).astype(np.float32), x.device)
    x0, y0, long, short, cosine, sine = (part[..., None, None] for part in inside.unbind(2))
    px = torch.arange(side, device=x.device)
    across, down = px[None, :] - x0, px[:, None] - y0
    distance = torch.hypot((across * cosine + down * sine) / long, (down * cosine - across * sine) / short)
    core = put_numbers(cores, x)
    fall = ((1 - distance) / (1 - core)).clamp(0, 1)
    lobe = fall * fall * (3 - 2 * fall)
    left, upper = put(corner, x.device).unbind(2)
    columns, rows = left[..., None, None] + px[None, :], upper[..., None, None] + px[:, None]
    here = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    here = here & ~put(unused, x.device)[..., None, None]
    place = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
    flat = torch.zeros((count, height * width), device=x.device)
    shown = torch.where(here, lobe, 0.0).reshape(count, -1)
    return flat.scatter_reduce_(1, place.reshape(count, -1), shown, "amax").reshape(count, 1, height, width)


def double_exposure(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Add a shifted copy: whole pixels, reflecting border."""
    height, width = x.shape[2:]
    turns = [math.radians(one["angle"]) for one in values]
    moves = np.array([[round(one["distance"] * part(turn)) for one, turn in zip(values, turns, strict=True)]
                      for part in (math.sin, math.cos)])  # fmt: skip
    down, across = put(moves, x.device)[:, :, None]
    rows, columns = (torch.arange(size, device=x.device)[None] for size in (height, width))
    moved = tensors.pick(x, _reflect(rows - down, height), _reflect(columns - across, width)).float()
    share = put_numbers([one["weight"] for one in values], x)
    made = x.float() * (1 - share) + moved * share
    return torch.round(made).clamp(0, 255).to(torch.uint8) if x.dtype == torch.uint8 else made.clamp(0, 1)


def _reflect(index: Tensor, size: int) -> Tensor:
    """Return indices of a line that is mirrored at its first and last pixel, which come once."""
    index = index % (2 * size - 2)
    return torch.where(index < size, index, 2 * size - 2 - index)


def gel_reflection(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Repeat the bright interface below the probe."""
    grey = x[:, 1 if x.shape[1] == 3 else 0].float()
    made = [_draw_echoes(image, scene, one) for image, scene, one in zip(grey, scenes, values, strict=True)]
    return tensors.affine(x, None, torch.stack(made)[:, None] / tensors.top(x))


def _draw_echoes(image: Tensor, scene: Scene, one: Mapping[str, float]) -> Tensor:
    height, width = image.shape
    where = scene.beams((height, width))
    start, spacing, bands = ultrasound.make_echo_bands(scene, where, one["decay"], one["spacing"])
    depth, inside = put(where.depth, image.device), put(where.inside, image.device)
    echo = (depth - start + spacing / 2) / spacing
    number = echo.long().clamp(0, ultrasound.ECHOES)
    shown = inside & (echo >= 1) & (echo < ultrasound.ECHOES + 1)
    at = ((echo - number) * ultrasound.HANN_STEPS).long().clamp(0, ultrasound.HANN_STEPS)
    band = put(bands, image.device).reshape(-1)[number * (ultrasound.HANN_STEPS + 1) + at]
    back = number * spacing
    rows = torch.arange(height, device=image.device, dtype=torch.float32)[:, None]
    columns = torch.arange(width, device=image.device, dtype=torch.float32)[None]
    if where.spread:
        apex_x, apex_y = (float(value) for value in scene.geometry["apex"])
        share = (depth + where.near - back) / (depth + where.near)
        columns, rows = apex_x + (columns - apex_x) * share, apex_y + (rows - apex_y) * share
    else:
        columns, rows = columns.expand(height, width), rows - back
    left, upper = columns.floor().long().clamp(0, width - 2), rows.floor().long().clamp(0, height - 2)
    u, v = (columns - left).clamp(0, 1), (rows - upper).clamp(0, 1)
    flat, place = image.reshape(-1), upper * width + left
    above = (1 - u) * flat[place] + u * flat[place + 1]
    below = (1 - u) * flat[place + width] + u * flat[place + width + 1]
    return torch.where(shown, band * ((1 - v) * above + v * below), 0.0)


def dead_pixels(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Set isolated pixels and whole lines to a fixed value. Of cameras: the same pixels as on arrays."""
    made = [
        _lose_elements(image[None], scene, one) if scene.modality == "ultrasound" else _lose_pixels(image, scene, one)
        for image, scene, one in zip(x, scenes, values, strict=True)
    ]
    return torch.cat(made)


def _lose_pixels(image: Tensor, scene: Scene, one: Mapping[str, float]) -> Tensor:
    channels, height, width = image.shape
    pixels, columns = optical.choose_dead(scene, (height, width), one["share"], int(one["lines"]))
    places, white = put(pixels[0], image.device), put(pixels[1], image.device)
    stuck = torch.where(white, tensors.top(image), 0.0).to(image.dtype)
    flat = image.reshape(channels, -1)
    made = flat.index_copy(1, places, stuck.expand(channels, -1))
    if channels == 3:  # under the mosaic, unless the colours are one grey
        mosaic = put(optical.find_mosaic(pixels[0], width), image.device)
        single = flat.reshape(-1).index_copy(0, mosaic * (height * width) + places, stuck).reshape(3, -1)
        made = torch.where((image == image[:1]).all(), made, single)
    made = made.reshape(image.shape)
    if columns:
        at = put(np.array(list(columns)), image.device)
        levels = put(np.array([float(lit) for lit in columns.values()], np.float32) * tensors.top(image), image.device)
        made = made.index_copy(2, at, levels.to(image.dtype).expand(channels, height, -1).contiguous())
    return made[None]


def _lose_elements(image: Tensor, scene: Scene, one: Mapping[str, float]) -> Tensor:
    shape = (image.shape[2], image.shape[3])
    where = scene.beams(shape)
    inside, lateral = put(where.inside, image.device), put(where.lateral, image.device)
    depth = put(where.depth, image.device).clamp(min=0) / max(where.deepest, 1)
    kept = torch.ones(shape, device=image.device)
    for element, first in optical.choose_elements(scene, where, int(one["lines"])):
        wide = float(first) * (1 + depth / optical.APERTURE_GROWTH)
        kept = kept * (
            1 - optical.NEAR_LOSS * float(first) / wide * torch.exp(-(((lateral - float(element)) / wide) ** 2) / 2)
        )
    if int(one["lines"]):
        decibels = 20 * torch.log10(torch.where(inside, kept, 1.0))
        image = tensors.affine(image, None, (decibels / optical.DYNAMIC_RANGE)[None, None])
    sector = np.flatnonzero(where.inside)
    count = max(1, round(one["share"] * sector.size)) if one["share"] > 0 else 0
    dark = put(sector[fields.places(scene.key("places"), sector.size, 0, count)], image.device)
    return image.reshape(1, image.shape[1], -1).index_fill(2, dark, 0).reshape(image.shape)
