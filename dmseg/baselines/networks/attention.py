"""SAM's global attention, one head at a time: the same numbers in a tenth of the memory.

The official layer holds the N x N maps of all heads at once, several times over (N = 4096 tokens, 12 heads: 0.8 GB
each). Nothing couples the heads, so this one makes the position bias of one head, attends, and lets it go.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor
from torch.nn import functional


class HeadwiseAttention(Attention):  # type: ignore[misc]  # the library is untyped
    """Multi-head attention with decomposed relative positions; parameters, names and result of the official layer."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend among all positions of a grid, (B, H, W, width)."""
        images, height, width, _ = tokens.shape
        parts = self.qkv(tokens).reshape(images, height * width, 3, self.num_heads, -1)
        queries, keys, values = parts.permute(2, 3, 0, 1, 4).unbind(0)
        rows = get_rel_pos(height, height, self.rel_pos_h)
        columns = get_rel_pos(width, width, self.rel_pos_w)
        heads = []
        for query, key, value in zip(queries, keys, values, strict=True):
            grid = query.unflatten(1, (height, width))
            by_row = torch.einsum("bhwc,hkc->bhwk", grid, rows)
            by_column = torch.einsum("bhwc,wkc->bhwk", grid, columns)
            bias = (by_row[..., None] + by_column[..., None, :]).flatten(3).flatten(1, 2)
            # Rank 4 (images, one head, positions, channels): what the fused kernels of a GPU take.
            attended = functional.scaled_dot_product_attention(
                query[:, None], key[:, None], value[:, None], attn_mask=bias[:, None], scale=float(self.scale)
            )
            heads.append(attended[:, 0])
        mixed: Tensor = self.proj(torch.cat(heads, -1).reshape(images, height, width, -1))
        return mixed
