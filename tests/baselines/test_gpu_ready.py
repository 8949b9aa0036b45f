"""What a GPU needs of the adapters, tried on a CPU: batches, memory that is freed, precision, settings left alone.

Weights are random, so nothing here says how good a model is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import common  # noqa: E402

from dmseg.baselines import PreparingAdapter  # noqa: E402
from dmseg.baselines.loading import (  # noqa: E402
    Family,
    add_modules,
    random_network,
)
from dmseg.baselines.networks.mini import build_mini_sam  # noqa: E402
from dmseg.baselines.networks.robust_sam import FourierDegradationSuppression, RobustSAMNetwork  # noqa: E402
from dmseg.baselines.networks.sam import build_sam  # noqa: E402
from dmseg.baselines.robust_sam import RobustSamAdapter  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.types import Prompts  # noqa: E402

SIDE = 64
IMAGES = [common.image(21, 30), common.image(40, 33, seed=8), common.image(30, 30, seed=9)]


def small(kind: Any, build: Any, **options: Any) -> Any:
    return kind("it", random_network(Family(kind, build, "small")), **options)


@pytest.fixture(scope="module")
def robust() -> Any:
    return small(RobustSamAdapter, partial(RobustSAMNetwork, "vit_b", SIDE))


@pytest.fixture(scope="module")
def sam() -> Any:
    return small(SamAdapter, partial(build_sam, "vit_b", SIDE))


@pytest.fixture(scope="module")
def enhanced() -> Any:
    return small(SamAdapter, lambda: add_modules(build_mini_sam(), "mini-sam", {"enhancer": {}}))


def clicks(n: int) -> list[Prompts]:
    return [
        Prompts(np.array([[3 + i, 5], [9, 4 + i]], np.float32), np.array([1, 0], np.int8), None, 2) for i in range(n)
    ]


def tensors(value: Any) -> list[Any]:
    """All tensors of an embedding."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for one in value.values() for tensor in tensors(one)]
    names = getattr(type(value), "__dataclass_fields__", {})
    return [tensor for name in names for tensor in tensors(getattr(value, name))]


def test_robust_sam_answers_all_masks_at_once_as_one_by_one(robust: Any) -> None:
    asked = clicks(4)
    embedding = robust.encode(IMAGES[:1])
    decode, passes = robust.network.mask_decoder.robust_forward, []

    def count(*given: Any) -> Any:
        passes.append(len(given[2]))
        return decode(*given)

    robust.network.mask_decoder.robust_forward = count
    try:
        first = robust.predict(embedding, [0] * 4, asked, [None] * 4)
        together = robust.predict(embedding, [0] * 4, asked, first.state)
    finally:
        del robust.network.mask_decoder.robust_forward
    assert passes == [4, 4]
    for place, given in enumerate(asked):
        alone = robust.predict(embedding, [0], [given], [first.state[place]])
        scale = float(alone.logits.abs().max())
        assert float((together.logits[place] - alone.logits[0]).abs().max()) < 1e-6 * max(scale, 1.0)


def test_robust_sam_encodes_several_images_in_one_pass_as_one_by_one(robust: Any) -> None:
    together = robust.encode(IMAGES)
    for place, image in enumerate(IMAGES):
        (alone,) = robust.encode([image])
        for one, other in zip(tensors(together[place].encoded), tensors(alone.encoded), strict=True):
            assert torch.allclose(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["sam", "robust", "enhanced"])
def test_an_embedding_lets_go_of_the_batch_that_it_was_encoded_in(kind: str, request: pytest.FixtureRequest) -> None:
    kept = request.getfixturevalue(kind).encode(IMAGES)[1]
    held = tensors(kept.encoded)
    assert held and all(one.untyped_storage().nbytes() == one.numel() * one.element_size() for one in held)


@pytest.mark.parametrize("mode", ["iterative", "official"])
def test_only_features_that_the_decoder_uses_are_kept(mode: str, sam: Any) -> None:
    plain = sam.encode(IMAGES[:1])[0].encoded
    assert [tuple(one.shape) for one in tensors(plain)] == [tuple(plain.embedding.shape)]
    robust = small(RobustSamAdapter, partial(RobustSAMNetwork, "vit_b", SIDE), mode=mode)
    encoded = robust.encode(IMAGES[:1])[0].encoded
    assert encoded.intermediate == {} and len(tensors(encoded)) == (2 if mode == "iterative" else 1)


def test_a_prediction_reads_no_number_back_from_the_device(sam: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number that Python looks at makes the CPU wait for the GPU; a call for many masks must not ask for one."""
    embedding = sam.encode(IMAGES[:1])

    def refuse(*given: Any) -> Any:
        raise AssertionError("a number was read back")

    for name in ("item", "tolist", "__float__", "__bool__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    answer = sam.predict(embedding, [0] * 3, clicks(3), [None] * 3)
    monkeypatch.undo()
    assert len(answer.scores.tolist()) == 3


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_fourier_step_stays_in_single_precision(kind: Any) -> None:
    """Magnitudes of a spectrum pass the largest half (65504) easily: the sum over a 64 x 64 map of values of 100."""
    torch.manual_seed(1)
    step = FourierDegradationSuppression(4).eval()
    features = 100 + torch.randn(1, 8, 64, 64)
    with torch.inference_mode():
        expected = step(features)
        with torch.autocast("cpu", dtype=kind):
            reduced = step(features)
    assert bool(expected.isfinite().all()) and torch.equal(reduced, expected)


def test_the_callers_settings_of_torch_are_respected_and_left_as_they_were(
    sam: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    seen: list[tuple[bool, ...]] = []
    encode = sam.network.encode

    def note(pixels: Any) -> Any:
        seen.append((cudnn.deterministic, cudnn.benchmark, cudnn.enabled, cudnn.allow_tf32, products.allow_tf32))
        return encode(pixels)

    monkeypatch.setattr(sam.network, "encode", note)
    before = cudnn.deterministic, cudnn.benchmark, cudnn.enabled, cudnn.allow_tf32, products.allow_tf32
    try:
        cudnn.deterministic, cudnn.benchmark, cudnn.enabled = True, True, False
        cudnn.allow_tf32 = products.allow_tf32 = True
        sam.encode(IMAGES[:1])
        assert seen == [(True, True, False, False, False)]  # only TF32 is another matter: fp32 means fp32
        assert cudnn.allow_tf32 and products.allow_tf32
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.enabled, cudnn.allow_tf32, products.allow_tf32 = before


def test_networks_offer_to_prepare_images_apart_from_encoding_them(sam: Any) -> None:
    assert isinstance(sam, PreparingAdapter)
    apart = sam.encode_prepared([sam.prepare(image) for image in IMAGES])
    for one, other in zip(apart, sam.encode(IMAGES), strict=True):
        assert torch.equal(one.encoded.embedding, other.encoded.embedding) and one.frame == other.frame
