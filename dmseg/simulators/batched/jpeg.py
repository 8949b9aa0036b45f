"""libjpeg's lossy steps on tensors, bit for bit: colour, 4:2:0, the slow integer DCT, quantisation, and back.

The integer DCT is two products with a matrix of whole numbers, each followed by a rounding shift (Loeffler, Ligtenberg
and Moschytz 1989, as in libjpeg's ``jfdctint.c`` and ``jidctint.c``). The products are exact in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmseg.simulators.batched.tensors import put
from dmseg.simulators.general import jpeg_bytes

_CONST, _PASS = 13, 2


def _fix(value: float) -> int:
    return round(value * (1 << _CONST))


@functools.cache
def make_dct_matrix() -> NDArray[np.float64]:
    """Return the integer DCT times 2**13 (rows: frequencies; columns: samples), float64 (8, 8)."""
    names = ("0.298631336", "0.390180644", "0.541196100", "0.765366865", "0.899976223", "1.175875602", "1.501321110")
    a, b, c, d, e, f, g = (_fix(float(name)) for name in names)
    h, i, j, k, m = (_fix(value) for value in (1.847759065, 1.961570560, 2.053119869, 2.562915447, 3.072711026))
    whole = 1 << _CONST
    # The even part: on sums of samples n and 7 - n.
    even = {0: [whole] * 4, 4: [whole, -whole, -whole, whole], 2: [c + d, c, -c, -c - d], 6: [c, c - h, h - c, -c]}
    # The odd part by its flow graph, one unit vector at a time.
    matrix = np.zeros((8, 8))
    for frequency, row in even.items():
        matrix[frequency] = [*row, *row[::-1]]
    for sample in range(4):
        difference = [0, 0, 0, 0]
        difference[sample] = 1
        t7, t6, t5, t4 = difference
        z1, z2, z3, z4 = t4 + t7, t5 + t6, t4 + t6, t5 + t7
        z5 = (z3 + z4) * f
        z1, z2, z3, z4 = -z1 * e, -z2 * k, -z3 * i + z5, -z4 * b + z5
        found = {7: t4 * a + z1 + z3, 5: t5 * j + z2 + z4, 3: t6 * m + z2 + z3, 1: t7 * g + z1 + z4}
        for frequency, value in found.items():
            matrix[frequency, sample], matrix[frequency, 7 - sample] = value, -value
    return matrix


def _descale(values: Tensor, bits: int) -> Tensor:
    return torch.floor((values + 2.0 ** (bits - 1)) * 2.0**-bits)


@functools.lru_cache(256)
def read_quantisers(quality: int, colour: bool) -> NDArray[np.float64]:
    """Return the tables that libjpeg writes for a quality, float64 (1 or 2, 8, 8): luminance, chrominance."""
    sample = np.arange(768, dtype=np.int64).astype(np.uint8).reshape(16, 16, 3)
    data = jpeg_bytes(sample if colour else np.ascontiguousarray(sample[..., 0]), quality).tobytes()
    order = sorted(range(64), key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8))
    tables, at = {}, 2
    while data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDB:
            for start in range(at + 4, at + 2 + size, 65):
                table = np.zeros(64)
                table[order] = list(data[start + 1 : start + 65])
                tables[data[start] & 15] = table.reshape(8, 8)
        at += 2 + size
    return np.stack([tables[number] for number in sorted(tables)])


def _repeat_edge(plane: Tensor, height: int, width: int) -> Tensor:
    """Return (B, H, W) continued to a size by its last row and column."""
    rows = torch.arange(height, device=plane.device).clamp(max=plane.shape[1] - 1)
    columns = torch.arange(width, device=plane.device).clamp(max=plane.shape[2] - 1)
    return plane[:, rows][:, :, columns]


def _code(plane: Tensor, table: Tensor) -> Tensor:
    """Return a plane of 0..255, float64 (B, H, W), after the blocks' DCT, quantisation and inverse; table (B, 8, 8)."""
    count, height, width = plane.shape
    padded = _repeat_edge(plane, -(-height // 8) * 8, -(-width // 8) * 8)
    rows, columns = padded.shape[1] // 8, padded.shape[2] // 8
    blocks = padded.reshape(count, rows, 8, columns, 8).permute(0, 1, 3, 2, 4) - 128
    matrix = put(make_dct_matrix(), plane.device)
    steps = table[:, None, None] * 8
    coefficients = _descale(blocks @ matrix.T, _CONST - _PASS)
    coefficients = _descale(matrix @ coefficients, _CONST + _PASS)
    levels = torch.sign(coefficients) * torch.floor((coefficients.abs() + torch.floor(steps / 2)) / steps)
    values = levels * table[:, None, None]
    values = _descale(matrix.T @ values, _CONST - _PASS)
    values = _descale(values @ matrix, _CONST + _PASS + 3) + 128
    whole = values.clamp(0, 255).permute(0, 1, 3, 2, 4).reshape(padded.shape)
    return whole[:, :height, :width]


def _halve(plane: Tensor) -> Tensor:
    """Return the mean of 2 x 2 px, rounded up and down in turns along a row, as libjpeg shrinks colour."""
    height, width = plane.shape[1:]
    even = _repeat_edge(plane, height + height % 2, -(-width // 16) * 16)
    total = even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]
    bias = 1 + torch.arange(total.shape[2], device=plane.device) % 2
    return torch.floor((total + bias) / 4)


def _double(plane: Tensor, height: int, width: int) -> Tensor:
    """Return libjpeg's smooth enlargement of half-size colour: weights 9, 3, 3, 1 of 16."""
    rows, columns = (torch.arange(size, device=plane.device) for size in (height, width))
    near = rows // 2
    other = (near + (rows % 2) * 2 - 1).clamp(0, plane.shape[1] - 1)
    sums = 3 * plane[:, near] + plane[:, other]
    near = columns // 2
    other = (near + (columns % 2) * 2 - 1).clamp(0, plane.shape[2] - 1)
    return torch.floor((3 * sums[:, :, near] + sums[:, :, other] + 8 - columns % 2) / 16)


def _shrink(values: Tensor) -> Tensor:
    return torch.floor(values / 65536)


def code_jpeg(x: Tensor, qualities: Sequence[int]) -> Tensor:
    """Return uint8 images (B, C, H, W) as a JPEG file of each one's quality would show them.

    Three channels are coded as colour, 4:2:0; equal ones come back as a grey image of one channel would.
    """
    colour = x.shape[1] == 3
    tables = put(np.stack([read_quantisers(quality, colour) for quality in qualities]), x.device)
    planes = x.double()
    if not colour:
        return _code(planes[:, 0], tables[:, 0])[:, None].to(torch.uint8)
    red, green, blue = planes.unbind(1)
    luma = _shrink(19595 * red + 38470 * green + 7471 * blue + 32768)
    middle = (128 << 16) + 32767
    blueness = _shrink(-11059 * red - 21709 * green + 32768 * blue + middle)
    redness = _shrink(32768 * red - 27439 * green - 5329 * blue + middle)
    height, width = x.shape[2:]
    half = (-(-height // 2), -(-width // 2))
    luma = _code(luma, tables[:, 0])
    shown = []
    for plane in (blueness, redness):
        small = _code(_halve(plane), tables[:, 1])[:, : half[0], : half[1]]
        shown.append(_double(small, height, width) - 128)
    blueness, redness = shown
    out = torch.stack(
        [
            luma + _shrink(91881 * redness + 32768),
            luma + _shrink(-22554 * blueness - 46802 * redness + 32768),
            luma + _shrink(116130 * blueness + 32768),
        ],
        dim=1,
    )
    return out.clamp(0, 255).to(torch.uint8)
