"""RobustSAM: SAM with degradation-invariant features and a robust output token in the mask decoder.

Published description: "RobustSAM" (CVPR 2024, arXiv 2406.09627), section 3: Anti-Degradation Mask Feature Generation
(AMFG: two normalisations chosen by a selector, channel attention, and a Fourier step that re-weights magnitudes while
keeping phases) on the decoder's mask features, on the first global block's output and on the image embedding; and
Anti-Degradation Output Token Generation (AOTG: two instance normalisations and an MLP).

The first two of these features do not depend on the prompts, so :meth:`RobustSAMNetwork.encode` computes them once.
With ``clear=True`` the decoder is plain SAM; that is what the authors' own predictor runs.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn
from torch.nn import functional

from dmseg.baselines.networks.early_features import EarlyFeatureNetwork, build_refinement, build_upsampling
from dmseg.baselines.networks.sam import (
    TABLE,
    Encoded,
    PromptedNetwork,
    ViTEncoder,
    decoder_settings,
    feature_map,
    vit_prompt_encoder,
)


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation on (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // TABLE["robust_sam"]["reduction"]
        self.excitation = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Weight the channels of (B, C, H, W)."""
        weights: Tensor = self.excitation(features.mean((2, 3)))
        return features * weights[:, :, None, None]


class Selector(nn.Module):
    """Two soft masks that add up to one, decided on a coarse grid of pooled features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        table = TABLE["robust_sam"]
        self.pool: int = table["pool"]
        width = channels * self.pool**2
        self.fc = nn.Sequential(nn.Linear(width, width // table["reduction"], bias=False), nn.ReLU())
        self.att_conv1 = nn.Linear(width // table["reduction"], width)
        self.att_conv2 = nn.Linear(width // table["reduction"], width)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two masks (B, C, H, W) for features of that shape."""
        coarse = self.fc(functional.adaptive_avg_pool2d(features, self.pool).flatten(1))
        grid = (features.shape[0], features.shape[1], self.pool, self.pool)
        votes = torch.stack((self.att_conv1(coarse).view(grid), self.att_conv2(coarse).view(grid))).softmax(0)
        first, second = (functional.interpolate(vote, features.shape[2:], mode="nearest") for vote in votes)
        return first, second


class SelectiveConvolution(nn.Module):
    """Two 3x3 convolutions, one after batch and one after instance normalisation, mixed by a selector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.selector = Selector(channels)
        self.IN = nn.InstanceNorm2d(channels)
        self.BN = nn.BatchNorm2d(channels)
        self.relu = nn.LeakyReLU()

    def forward(self, features: Tensor) -> Tensor:
        """Mix (B, C, H, W)."""
        by_batch: Tensor = self.conv1(self.relu(self.BN(features)))
        by_instance: Tensor = self.conv2(self.relu(self.IN(features)))
        first, second = self.selector(by_batch + by_instance)
        mixed: Tensor = by_batch * first + by_instance * second
        return mixed


class Denormalisation(nn.Module):
    """Input and its selectively normalised version, (B, C, H, W) -> (B, 2C, H, W), channel-weighted."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel_attention = ChannelAttention(2 * channels)
        # The official name of the one convolution is ``SEMBlock.maxpool_conv.0``.
        self.SEMBlock = nn.ModuleDict({"maxpool_conv": nn.Sequential(SelectiveConvolution(channels))})

    def forward(self, features: Tensor) -> Tensor:
        """Concatenate and weight."""
        selected = self.SEMBlock["maxpool_conv"](features)
        weighted: Tensor = self.channel_attention(torch.cat((features, selected), 1))
        return weighted


class FourierDegradationSuppression(nn.Module):
    """A 1x1 convolution over the Fourier magnitudes, phases kept. (B, 2C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Filter (B, 2C, H, W) in single precision throughout: half has no such transform, and magnitudes exceed it."""
        with torch.autocast(features.device.type, enabled=False):
            spectrum = torch.fft.fft2(features.float())
            magnitude: Tensor = self.conv_layer(spectrum.abs())
            filtered: Tensor = torch.fft.ifft2(torch.polar(magnitude, spectrum.angle())).real
        return filtered


class FeatureGeneration(nn.Module):
    """AMFG on (B, C, H, W), then a resampling head to the mask features' 32 channels and resolution."""

    def __init__(self, channels: int, head: nn.Sequential, head_name: str) -> None:
        super().__init__()
        self.dnc_block_combined = Denormalisation(channels)
        self.fgm_block = FourierDegradationSuppression(channels)
        self.conv_layer = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.add_module(head_name, head)
        self.head_name = head_name

    def forward(self, features: Tensor) -> Tensor:
        """Generate degradation-invariant features."""
        features = self.conv_layer(self.fgm_block(self.dnc_block_combined(features)))
        result: Tensor = self.get_submodule(self.head_name)(features)
        return result


class TokenGeneration(nn.Module):
    """AOTG: a robust token (C,), seen as (4, C / 4), normalised twice and expanded to four vectors (4, C)."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows = rows
        self.mlp = nn.Sequential(nn.Linear(columns, columns), nn.ReLU(), nn.Linear(columns, columns * rows))

    def forward(self, tokens: Tensor) -> Tensor:
        """Expand a token per mask, (N, C) -> (N, 4, C); the published layout normalises each vector as a whole."""
        tokens = tokens[:, None]
        for _ in range(2):
            tokens = functional.instance_norm(tokens)
        result: Tensor = self.mlp(tokens.reshape(tokens.shape[0], self.rows, -1))
        return result


ROBUST_PARTS = (
    "custom_robust_token",
    "robust_mlp",
    "fourier_mask_features",
    "fourier_first_layer_features",
    "fourier_last_layer_features",
    "custom_token_block",
)
"""What :class:`RobustMaskDecoder` has above SAM's."""


