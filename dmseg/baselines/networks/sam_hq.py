"""SAM-HQ: SAM with a high-quality output token and features fused from an early block.

Published description: "Segment Anything in High Quality" (NeurIPS 2023, arXiv 2306.01567), section 3: a sixth output
token with its own MLP, whose mask is read from SAM's upscaled embedding joined with the embeddings of the last and of
the first global-attention block. All of SAM stays frozen; 25 tensors are new. The features of an image depend on no
prompt, so :meth:`SamHqNetwork.encode` computes them once.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from dmseg.baselines.networks.early_features import EarlyFeatureNetwork, build_refinement, build_upsampling
from dmseg.baselines.networks.sam import (
    TABLE,
    Encoded,
    ViTEncoder,
    decoder_settings,
    feature_map,
    prompt_encoder,
    vit_prompt_encoder,
)
from dmseg.baselines.networks.tiny_vit import TinyViTEncoder, official_tiny_state


class HqMaskDecoder(MaskDecoder):  # type: ignore[misc]  # the library is untyped
    """SAM's mask decoder with the high-quality token and features beside it."""

    def __init__(self, first_width: int) -> None:
        super().__init__(**decoder_settings())
        width = TABLE["prompt"]["width"]
        thin = width // 8
        self.hf_token = nn.Embedding(1, width)
        self.hf_mlp = MLP(width, width, thin, 3)
        self.compress_vit_feat = build_upsampling(first_width, width, thin)
        self.embedding_encoder = build_upsampling(width, width // 4, thin)
        self.embedding_maskfeature = build_refinement(thin, width // 4)

    def fuse_features(self, embedding: Tensor, first_block: Tensor) -> Tensor:
        """Return the prompt-independent features (B, C / 8, 4E, 4E) of B images."""
        fused: Tensor = self.embedding_encoder(embedding) + self.compress_vit_feat(feature_map(first_block))
        return fused

    def decode_masks(self, source: Tensor, position: Tensor, sparse: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Decode N prompts.

        Args:
            source: (N, C, E, E) image embedding plus dense prompt embedding.
            position: (1, C, E, E) its positional encoding.
            sparse: (N, n, C) sparse prompt embedding.
            features: (1 or N, C / 8, 4E, 4E) of :meth:`fuse_features`.

        Returns:
            Logits (N, 5, 4E, 4E), SAM's four masks and the high-quality one, and predicted IoU (N, 4), SAM's.
        """
        count, masks = len(sparse), self.num_mask_tokens
        tokens = torch.cat((self.iou_token.weight, self.mask_tokens.weight, self.hf_token.weight))
        tokens = torch.cat((tokens.expand(count, -1, -1), sparse), 1)
        hidden, image = self.transformer(source, position.expand(count, -1, -1, -1), tokens)
        upscaled = self.output_upscaling(image.transpose(1, 2).unflatten(2, source.shape[-2:]))
        fine = self.embedding_maskfeature(upscaled) + features
        vectors = [mlp(hidden[:, 1 + index]) for index, mlp in enumerate(self.output_hypernetworks_mlps)]
        plain = torch.einsum("nkc,nchw->nkhw", torch.stack(vectors, 1), upscaled)
        high = torch.einsum("nc,nchw->nhw", self.hf_mlp(hidden[:, 1 + masks]), fine)
        return torch.cat((plain, high[:, None]), 1), self.iou_prediction_head(hidden[:, 0])


class SamHqNetwork(EarlyFeatureNetwork):
    """SAM-HQ on any encoder.

    One mask comes out whatever is asked for: SAM's single mask, or with ``multimask`` the one of its three with the
    best predicted IoU, plus the high-quality mask's logits; with ``hq_only`` the high-quality mask alone.

    Args:
        image_encoder, prompt_encoder, side, first_block: as of the base class.
        first_width: channels of the early feature.
        hq_only: the authors' ``hq_token_only``.
    """

    mask_decoder: HqMaskDecoder

    def __init__(
        self,
        image_encoder: nn.Module,
        prompt_encoder: PromptEncoder,
        side: int,
        first_block: str,
        first_width: int,
        hq_only: bool = False,
    ) -> None:
        super().__init__(image_encoder, prompt_encoder, HqMaskDecoder(first_width), side, first_block)
        self.hq_only = hq_only

    def encode(self, pixels: Tensor) -> Encoded:
        """Encode images (B, 3, S, S) and fuse their prompt-independent features."""
        return self.fuse(self.encode_frozen(pixels))

    def decode(self, encoded: Encoded, sparse: Tensor, dense: Tensor, multimask: bool) -> tuple[Tensor, Tensor]:
        """Decode N masks: logits (N, 1, 4E, 4E) and predicted IoU (N, 1)."""
        known = self.fuse(encoded)
        position = self.prompt_encoder.get_dense_pe()
        logits, iou = self.mask_decoder.decode_masks(known.embedding + dense, position, sparse, known.fused)
        high, logits = logits[:, -1:], logits[:, :-1]
        best = 1 + iou[:, 1:].argmax(1) if multimask else torch.zeros(len(iou), dtype=torch.int64, device=iou.device)
        rows = torch.arange(len(iou), device=iou.device)
        plain = logits[rows, best][:, None]
        return (high if self.hq_only else plain + high), iou[rows, best][:, None]


class TinySamHqNetwork(SamHqNetwork):
    """SAM-HQ on TinyViT (the authors' Light HQ-SAM), whose state dict speaks the official names."""

    def official_state_dict(self) -> OrderedDict[str, Tensor]:
        first, second, third = TABLE["sam_hq"]["parts"]
        return official_tiny_state(self, (first, second, third))


def build_sam_hq(size: str, side: int = 1024) -> SamHqNetwork:
    """Build SAM-HQ on ``vit_b``, ``vit_l``, ``vit_h`` or ``vit_tiny``: 339, 507, 619 or 464 official keys."""
    if size == "vit_tiny":
        first = TABLE["sam_hq"]["first"][size]
        prompts = prompt_encoder(TABLE["tiny_vit"]["grid"], side)
        encoder = TinyViTEncoder(stride=4, classifier=True)
        return TinySamHqNetwork(encoder, prompts, side, first["name"], first["width"])
    first_block = str(min(TABLE[size]["global_blocks"]))
    return SamHqNetwork(ViTEncoder(size, side), vit_prompt_encoder(side), side, first_block, TABLE[size]["width"])
