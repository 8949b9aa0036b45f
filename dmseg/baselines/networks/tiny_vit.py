"""TinyViT encoders of MobileSAM and LiteMedSAM on timm's TinyViT, under their official parameter names.

timm keeps each down-sampling at the start of the next stage, the official files at the end of the previous one; names
differ, arithmetic does not. LiteMedSAM's encoder starts with 1x1 convolutions at stride 1 and has no classifier.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import torch
from segment_anything.modeling.common import LayerNorm2d
from timm.models.tiny_vit import TinyVit
from torch import Tensor, nn

from dmseg.baselines.networks.sam import TABLE, PromptedNetwork, mask_decoder, official_state, prompt_encoder

# (timm's name, official name), applied in order to one key.
_RENAMES = (
    (r"^patch_embed\.conv1\.", "patch_embed.seq.0."),
    (r"^patch_embed\.conv2\.", "patch_embed.seq.2."),
    (r"^stages\.(\d+)\.downsample\.", lambda match: f"layers.{int(match[1]) - 1}.downsample."),
    (r"^stages\.", "layers."),
    (r"^head\.norm\.", "norm_head."),
    (r"^head\.fc\.", "head."),
    (r"\.conv\.weight$", ".c.weight"),
)
_LAST_GROUPS = ((100, "norm_head."), (101, "head."), (102, "neck."))


def official_name(key: str) -> str:
    """Return the official name of one of :class:`TinyViTEncoder`'s parameters (no ``image_encoder.`` prefix)."""
    inner, found, rest = key.partition("trunk.")
    if inner or not found:
        return key
    for pattern, replacement in _RENAMES:
        rest = re.sub(pattern, replacement, rest)
    return rest


class TinyViTEncoder(nn.Module):
    """TinyViT-5M with SAM's neck.

    Args:
        stride: 4 (MobileSAM: 3x3 stride-2 patch convolutions) or 1 (LiteMedSAM: 1x1 stride-1 ones).
        classifier: keep the unused classifier of MobileSAM's file.
    """

    def __init__(self, stride: int, classifier: bool) -> None:
        super().__init__()
        table, width = TABLE["tiny_vit"], TABLE["prompt"]["width"]
        trunk: Any = TinyVit(
            num_classes=table["classes"],
            embed_dims=tuple(table["widths"]),
            depths=tuple(table["depths"]),
            num_heads=tuple(table["heads"]),
            window_sizes=tuple(table["windows"]),
            drop_path_rate=0.0,
        )
        # SAM keeps a 64 x 64 grid, so the last down-sampling only widens.
        trunk.stages[3].downsample.conv2.conv.stride = (1, 1)
        if stride == 1:
            for convolution in (trunk.patch_embed.conv1, trunk.patch_embed.conv2):
                old = convolution.conv
                convolution.conv = nn.Conv2d(old.in_channels, old.out_channels, 1, bias=False)
        if not classifier:
            trunk.head = nn.Identity()
        self.trunk = trunk
        last = table["widths"][-1]
        self.neck = nn.Sequential(
            nn.Conv2d(last, width, 1, bias=False),
            LayerNorm2d(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            LayerNorm2d(width),
        )
        # The layout of the convolutions' weights decides theirs; measured on a CPU, 15 to 25 % of the encoder's time.
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode (B, 3, S, S) to the embedding (B, C, E, E) and the official layers' outputs (B, tokens, width)."""
        features = self.trunk.patch_embed(pixels.contiguous(memory_format=torch.channels_last))
        stages = self.trunk.stages
        intermediate = {}
        features = stages[0](features)
        for index, stage in enumerate(stages[1:]):
            features = stage.downsample(features)
            intermediate[str(index)] = features.flatten(2).transpose(1, 2)
            features = _after_downsample(stage, features)
        intermediate[str(len(stages) - 1)] = features.flatten(2).transpose(1, 2)
        return self.neck(features), intermediate

    def train(self, mode: bool = True) -> TinyViTEncoder:
        """Switch the mode; on the way to evaluation forget the attention biases that TinyViT cached in it."""
        super().train(True)
        super().train(mode)
        return self


def _after_downsample(stage: Any, features: Tensor) -> Tensor:
    """Run a stage's blocks, which work on (B, H, W, channels), on (B, channels, H, W)."""
    result: Tensor = stage.blocks(features.permute(0, 2, 3, 1))
    return result.permute(0, 3, 1, 2)


class TinyViTNetwork(PromptedNetwork):
    """A promptable network on a TinyViT encoder, whose state dict speaks the official names.

    Args:
        encoder: the image encoder.
        side: input side in pixels.
        parts: the three parts in the order of the official file.
    """

    def __init__(self, encoder: TinyViTEncoder, side: int, parts: tuple[str, str, str]) -> None:
        super().__init__(encoder, prompt_encoder(TABLE["tiny_vit"]["grid"], side), mask_decoder(), side)
        self.parts = parts

    def official_state_dict(self) -> OrderedDict[str, Tensor]:
        return official_tiny_state(self, self.parts)


def official_tiny_state(module: nn.Module, parts: tuple[str, str, str]) -> OrderedDict[str, Tensor]:
    """Return the official state dict of a network on :class:`TinyViTEncoder`, its parts in the order of the file."""
    prefix = "image_encoder."
    own = official_state(
        module, lambda key: prefix + official_name(key[len(prefix) :]) if key.startswith(prefix) else key
    )
    place = {key: (parts.index(key.partition(".")[0]), _layer_order(key)) for key in own}
    return OrderedDict((key, own[key]) for key in sorted(own, key=place.__getitem__))


def _layer_order(key: str) -> int:
    """Return the place of an encoder's key: each layer with its own down-sampling last; 0 outside of the encoder."""
    match = re.match(r"image_encoder\.layers\.(\d+)\.(downsample\.)?", key)
    if match:
        return 1 + 2 * int(match[1]) + (1 if match[2] else 0)
    return next((place for place, group in _LAST_GROUPS if key.startswith(f"image_encoder.{group}")), 0)


def build_mobile_sam() -> TinyViTNetwork:
    """Build MobileSAM: input 1024, 439 official keys, 10.130092 M parameters."""
    parts = ("image_encoder", "prompt_encoder", "mask_decoder")
    return TinyViTNetwork(TinyViTEncoder(stride=4, classifier=True), side=1024, parts=parts)


def build_lite_medsam() -> TinyViTNetwork:
    """Build LiteMedSAM: input 256, 435 official keys, 9.791300 M parameters."""
    parts = ("image_encoder", "mask_decoder", "prompt_encoder")
    return TinyViTNetwork(TinyViTEncoder(stride=1, classifier=False), side=256, parts=parts)