class RobustMaskDecoder(MaskDecoder):  # type: ignore[misc]  # the library is untyped
    """SAM's mask decoder with the robust token and features beside it."""

    def __init__(self, first_width: int) -> None:
        super().__init__(**decoder_settings())
        width = TABLE["prompt"]["width"]
        self.custom_robust_token = nn.Embedding(self.num_mask_tokens, width)
        self.robust_mlp = MLP(width, width, width // 8, 3)
        self.fourier_mask_features = FeatureGeneration(
            width // 8, build_refinement(width // 8, width // 4), "downsample_layer"
        )
        self.fourier_first_layer_features = FeatureGeneration(
            first_width, build_upsampling(first_width, width, width // 8), "upsample_layer"
        )
        self.fourier_last_layer_features = FeatureGeneration(
            width, build_upsampling(width, width, width // 8), "upsample_layer"
        )
        self.custom_token_block = TokenGeneration(self.num_mask_tokens, width // self.num_mask_tokens)

    def fuse_features(self, embedding: Tensor, first_block: Tensor) -> Tensor:
        """Return the prompt-independent features (B, C / 8, 4E, 4E) of B images."""
        early: Tensor = self.fourier_first_layer_features(feature_map(first_block))
        late: Tensor = self.fourier_last_layer_features(embedding)
        return early + late

    def robust_forward(
        self, embedding: Tensor, position: Tensor, sparse: Tensor, dense: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Decode N masks with the robust token: 16 logits maps each (N, 16, 4E, 4E), predicted IoU (N, 4).

        The four tokens expand to four vectors each, so the head yields 16 maps; the published model uses the first.

        Args:
            embedding, features: of one image (1, ...) or of the image of each mask (N, ...).
            position: (1, C, E, E).
            sparse, dense: prompt embeddings (N, n, C) and (N, C, E, E).
        """
        count, masks = self.num_mask_tokens, sparse.shape[0]
        own = torch.cat((self.iou_token.weight, self.custom_robust_token.weight)).expand(masks, -1, -1)
        hidden, image = self.transformer(
            embedding + dense, position.expand(masks, -1, -1, -1), torch.cat((own, sparse), 1)
        )
        side = embedding.shape[-2:]
        upscaled = self.output_upscaling(image.transpose(1, 2).unflatten(2, side))
        mask_features = self.fourier_mask_features(upscaled) + features
        vectors = [self.robust_mlp(self.custom_token_block(hidden[:, 1 + index])) for index in range(count)]
        # (token, expansion) -> expansion-major, as the published stacking orders them.
        weights = torch.stack(vectors, 2).flatten(1, 2)
        logits = torch.einsum("nkc,nchw->nkhw", weights, mask_features)
        return logits, self.iou_prediction_head(hidden[:, 0])


class RobustNetwork(EarlyFeatureNetwork):
    """RobustSAM on any encoder; ``clear=True`` decodes as plain SAM.

    Args:
        image_encoder, prompt_encoder, side, first_block: as of the base class.
        first_width: channels of the early feature.
    """

    mask_decoder: RobustMaskDecoder

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        side: int,
        first_block: str,
        first_width: int,
        clear: bool = False,
    ) -> None:
        super().__init__(image_encoder, prompt_encoder, RobustMaskDecoder(first_width), side, first_block)
        self.clear = clear

    def encode(self, pixels: Tensor) -> Encoded:
        """Encode images (B, 3, S, S) and their prompt-independent robust features."""
        encoded = self.encode_frozen(pixels)
        return Encoded(encoded.embedding, {}) if self.clear else self.fuse(encoded)

    def decode(self, encoded: Encoded, sparse: Tensor, dense: Tensor, multimask: bool) -> tuple[Tensor, Tensor]:
        """Decode N masks at once; the robust features of their image are computed here where they are not known."""
        if self.clear:
            return super().decode(encoded, sparse, dense, multimask)
        known = self.fuse(encoded)
        logits, iou = self.mask_decoder.robust_forward(
            known.embedding, self.prompt_encoder.get_dense_pe(), sparse, dense, known.fused
        )
        chosen = slice(1, None) if multimask else slice(0, 1)
        return logits[:, chosen], iou[:, chosen]


class RobustSAMNetwork(RobustNetwork):
    """RobustSAM as published, on a ViT."""

    def __init__(self, size: str, side: int = 1024, clear: bool = False) -> None:
        first_block = str(min(TABLE[size]["global_blocks"]))
        super().__init__(
            ViTEncoder(size, side), vit_prompt_encoder(side), side, first_block, TABLE[size]["width"], clear
        )


def robust_on(base: PromptedNetwork, first_block: str, first_width: int) -> RobustNetwork:
    """Return RobustSAM's blocks, untrained, on a network of SAM's decoder, whose weights it takes over."""
    network = RobustNetwork(base.image_encoder, base.prompt_encoder, base.side, first_block, first_width)
    network.mask_decoder.load_state_dict(base.mask_decoder.state_dict(), strict=False)
    return network
