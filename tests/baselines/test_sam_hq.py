"""SAM-HQ: official keys, and with regenerated weights the official outputs of its three modes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import PARITY, common, fill  # noqa: E402

from dmseg.baselines.networks.sam import parameter_count  # noqa: E402
from dmseg.baselines.networks.sam_hq import SamHqNetwork, build_sam_hq  # noqa: E402
from dmseg.baselines.sam_hq import SamHqAdapter  # noqa: E402
from dmseg.errors import UsageError  # noqa: E402
from dmseg.types import Prompts  # noqa: E402


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h", "vit_tiny"])
def test_keys_shapes_types_order_and_parameter_count_are_the_official_ones(size: str) -> None:
    reference = json.loads((PARITY / f"sam_hq_{size}.keys.json").read_text())
    with torch.device("meta"):
        network = build_sam_hq(size)
    keys = [[k, list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in network.official_state_dict().items()]
    assert keys == reference["keys"]
    assert parameter_count(network) == reference["params"]["total"]


@pytest.mark.slow
def test_regenerated_weights_give_the_official_outputs_in_all_modes() -> None:
    reference = json.loads((PARITY / "sam_hq_vit_b.json").read_text())
    network = build_sam_hq("vit_b")
    adapters = {mode: SamHqAdapter("sam-hq-b", network, mode=mode) for mode in SamHqAdapter.modes}
    fill(adapters["fused"])
    (embedding,) = adapters["fused"].encode([common.image()])
    assert list(embedding.frame.content) == reference["input_size"]
    assert common.compare(reference["embedding"], common.summary(embedding.encoded.embedding)) == []
    stages = {str(i): common.summary(one) for i, one in enumerate(embedding.encoded.intermediate.values())}
    assert common.compare(reference["intermediate"], stages) == []
    assert common.compare(reference["hq_features"], common.summary(embedding.encoded.fused)) == []
    for name, steps in reference["sequences"].items():
        mode = name.partition("/")[0]
        network.hq_only = mode == "hq"
        assert common.compare(steps, run(adapters[mode], embedding, steps)) == [], name


def run(adapter: SamHqAdapter, embedding: Any, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Drive the adapter through one sequence of the reference, feeding its own logits back."""
    results, previous = [], None
    for step in steps:
        points, labels = common.points(step["n_clicks"])
        low_res, iou = adapter.forward_prompts(
            embedding,
            points[None] if step["n_clicks"] else None,
            labels[None] if step["n_clicks"] else None,
            np.array(common.BOX)[None] if step["use_box"] else None,
            previous if step["fed_mask"] else None,
            step["multimask"],
        )
        previous = low_res
        full = adapter.finish(low_res, embedding.frame)
        summaries = {"low_res": common.summary(low_res[0], True), "mask_logits_full": common.summary(full)}
        results.append({**step, "iou_pred": iou.ravel().tolist(), **summaries})
    return results


@pytest.fixture(scope="module")
def tiny() -> SamHqNetwork:
    adapter = fill(SamHqAdapter("sam-hq-tiny", build_sam_hq("vit_tiny")))
    network: SamHqNetwork = adapter.network
    return network


@pytest.mark.slow
def test_the_modes_of_the_small_size_add_up(tiny: SamHqNetwork) -> None:
    """fused = SAM's single mask + the high-quality mask; multi adds the best of three; two masks equal one by one."""
    fused = SamHqAdapter("sam-hq-tiny", tiny)
    (embedding,) = fused.encode([common.image()])
    points, labels = common.points(2)
    given = (embedding, np.stack([points, points + 5]), np.stack([labels, labels]), None, None)
    logits = {}
    for mode in SamHqAdapter.modes:
        adapter = SamHqAdapter("sam-hq-tiny", tiny, mode=mode)
        logits[mode], iou = adapter.forward_prompts(*given, adapter.multimask(Prompts(points, labels, None, 2)))
        assert logits[mode].shape == (2, 1, 256, 256) and iou.shape == (2, 1)
        alone, _ = adapter.forward_prompts(
            embedding, given[1][1:], given[2][1:], None, None, adapter.multimask(Prompts(points, labels, None, 2))
        )
        assert torch.allclose(alone[0], logits[mode][1], atol=1e-4)
    sparse, dense = tiny.prompt_encoder(
        points=(
            torch.as_tensor(embedding.frame.to_input(given[1]), dtype=torch.float32),
            torch.as_tensor(given[2]),
        ),
        boxes=None,
        masks=None,
    )
    known = embedding.encoded
    with torch.no_grad():
        masks, iou = tiny.mask_decoder.decode_masks(
            known.embedding + dense, tiny.prompt_encoder.get_dense_pe(), sparse, known.fused
        )
    assert torch.allclose(logits["hq"], masks[:, 4:], atol=1e-4)
    assert torch.allclose(logits["fused"] - logits["hq"], masks[:, :1], atol=1e-4)
    best = 1 + iou[:, 1:].argmax(1)
    assert torch.allclose((logits["multi"] - logits["hq"])[:, 0], masks[torch.arange(2), best], atol=1e-4)


def test_an_unknown_mode_is_refused(tiny: SamHqNetwork) -> None:
    with pytest.raises(UsageError, match="fused"):
        SamHqAdapter("sam-hq-tiny", tiny, mode="official")
