"""SAM-Med2D: SAM ViT-B at 256 px, with or without adapter layers in the encoder.

Published description: "SAM-Med2D" (arXiv 2308.16184), figure 3: beside each block's MLP an adapter gates the channels
(squeeze, two linear maps, sigmoid) and then passes them through a strided and a transposed convolution.
"""

from __future__ import annotations

from segment_anything.modeling.image_encoder import Block, window_partition, window_unpartition
from torch import Tensor, nn

from dmseg.baselines.networks.sam import TABLE, PromptedNetwork, ViTEncoder, build_sam


class Adapter(nn.Module):
    """Channel gate, then a convolution pair at half resolution, added to the input and normalised. (B, H, W, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * TABLE["sam_med2d"]["adapter_ratio"])
        self.norm = nn.LayerNorm(width)
        self.channel = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Adapt tokens (B, H, W, C)."""
        features = tokens.permute(0, 3, 1, 2)
        gate = self.channel(features.mean((2, 3)))[:, :, None, None]
        features = features + self.spatial(gate * features)
        result: Tensor = self.norm(features.permute(0, 2, 3, 1))
        return result


class AdapterBlock(Block):  # type: ignore[misc]  # the library is untyped
    """A ViT block with an adapter beside its MLP; keeps the official (capital) name ``Adapter``."""

    def __init__(self, plain: Block, width: int) -> None:
        nn.Module.__init__(self)
        self.norm1, self.attn = plain.norm1, plain.attn
        self.norm2, self.mlp = plain.norm2, plain.mlp
        self.window_size = plain.window_size
        self.Adapter = Adapter(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (B, H, W, C)."""
        attended = self.norm1(tokens)
        if self.window_size > 0:
            side = attended.shape[1:3]
            windows, padded = window_partition(attended, self.window_size)
            attended = window_unpartition(self.attn(windows), self.window_size, padded, side)
        else:
            attended = self.attn(attended)
        tokens = tokens + attended
        normed = self.norm2(tokens)
        result: Tensor = tokens + self.mlp(normed) + self.Adapter(normed)
        return result


def build_sam_med2d(adapter: bool) -> PromptedNetwork:
    """Build SAM-Med2D: input 256, embedding 16 x 16; 386 official keys with adapter layers, 314 without."""
    network = build_sam("vit_b", TABLE["sam_med2d"]["side"])
    encoder = network.image_encoder
    if adapter and isinstance(encoder, ViTEncoder):
        width = TABLE["vit_b"]["width"]
        encoder.blocks = nn.ModuleList(AdapterBlock(block, width) for block in encoder.blocks)
    return network
