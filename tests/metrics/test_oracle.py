"""Every figure of every frozen case of tests/golden/metrics_oracle.json, on every path that computes it."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dmseg.metrics import TOLERANCES, Score, score

CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "metrics_oracle.json").read_text())["cases"]


def unpack(packed: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = packed["shape"]
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed["zpackbits"])), np.uint8)
    return np.unpackbits(bits)[: height * width].reshape(height, width).astype(bool)


def figures(result: Score) -> list[float]:
    return [
        result.iou,
        result.dice,
        result.pixel_accuracy,
        result.hd95,
        result.hd,
        *(result.nsd[t] for t in TOLERANCES),
    ]


def frozen(values: dict[str, Any], hd95: str) -> list[float]:
    keys = ["iou", "dice", "pa", hd95, "hd", *(f"nsd{t}" for t in TOLERANCES)]
    return [float(values[key]) for key in keys]


@pytest.mark.parametrize("rule", ["directed", "pooled"])
@pytest.mark.parametrize("boundary", ["vertex", "pixel"])
@pytest.mark.parametrize("name", CASES)
def test_every_frozen_figure_is_met_to_1e_9(name: str, boundary: str, rule: str) -> None:
    case = CASES[name]
    expected = frozen(case["V" if boundary == "vertex" else "P"], "hd95" if rule == "directed" else "hd95_pooled")
    result = score(unpack(case["gt"]), unpack(case["pred"]), boundary=boundary, hd95=rule)
    assert figures(result) == pytest.approx(expected, abs=1e-9, rel=0)
