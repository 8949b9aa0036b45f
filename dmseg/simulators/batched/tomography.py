"""Projection and filtered back-projection of batches, and the two CT operations that need them.

See :mod:`dmseg.simulators.tomography` and :mod:`dmseg.simulators.ct`; grids, views and tables are theirs. Views come
one by one, so that memory stays that of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from dmseg.simulators import ct, fields, tomography, xray
from dmseg.simulators.batched import tensors
from dmseg.simulators.batched.domain import add_hounsfield
from dmseg.simulators.batched.tensors import Values, put, put_numbers
from dmseg.simulators.observe import BLACK
from dmseg.simulators.scene import Scene
from dmseg.simulators.tables import spectrum_table


def project(images: Tensor, views: int) -> Tensor:
    """Return the line integrals of square images (N, S, S) in ``views`` directions, float32 (N, views, detectors)."""
    count, size = len(images), images.shape[1]
    channels = tomography.detectors(size)
    upright = pad(images, (2, 2))
    lying = pad(images.transpose(1, 2), (2, 2))
    middle, axis = (size - 1) / 2, (channels - 1) / 2
    lines = (torch.arange(size, device=images.device, dtype=torch.float32) - middle)[:, None]
    channel = (torch.arange(channels, device=images.device, dtype=torch.float32) - axis)[None]
    made = []
    for view in range(views):
        angle = math.pi * view / views
        cosine, sine = math.cos(angle), math.sin(angle)
        standing = abs(cosine) >= abs(sine)
        main, other = (cosine, sine) if standing else (sine, cosine)
        place = (2 + middle + (channel - other * lines) / main).clamp(0, size + 2.5)
        index = place.long()
        padded = (upright if standing else lying).reshape(count, -1)
        flat = (index + torch.arange(size, device=images.device)[:, None] * (size + 4)).reshape(-1)
        first, second = padded[:, flat], padded[:, flat + 1]
        between = first + (place - index).reshape(-1) * (second - first)
        made.append(between.reshape(count, size, channels).sum(dim=1) * abs(1 / main))
    return torch.stack(made, dim=1)


def back_project(sinograms: Tensor, size: int) -> Tensor:
    """Return the filtered back-projection of (N, views, detectors) on square grids, float32 (N, size, size)."""
    count, views, channels = sinograms.shape
    length, ramp = tomography.ramp_spectrum(channels)
    spectrum = torch.fft.rfft(sinograms, n=length, dim=2) * put(ramp, sinograms.device)
    filtered = torch.fft.irfft(spectrum, n=length, dim=2)[:, :, :channels]
    shares = torch.arange(tomography.FINE, device=sinograms.device) / tomography.FINE
    between = filtered[:, :, :-1, None] + shares * torch.diff(filtered, dim=2)[..., None]
    fine = torch.cat([between.reshape(count, views, -1), filtered[:, :, -1:]], dim=2)
    middle, axis = np.float32((size - 1) / 2), np.float32((fine.shape[2] - 1) / 2)
    px = torch.arange(size, device=sinograms.device, dtype=torch.float32)
    out = torch.zeros((count, size * size), device=sinograms.device)
    for view in range(views):
        angle = math.pi * view / views
        cosine, sine = (np.float32(part(angle) * tomography.FINE) for part in (math.cos, math.sin))
        # Rounded where the arrays' are: the next quarter of a pixel is another number of the noise.
        start = (px - float(middle)) * float(sine) + float(axis + np.float32(0.5) - middle * cosine)
        place = (px[None] * float(cosine) + start[:, None]).long()
        out += fine[:, view][:, place.reshape(-1)]
    return out.reshape(count, size, size) * (math.pi / views)


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    """Return (N, H, W) at a smaller size, each pixel the mean of its area."""
    down, across = (
        put(tensors.make_area_weights(old, new), images.device)
        for old, new in ((images.shape[1], height), (images.shape[2], width))
    )
    return down @ images @ across.T


def make_materials(clear: Tensor, scenes: Sequence[Scene], size: int) -> tuple[Tensor, Tensor]:
    """Return water-like and bone-like attenuation of Clear over that of water, float32 (B, size, size) each."""
    grey = clear[:, 0].float()
    finest, longest = max(size, ct.MATERIAL_SIDE), max(clear.shape[2:])
    if longest > finest:
        grey = _resize(grey, *(max(1, round(side * finest / longest)) for side in clear.shape[2:]))
        grey = torch.round(grey) if clear.dtype == torch.uint8 else grey
    grey = grey / tensors.top(clear)
    table, windows = spectrum_table(), [scene.window for scene in scenes]

    def each(values: Sequence[float]) -> Tensor:
        return put_numbers(values, clear)[:, 0]

    hounsfield = (grey - 0.5) * each([one.width for one in windows]) + each([one.center for one in windows])
    dense = each([max(table.clipped_hu, one.center + one.width / 2) for one in windows])
    hounsfield = torch.where(grey > ct.WHITE, dense, hounsfield)
    density = torch.where(grey >= BLACK, (1 + hounsfield / 1000).clamp(min=0), 0.0)
    bony = density * ((hounsfield - table.bone_from_hu) / (table.bone_full_hu - table.bone_from_hu)).clamp(0, 1)
    return _square(density - bony, size), _square(bony, size)


def _square(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    whole = pad(images, (left, side - width - left, top, side - height - top))
    if side > size:
        return _resize(whole, size, size)
    return interpolate(whole[:, None], (size, size), mode="bilinear")[:, 0]


def _add_error(x: Tensor, clear: Tensor, scenes: Sequence[Scene], errors: Tensor, px_mm: Sequence[float]) -> Tensor:
    """Add error images (1/px of the square grid), in HU through the windows."""
    gains = [1000.0 / (ct.WATER_PER_MM * mm) / scene.window.width for mm, scene in zip(px_mm, scenes, strict=True)]
    height, width = x.shape[2:]
    side = max(height, width)
    whole = interpolate(errors[:, None] * put_numbers(gains, x), (side, side), mode="bicubic")
    top, left = (side - height) // 2, (side - width) // 2
    return add_hounsfield(x, clear, scenes, whole[:, :, top : top + height, left : left + width])


def _px_mm(x: Tensor, scenes: Sequence[Scene], values: Values, size: int) -> list[float]:
    shape = tuple(x.shape[2:])
    return [ct.measure_px(scene, shape, one["object_size"], size) for scene, one in zip(scenes, values, strict=True)]


def beam_hardening(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Add what a polychromatic beam does: a reconstruction's error in CT, a curve in projections (equal on uint8)."""
    sliced = [number for number, scene in enumerate(scenes) if scene.modality == "ct"]
    if len(sliced) == len(scenes):
        return _harden_slices(x, clear, scenes, values)
    if not sliced:
        return _harden_projections(x, values)
    made = x
    for members in (sliced, [number for number in range(len(scenes)) if number not in sliced]):
        index = put(np.asarray(members), x.device)
        some, their_values = [scenes[number] for number in members], [values[number] for number in members]
        of_x, of_clear = x.index_select(0, index), clear.index_select(0, index)
        slices = members is sliced
        part = _harden_slices(of_x, of_clear, some, their_values) if slices else _harden_projections(of_x, their_values)
        made = made.index_copy(0, index, part)
    return made


