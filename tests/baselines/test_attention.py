"""Attention head by head gives the official layer's result, and never holds the maps of all heads."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from segment_anything.modeling.image_encoder import Attention  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from dmseg.baselines.networks.attention import HeadwiseAttention  # noqa: E402

WIDTH, HEADS, GRID = 48, 6, (9, 12)


def layers() -> tuple[Any, Any]:
    """The official layer with random weights, and this one with the same."""
    generator = torch.Generator().manual_seed(3)
    settings: dict[str, Any] = {"num_heads": HEADS, "qkv_bias": True, "use_rel_pos": True, "input_size": GRID}
    official, ours = Attention(WIDTH, **settings), HeadwiseAttention(WIDTH, **settings)
    for parameter in official.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    ours.load_state_dict(official.state_dict())
    return official, ours


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else (result,):
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, one.numel())
        return result


def test_results_and_gradients_are_those_of_the_official_layer() -> None:
    official, ours = layers()
    tokens = torch.randn(2, *GRID, WIDTH, generator=torch.Generator().manual_seed(4))
    expected, result = official(tokens), ours(tokens)
    assert torch.allclose(result, expected, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(expected.square().sum(), official.parameters()),
        torch.autograd.grad(result.square().sum(), ours.parameters()),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.abs().max()))


def test_the_maps_of_all_heads_are_never_held_at_once() -> None:
    official, ours = layers()
    tokens = torch.randn(1, *GRID, WIDTH)
    sizes = []
    for layer in (official, ours):
        with torch.inference_mode(), Largest() as largest:
            layer(tokens)
        sizes.append(largest.numel)
    assert sizes[1] * 3 < sizes[0]  # of six heads


def test_fused_kernels_are_asked_with_the_rank_that_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's fused attention takes (images, heads, positions, channels) only; with rank 3 it falls back to maps."""
    _, ours = layers()
    ranks: list[tuple[int, ...]] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def note(query: Any, key: Any, value: Any, attn_mask: Any = None, **more: Any) -> Any:
        ranks.append((query.ndim, key.ndim, value.ndim, attn_mask.ndim))
        return attend(query, key, value, attn_mask=attn_mask, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", note)
    ours(torch.randn(2, *GRID, WIDTH))
    assert set(ranks) == {(4, 4, 4, 4)}
