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

from dmseg.metrics import TOLERANCES, Score, reference, score, score_batch

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


def read_frozen(values: dict[str, Any], hd95: str) -> list[float]:
    keys = ["iou", "dice", "pa", hd95, "hd", *(f"nsd{t}" for t in TOLERANCES)]
    return [float(values[key]) for key in keys]


@pytest.mark.parametrize("rule", ["directed", "pooled"])
@pytest.mark.parametrize("boundary", ["vertex", "pixel"])
@pytest.mark.parametrize("name", CASES)
def test_every_frozen_figure_is_met_to_1e_9(name: str, boundary: str, rule: str) -> None:
    case = CASES[name]
    expected = read_frozen(case["V" if boundary == "vertex" else "P"], "hd95" if rule == "directed" else "hd95_pooled")
    result = score(unpack(case["gt"]), unpack(case["pred"]), boundary=boundary, hd95=rule)
    assert figures(result) == pytest.approx(expected, abs=1e-9, rel=0)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("empty")])
def test_the_clear_path_meets_the_default_figures_too(name: str) -> None:
    case = CASES[name]
    masks = [unpack(case[key]).view(np.uint8) for key in ("gt", "pred")]
    nsd, hd95, hd = reference.boundary_scores(*masks, (1.0, 1.0), TOLERANCES, "vertex", "directed")
    assert [hd95, hd, *nsd] == pytest.approx(read_frozen(case["V"], "hd95")[3:], abs=1e-9, rel=0)


def test_the_default_is_deepminds_definition() -> None:
    """HD95 and NSD of surface-distance itself, frozen beside ours, in all cases where it gives a number."""
    for name, case in CASES.items():
        values = case["deepmind"]
        if name == "empty_both":
            continue
        result = score(unpack(case["gt"]), unpack(case["pred"]))
        expected = [float(values["hd95"]), float(values["hd"]), *(float(values[f"nsd{t}"]) for t in TOLERANCES)]
        assert [result.hd95, result.hd, *result.nsd.values()] == pytest.approx(expected, abs=1e-9, rel=0), name


def test_batch_equals_single() -> None:
    pairs = [(unpack(case["gt"]), unpack(case["pred"])) for case in CASES.values()]
    assert score_batch([a for a, _ in pairs], [b for _, b in pairs]) == [score(a, b) for a, b in pairs]
