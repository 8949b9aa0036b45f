"""What RobustSAM and SAM-HQ share: features of an early block, fused with the embedding once per image."""

from __future__ import annotations

from dataclasses import dataclass

from segment_anything.modeling import MaskDecoder, PromptEncoder
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from dmseg.baselines.networks.sam import Encoded, PromptedNetwork


def build_upsampling(channels: int, width: int, out: int) -> nn.Sequential:
    """Return layers from (B, channels, E, E) to (B, out, 4E, 4E)."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, width, 2, stride=2),
        LayerNorm2d(width),
        nn.GELU(),
        nn.ConvTranspose2d(width, out, 2, stride=2),
    )


def build_refinement(channels: int, width: int) -> nn.Sequential:
    """Return two 3x3 convolutions over (B, channels, H, W), ``width`` channels between them."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        LayerNorm2d(width),
        nn.GELU(),
        nn.Conv2d(width, channels, 3, padding=1),
    )


@dataclass(frozen=True, slots=True)
class FusedEncoded(Encoded):
    """An encoding with its prompt-independent features (B, C / 8, 4E, 4E)."""

    fused: Tensor


class EarlyFeatureNetwork(PromptedNetwork):
    """A network whose decoder also sees features of an early block.

    Args:
        image_encoder, prompt_encoder, side: as of the base class.
        mask_decoder: its ``fuse_features`` makes the features from the embedding and the early block's output.
        first_block: name of the early feature, which has the embedding's grid.
    """

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        side: int,
        first_block: str,
    ) -> None:
        super().__init__(image_encoder, prompt_encoder, mask_decoder, side)
        self.first_block = first_block

    def fuse(self, encoded: Encoded) -> FusedEncoded:
        """Return an encoding with its prompt-independent features, which are made where they are not known."""
        if isinstance(encoded, FusedEncoded):
            return encoded
        fused = self.mask_decoder.fuse_features(encoded.embedding, encoded.intermediate[self.first_block])
        return FusedEncoded(encoded.embedding, {}, fused)
