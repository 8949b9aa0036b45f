"""The networks have the official keys, shapes, order and counts, and with regenerated weights the official outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import PARITY, common, fill  # noqa: E402

from dmseg.baselines.lite_medsam import LiteMedSamAdapter  # noqa: E402
from dmseg.baselines.medsam import MedSamAdapter  # noqa: E402
from dmseg.baselines.networks.robust_sam import RobustSAMNetwork  # noqa: E402
from dmseg.baselines.networks.sam import PromptedNetwork, build_sam, parameter_count  # noqa: E402
from dmseg.baselines.networks.sam_med2d import build_sam_med2d  # noqa: E402
from dmseg.baselines.networks.tiny_vit import build_lite_medsam, build_mobile_sam  # noqa: E402
from dmseg.baselines.prompted import PromptedAdapter  # noqa: E402
from dmseg.baselines.robust_sam import RobustSamAdapter  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.baselines.sam_med2d import SamMed2dAdapter  # noqa: E402

BUILDERS: dict[str, Callable[[], PromptedNetwork]] = {
    "sam_vit_b": lambda: build_sam("vit_b"),
    "sam_vit_l": lambda: build_sam("vit_l"),
    "sam_vit_h": lambda: build_sam("vit_h"),
    "medsam": lambda: build_sam("vit_b"),
    "mobilesam": build_mobile_sam,
    "litemedsam": build_lite_medsam,
    "sammed2d_adapter": lambda: build_sam_med2d(adapter=True),
    "sammed2d_noadapter": lambda: build_sam_med2d(adapter=False),
    "robustsam_vit_b": lambda: RobustSAMNetwork("vit_b"),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_keys_shapes_types_order_and_parameter_count_are_the_official_ones(name: str) -> None:
    reference = json.loads((PARITY / f"{name}.keys.json").read_text())
    with torch.device("meta"):
        network = BUILDERS[name]()
    keys = [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in network.official_state_dict().items()]
    assert keys == reference["keys"]
    assert parameter_count(network) == reference["params"]["total"]


def test_the_official_state_is_live() -> None:
    network = build_sam_med2d(adapter=False)
    with torch.no_grad():
        network.official_state_dict()["prompt_encoder.no_mask_embed.weight"].fill_(7.0)
    assert network.prompt_encoder.no_mask_embed.weight.mean().item() == 7.0


ADAPTERS: dict[str, Callable[[], PromptedAdapter]] = {
    "mobilesam": lambda: SamAdapter("mobile-sam", build_mobile_sam()),
    "sam_vit_b": lambda: SamAdapter("sam-vit-b", build_sam("vit_b")),
    "medsam": lambda: MedSamAdapter("medsam", build_sam("vit_b")),
    "sammed2d_adapter": lambda: SamMed2dAdapter("sam-med2d-adapter", build_sam_med2d(adapter=True)),
    "robust": lambda: RobustSamAdapter("robust-sam-b", RobustSAMNetwork("vit_b")),
    "clear": lambda: RobustSamAdapter("robust-sam-b", RobustSAMNetwork("vit_b"), mode="official"),
}
HEAVY = [pytest.param(name, marks=pytest.mark.slow) for name in ADAPTERS if name != "mobilesam"]


@pytest.mark.parametrize("name", ["mobilesam", *HEAVY])
def test_regenerated_weights_give_the_official_outputs(name: str) -> None:
    robust = name in ("robust", "clear")
    reference = json.loads((PARITY / f"{'robustsam_vit_b' if robust else name}.json").read_text())
    adapter = ADAPTERS[name]()
    fill(adapter)
    (embedding,) = adapter.encode([common.image()])
    assert common.compare(reference["embedding"], common.summary(embedding.encoded.embedding)) == []
    with torch.inference_mode():
        features = adapter.network.encode_frozen(adapter.prepare(common.image())[0][None]).intermediate
    measured = {key: common.summary(value) for key, value in features.items()}
    assert common.compare(reference.get("intermediate", {}), measured) == []
    for sequence, steps in common.sequences().items():
        expected = reference["sequences"][f"{name}/{sequence}" if robust else sequence]
        assert common.compare(expected, run_sequence(adapter, embedding, steps, expected)) == [], sequence
    if name == "sammed2d_adapter":
        expected = reference["sequences"]["official_test_py_sigmoid_feedback"]
        assert common.compare(expected, run_feedback_of_probabilities(adapter, embedding, expected)) == []


def run_sequence(
    adapter: PromptedAdapter, embedding: Any, steps: list[Any], expected: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Drive an adapter through one click sequence and summarise every step as the reference did."""
    results, previous = [], None
    for (use_box, n, feed, multimask), wanted in zip(steps, expected, strict=True):
        points, labels = common.points(n)
        low_res, iou = adapter.forward_prompts(
            embedding,
            points[None] if n else None,
            labels[None] if n else None,
            np.array(common.BOX)[None] if use_box else None,
            previous if feed else None,
            multimask,
        )
        # SAM-Med2D's predictor selects the best mask itself; RobustSAM's reference used the first.
        if wanted["low_res"]["shape"][0] == 1 and multimask:
            best = int(iou[0].argmax())
            low_res, iou = low_res[:, best : best + 1], iou[:, best : best + 1]
        chosen = wanted["chosen"]
        previous = low_res[:, chosen : chosen + 1]
        shown = low_res[:, : wanted["low_res"]["shape"][0]]
        shape = (wanted.get("mask_logits_full") or wanted["prob_full"])["shape"]
        masks = int(np.prod(shape[:-2]))
        indices = range(masks) if masks > 1 else [chosen]
        canvas = torch.cat([adapter.finish(low_res[:, i : i + 1], embedding.frame) for i in indices])
        full = {"mask_logits_full": canvas, "prob_full": canvas.sigmoid()}
        result = {**wanted, "iou_pred": iou.ravel().tolist(), "low_res": common.summary(shown[0], True)}
        for key in full.keys() & wanted.keys():
            result[key] = common.summary(full[key].reshape(wanted[key]["shape"]))
        if "raw_shape" in wanted:
            result["raw_shape"] = list(low_res.shape)
        if "n_mask_prob_gt_half" in wanted:
            result["n_mask_prob_gt_half"] = int((canvas > 0).sum())
        results.append(result)
    return results


def run_feedback_of_probabilities(adapter: PromptedAdapter, embedding: Any, expected: list[Any]) -> list[Any]:
    """SAM-Med2D's test script: three masks at every step, the best one's probabilities are fed back."""
    results, previous = [], None
    for wanted in expected:
        points, labels = common.points(wanted["n_clicks"])
        low_res, iou = adapter.forward_prompts(embedding, points[None], labels[None], None, previous, True)
        best = int(iou[0].argmax())
        previous = low_res[:, best : best + 1].sigmoid()
        summary = common.summary(low_res[0], True)
        results.append({**wanted, "chosen": best, "iou_pred": iou.ravel().tolist(), "low_res": summary})
    return results


def test_lite_medsam_answers_on_the_canvas_and_uses_every_prompt() -> None:
    adapter = LiteMedSamAdapter("lite-medsam", build_lite_medsam())
    fill(adapter)
    (embedding,) = adapter.encode([common.image()])
    assert embedding.frame.content == (179, 256)
    points, labels = common.points(2)
    low_res, _ = adapter.forward_prompts(embedding, points[None], labels[None], None, None, False)
    again, _ = adapter.forward_prompts(embedding, points[None], labels[None], None, low_res, False)
    assert adapter.finish(low_res, embedding.frame).shape == (1, 210, 300)
    assert not torch.allclose(low_res, again)
