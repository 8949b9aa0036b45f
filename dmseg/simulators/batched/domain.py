"""Domain operations on (B, C, H, W) tensors; see the modules of the same operations on arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from dmseg.simulators import ct, fields, mri, optical, ultrasound, xray
from dmseg.simulators.batched import tensors
from dmseg.simulators.batched.tensors import Values, put, put_numbers
from dmseg.simulators.observe import BLACK
from dmseg.simulators.scene import Scene


def _put_fields(made: Sequence[np.ndarray], x: Tensor) -> Tensor:
    """Return one field an image, float32 (B, 1, H, W)."""
    return put(np.stack(made).astype(np.float32, copy=False), x.device)[:, None]


def _enlarge(made: Sequence[np.ndarray], x: Tensor) -> Tensor:
    return interpolate(_put_fields(made, x), x.shape[2:], mode="bilinear")


def speckle(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Multiply the echo by Rayleigh speckle, seen through log compression."""
    shape = (x.shape[2], x.shape[3])
    decibels = torch.stack([_make_beam_field(scene, shape, one, x) for scene, one in zip(scenes, values, strict=True)])
    grey = clear[:, 1:2] if clear.shape[1] == 3 else clear
    low, high = (level * tensors.top(clear) for level in (ultrasound.ECHO_FROM, ultrasound.ECHO_FULL))
    ramp = ((tensors.average_locally(grey, 5, repeat_edge=False).float() - low) / (high - low)).clamp(0, 1)
    share = put_numbers([one["weight"] / one["dynamic_range"] for one in values], x)
    return tensors.affine(x, None, decibels[:, None] * share * ramp)


def _make_beam_field(scene: Scene, shape: tuple[int, int], one: Mapping[str, float], x: Tensor) -> Tensor:
    where = scene.beams(shape)
    inside = put(where.inside, x.device)
    if where.spread == 0:
        made = _make_speckle(scene, shape, one["axial"], one["lateral"], x)
        return torch.where(inside, made, 0.0)
    rows, columns = int(where.deepest) + 2, max(8, int(where.width) + 1)
    middle = (where.near + where.deepest / 2) / (where.near + where.deepest)
    polar = _make_speckle(scene, (rows, columns), one["axial"], one["lateral"] / middle, x)
    row = (put(where.depth, x.device) + 0.5).long().clamp(0, rows - 1)
    column = (put(where.lateral, x.device) * columns).long().clamp(0, columns - 1)
    return torch.where(inside, polar[row, column], 0.0)


def _make_speckle(scene: Scene, shape: tuple[int, int], axial: float, lateral: float, x: Tensor) -> Tensor:
    """Return fully developed speckle in dB, mean 0, float32 ``shape``."""
    keys = [scene.key(name) for name in ("real", "imaginary")]
    parts = tensors.draw_normals(keys, shape[0] * shape[1], x.device).float().reshape(2, 1, *shape)
    for axis, deviation in ((2, axial), (3, lateral)):
        taps = ultrasound.point_spread(deviation)
        radius = taps.size // 2
        sides = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        parts = tensors.convolve(pad(parts, sides, mode="reflect"), np.stack([taps, taps]), axis)
    intensity = (parts**2).sum(dim=(0, 1)) + 1e-20
    offset = 10 * math.log10(2.0) * (2 * fields.NORMAL_BITS + 1) + float(ultrasound.MEAN_LOG_DB)
    return torch.log10(intensity) * 10 - offset


