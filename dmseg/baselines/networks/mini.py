"""The backbone of the mini edition: a SAM in small that two CPU cores can train.

Convolutions where the maps are large, attention where they are small (depth-wise convolutions and attention over large
maps are slow to train on a CPU); SAM's own prompt encoder and mask decoder, narrower, with ReLU for GELU and fused
normalisation where the maps are large. Axes: B images, S = 256 input
side (any multiple of 32 works), E = S / 8 side of the embedding, C = 96 channels.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from dmseg.baselines.networks.sam import TABLE, ChannelNorm, PromptedNetwork

_REDUCTION = 8  # of the embedding, relative to the input


def _convolution(given: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(given, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input passes; starts as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Refine (B, C, H, W)."""
        refined: Tensor = features + self.norm(self.second(self.first(features)))
        return functional.relu(refined)


class Attention(nn.Module):
    """A pre-norm transformer block over all positions; a depth-wise convolution tells where they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        table = TABLE["mini"]
        self.heads: int = table["heads"]
        hidden = table["mlp_ratio"] * width
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, features: Tensor) -> Tensor:
        """Mix (B, C, H, W) over space."""
        features = features + self.position(features)
        tokens = features.flatten(2).transpose(1, 2)  # B, HW, C
        query, key, value = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)  # B, heads, HW, C / heads
        tokens = tokens + self.out(mixed.transpose(1, 2).flatten(2))
        tokens = tokens + self.mlp(self.norm2(tokens))
        result: Tensor = tokens.transpose(1, 2).unflatten(2, features.shape[2:])
        return result


class MiniEncoder(nn.Module):
    """Four stages and a top-down sum of the last three; also returns the first three, as the enhancer wants them."""

    def __init__(self) -> None:
        super().__init__()
        table = TABLE["mini"]
        widths: list[int] = table["stages"]
        self.stem = _convolution(3, table["stem"], stride=2)
        given = [table["stem"], *widths[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(
                _convolution(before, width, stride=2),
                *(Residual(width) for _ in range(residuals)),
                *(Attention(width) for _ in range(attentions)),
            )
            for before, width, residuals, attentions in zip(
                given, widths, table["residuals"], table["attentions"], strict=True
            )
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, table["width"], 1) for width in widths[1:])
        self.fuse = nn.Conv2d(table["width"], table["width"], 3, padding=1)
        self.norm = ChannelNorm(table["width"])

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode (B, 3, S, S) to the embedding (B, C, E, E) and stages 0..2, (B, H, W, width) each."""
        features = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        outputs = []
        for stage in self.stages:
            features = stage(features)
            outputs.append(features)
        summed = self.laterals[-1](outputs[-1])
        for lateral, output in zip(self.laterals[-2::-1], outputs[-2:0:-1], strict=True):
            summed = lateral(output) + functional.interpolate(summed, output.shape[2:], mode="bilinear")
        embedding = self.norm(summed + self.fuse(functional.relu(summed)))
        return embedding, {str(index): output.permute(0, 2, 3, 1) for index, output in enumerate(outputs[:-1])}


def build_mini_sam() -> PromptedNetwork:
    """Build the mini edition's SAM: input 256, embedding 96 x 32 x 32, low-resolution logits 128 x 128."""
    table = TABLE["mini"]
    side = table["side"]
    grid = side // _REDUCTION
    prompt_encoder = PromptEncoder(
        embed_dim=table["width"],
        image_embedding_size=(grid, grid),
        input_image_size=(side, side),
        mask_in_chans=table["mask_channels"],
    )
    mask_decoder = MaskDecoder(
        num_multimask_outputs=0,
        transformer=TwoWayTransformer(
            depth=table["decoder_depth"],
            embedding_dim=table["width"],
            mlp_dim=table["decoder_mlp"],
            num_heads=table["decoder_heads"],
        ),
        transformer_dim=table["width"],
        iou_head_depth=table["iou_depth"],
        iou_head_hidden_dim=table["iou_width"],
    )
    for layers in (prompt_encoder.mask_downscaling, mask_decoder.output_upscaling):
        for index, layer in enumerate(layers):
            if isinstance(layer, LayerNorm2d):
                layers[index] = ChannelNorm(layer.weight.shape[0])
            elif isinstance(layer, nn.GELU):
                layers[index] = nn.ReLU(inplace=True)
    network = PromptedNetwork(MiniEncoder(), prompt_encoder, mask_decoder, side)
    return network.to(memory_format=torch.channels_last)


def set_side(network: PromptedNetwork, side: int) -> None:
    """Let a mini network take images of another side (a multiple of 32), as while the side grows in training."""
    encoder, grid = network.prompt_encoder, side // _REDUCTION
    network.side = side
    encoder.input_image_size = (side, side)
    encoder.image_embedding_size = (grid, grid)
    encoder.mask_input_size = (4 * grid, 4 * grid)