def _harden_projections(x: Tensor, values: Values) -> Tensor:
    if x.dtype == torch.uint8:
        greys = np.arange(256, dtype=np.uint8)
        return tensors.look_up(np.stack([xray.projection_hardening(greys, beta=one["beta"]) for one in values]), x)
    return tensors.finish(x - put_numbers([one["beta"] * xray.FULL_SCALE for one in values], x) * x**2, x)


def _harden_slices(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    px_mm = _px_mm(x, scenes, values, ct.GRID)
    scale = put_numbers([ct.WATER_PER_MM * mm for mm in px_mm], x)[:, 0]
    parts = project(torch.cat(make_materials(clear, scenes, ct.GRID)), ct.VIEWS).reshape(2, len(x), ct.VIEWS, -1)
    water, bone = parts * scale
    beam = tomography.polychromatic()
    last = beam.values.shape[0] - 2
    places = [part * ((last + 1) / beam.limit) for part in (water, bone)]
    corners = [place.long().clamp(max=last) for place in places]
    u, v = (place - corner for place, corner in zip(places, corners, strict=True))
    at = corners[0] * (last + 2) + corners[1]

    def look_up(table: np.ndarray[Any, np.dtype[np.float32]]) -> Tensor:
        flat = put(table, x.device).reshape(-1)
        upper = (1 - v) * flat[at] + v * flat[at + 1]
        blended: Tensor = (1 - u) * upper + u * ((1 - v) * flat[at + last + 2] + v * flat[at + last + 3])
        return blended

    share = put_numbers([one["uncorrected"] for one in values], x)[:, 0]
    corrected = look_up(beam.corrected)
    error = corrected + share * (look_up(beam.values) - corrected) - water - bone
    return _add_error(x, clear, scenes, back_project(error, ct.GRID), px_mm)


def photon_starvation(x: Tensor, clear: Tensor, scenes: Sequence[Scene], values: Values) -> Tensor:
    """Add the noise of few photons; the deviates are those of the arrays."""
    px_mm = _px_mm(x, scenes, values, ct.COARSE_GRID)
    total = torch.stack(make_materials(clear, scenes, ct.COARSE_GRID)).sum(dim=0)
    coarse = project(total, ct.COARSE_VIEWS) * put_numbers([ct.WATER_PER_MM * mm for mm in px_mm], x)[:, 0]
    shape = (ct.STARVATION_VIEWS, tomography.detectors(ct.STARVATION_GRID))
    integrals = interpolate(coarse[:, None], shape, mode="bilinear")[:, 0].clamp(min=0)
    first, second = (
        tensors.draw_normals([scene.key(name) for scene in scenes], shape[0] * shape[1], x.device).reshape(-1, *shape)
        * 2.0**-fields.NORMAL_BITS
        for name in ("photons", "electrons")
    )
    photons, electronic = (put_numbers([one[name] for one in values], x)[:, 0] for name in ("photons", "electronic"))
    mean = photons * torch.exp(-integrals)
    count = (mean + torch.sqrt(mean) * first + (first * first - 1) / 6).clamp(min=0)
    measured = -torch.log((count + electronic * second).clamp(min=1) / photons)
    expected = _read_bias(integrals, values)
    merged = (ct.SCANNER_SAMPLES / (shape[0] * shape[1])) ** -0.5
    error = expected + (measured - integrals - expected) * merged
    fine_mm = [mm * ct.COARSE_GRID / ct.STARVATION_GRID for mm in px_mm]
    return _add_error(x, clear, scenes, back_project(error, ct.STARVATION_GRID), fine_mm)


def _read_bias(integrals: Tensor, values: Values) -> Tensor:
    """Return the mean error of the logarithm at line integrals (B, V, S), by each one's table."""
    tables = [ct.mean_bias(one["photons"], one["electronic"]) for one in values]
    places, last = tables[0][0], len(tables[0][0]) - 1
    table = put(np.stack([one[1] for one in tables]).astype(np.float32), integrals.device)
    at = (integrals * (last / float(places[-1]))).clamp(max=last).reshape(len(values), -1)
    index = at.long().clamp(max=last - 1)
    first, second = torch.gather(table, 1, index), torch.gather(table, 1, index + 1)
    return (first + (at - index) * (second - first)).reshape(integrals.shape)