def acoustic_shadow(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Take away echo below reflectors, along the beam."""
    shape = (x.shape[2], x.shape[3])
    drops = []
    for scene, one in zip(scenes, values, strict=True):
        where = scene.beams(shape)
        asked = {name: one[name] for name in ("shadows", "loss", "width", "onset", "dynamic_range")}
        across, begin, rise = ultrasound.make_shadow_tables(scene, where, **asked)
        depth, lateral, inside = (put(part, x.device) for part in (where.depth, where.lateral, where.inside))
        beam = (lateral * ultrasound.TABLE_STEPS).long().clamp(0, ultrasound.TABLE_STEPS - 1)
        shaded, steps = put((np.abs(across) > 1e-4).any(axis=0), x.device), put(rise, x.device)
        drop = torch.zeros_like(depth)
        for weights, start in zip(put(across, x.device), put(begin, x.device), strict=True):
            behind = ((depth - start[beam]) * ultrasound.PER_PX).long()
            part = weights[beam] * steps[behind.clamp(0, len(rise) - 1)]
            drop = drop + torch.where(behind > 0, part, 0.0)
        drops.append(torch.where(inside & shaded[beam], drop, 0.0))
    made = tensors.affine(x, None, torch.stack(drops)[:, None])
    white = tensors.top(x)
    floor = put_numbers([one["noise_floor"] * white for one in values], x).to(x.dtype)
    return torch.maximum(made, torch.minimum(x, floor))


def bias_field(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Multiply by a smooth field whose largest over smallest value is the ratio."""
    height, width = x.shape[2:]
    down, across = (put(mri.legendre(size).astype(np.float32), x.device) for size in (height, width))
    drawn = [mri.draw_coefficients(scene) for scene in scenes]
    coefficients = put(np.stack([one.plane for one in drawn]).astype(np.float32), x.device)
    field = down.T @ coefficients @ across
    low, high = field.amin(dim=(1, 2)), field.amax(dim=(1, 2))
    slab = put(np.array([[*(one.ends or (0, 0)), one.ends is not None] for one in drawn], np.float32), x.device)
    whole = slab[:, 2] > 0
    low, high = torch.where(whole, slab[:, 0], low), torch.where(whole, slab[:, 1], high)
    mean = torch.where(whole, 0.0, field.mean(dim=(1, 2)))
    shares = [one.get("depth_share", 0.0) for one in values]
    if any(shares):
        share = put(np.asarray(shares, np.float32), x.device)
        beams = [scene.beams((height, width)) for scene in scenes]
        depth = put(np.stack([one.depth / np.float32(max(one.deepest, 1)) for one in beams]), x.device)
        spread = ((1 - share) / (high - low).clamp(min=1e-6))[:, None, None]
        leaning = field * spread - torch.minimum((depth * share[:, None, None]).clamp(min=0), share[:, None, None])
        leans = share > 0
        field = torch.where(leans[:, None, None], leaning, field)
        low = torch.where(leans, torch.where(whole, -share, leaning.amin(dim=(1, 2))), low)
        high = torch.where(leans, torch.where(whole, 1 - share, leaning.amax(dim=(1, 2))), high)
        mean = torch.where(leans, torch.where(whole, -share / 2, leaning.mean(dim=(1, 2))), mean)
    ratio = put(np.log([one["ratio"] for one in values]).astype(np.float32), x.device)
    scale = ratio / (high - low).clamp(min=1e-6)
    return tensors.affine(x, torch.exp((field - mean[:, None, None]) * scale[:, None, None])[:, None])


def gibbs_ringing(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Truncate k-space along the phase-encoding axis."""
    made = x.float() / tensors.top(x)
    for dim, axis in ((2, 0), (3, 1)):
        size = x.shape[dim]
        kept = [
            min(int(one["fraction"] * size / 2), (size - 1) // 2) if one["axis"] in (axis, 2) else size
            for one in values
        ]
        if min(kept) == size:
            continue
        shape = [1, 1, 1, 1]
        shape[dim] = size // 2 + 1
        inside = torch.arange(size // 2 + 1, device=x.device).reshape(shape) <= put_numbers(kept, x)
        made = torch.fft.irfft(torch.fft.rfft(made, dim=dim) * inside, n=size, dim=dim)
    return tensors.finish(made.abs() * tensors.top(x), x)


def mr_ghosting(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Modulate the phase-encoding lines: two circular shifts."""
    height, width = x.shape[2:]
    turns = [mri.choose_phase(one["ghosts"], one["phase"]) for one in values]
    moves = np.array([[round(size / one["ghosts"]) * (one["axis"] == axis) for one in values]
                      for axis, size in ((0, height), (1, width))])  # fmt: skip
    down, across = put(moves, x.device)[:, :, None]
    rows, columns = (torch.arange(size, device=x.device)[None] for size in (height, width))
    here = x.float()
    one = tensors.pick(here, (rows - down) % height, (columns - across) % width)
    other = tensors.pick(here, (rows + down) % height, (columns + across) % width)
    half = [value["intensity"] / 2 for value in values]
    real = put_numbers([a * math.cos(turn) for a, turn in zip(half, turns, strict=True)], x)
    imaginary = put_numbers([a * math.sin(turn) for a, turn in zip(half, turns, strict=True)], x)
    return tensors.finish(torch.hypot(here + real * (one + other), imaginary * (one - other)), x)


def rician_noise(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Take the magnitude of a complex signal with noise."""
    strength = put_numbers([one["sigma"] * tensors.top(x) / 2**fields.NORMAL_BITS for one in values], x)
    real, imaginary = (tensors.draw_pixel_normals(scenes, name, x).float() for name in ("real", "imaginary"))
    return tensors.finish(torch.hypot(x.float() + strength * real, strength * imaginary), x)


def ct_ring(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Add the rings of detector channels whose gain is off."""
    height, width = x.shape[2:]
    names = ("channels", "gain", "drift", "field_of_view")
    made = [
        ct.make_ring_profile(scene, (height, width), *(one[name] for name in names))
        for scene, one in zip(scenes, values, strict=True)
    ]
    profiles = put(np.stack(made), x.device)
    rows, columns = (torch.arange(size, device=x.device, dtype=torch.float32) for size in (height, width))
    down = rows.reshape(1, 1, -1, 1) - put_numbers([one["y"] * (height - 1) for one in values], x)
    across = columns.reshape(1, 1, 1, -1) - put_numbers([one["x"] * (width - 1) for one in values], x)
    place = torch.sqrt(across**2 + down**2) / ct.RADIAL_STEP
    index = place.long().clamp(max=profiles.shape[1] - 2).reshape(len(x), -1)
    share = (place.reshape(len(x), -1) - index).clamp(max=1)
    first, second = torch.gather(profiles, 1, index), torch.gather(profiles, 1, index + 1)
    return add_hounsfield(x, clear, scenes, (first + share * (second - first)).reshape(len(x), 1, height, width))


def add_hounsfield(x: Tensor, clear: Tensor, scenes: Sequence[Scene], offset: Tensor) -> Tensor:
    """Add an artefact as if the window came after it; see :func:`dmseg.simulators.ct.add_hounsfield`."""
    ends = np.array([ct.find_clipped(scene.window) for scene in scenes])
    below, above = (put_numbers(part, x) for part in ends.T)
    shown, grey = (each[:, :1].float() / tensors.top(each) for each in (clear, x))
    local = tensors.average_locally(x[:, :1], 5).float() / tensors.top(x)
    span = ct.LIT - ct.DARK
    smeared = torch.where(grey >= BLACK, ((local - ct.DARK) / span).clamp(0, 1), 0.0)
    dark = torch.maximum(offset + below * (1 - smeared), offset.clamp(max=0) * smeared)
    smeared = torch.where(grey <= ct.WHITE, ((1 - ct.DARK - local) / span).clamp(0, 1), 0.0)
    lit = torch.minimum(offset + above * (1 - smeared), offset.clamp(min=0) * smeared)
    black = (shown < BLACK) & (below < 0)
    offset = torch.where(black, dark, torch.where((shown > ct.WHITE) & (above > 0), lit, offset))
    return tensors.affine(x, None, offset)


def grid_banding(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Darken by the stripes of an anti-scatter grid."""
    gains = [xray.make_grid_factors((x.shape[2], x.shape[3]), **one) for one in values]
    down, across = (put(np.stack(part).astype(np.float32), x.device) for part in zip(*gains, strict=True))
    half = put_numbers([one["modulation"] / 2 for one in values], x)
    return tensors.affine(x, (down.transpose(1, 2) @ across)[:, None] + (1 - half))


def vignette(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Darken towards the rim by the cos**4 law, or in a sector by the beam's angle."""
    gains = []
    for scene, one in zip(scenes, values, strict=True):
        where = scene.beams((x.shape[2], x.shape[3]))
        if where.spread:
            power = math.log(one["transmission"]) / math.log(math.cos(where.spread / 2))
            off = (put(where.lateral, x.device).clamp(0, 1) - 0.5) * where.spread
            gains.append((1 - torch.sin(off) ** 2) ** (power / 2))
            continue
        lens = optical.make_lens_factors(scene, (x.shape[2], x.shape[3]), one["transmission"], one["x"], one["y"])
        down, across = (put(part, x.device) for part in lens)
        gains.append((1 + down[:, None] + across[None, :]) ** -2)
    return tensors.affine(x, torch.stack(gains)[:, None])


def illumination_shadow(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Darken a smooth patch."""
    maps = [np.exp(-np.float32(one["depth"]) * optical.shadow_map(scene, one["area"])) for scene, one in
            zip(scenes, values, strict=True)]  # fmt: skip
    return tensors.affine(x, _enlarge(maps, x).clamp(max=1))


def fog(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Veil the image by a smooth fog."""
    shares = [optical.make_fog_share(scene, one["transmission"]) for scene, one in zip(scenes, values, strict=True)]
    share = _enlarge(shares, x)
    bright = [float(scene.observed.get("bright", 1.0)) for scene in scenes]
    veil = put_numbers([one["airlight"] * level for one, level in zip(values, bright, strict=True)], x)
    return tensors.affine(x, share, (1 - share) * veil)


Function = Callable[[Tensor, Tensor, Sequence[Scene], Values], Tensor]
