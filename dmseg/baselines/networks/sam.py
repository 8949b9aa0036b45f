"""The promptable network all SAM-style baselines share: image encoder, prompt encoder, mask decoder.

Axes: B images or prompts, S input side, E side of the embedding grid (S / 16, or S / 4 where the encoder starts at
stride 1), C = 256 embedding channels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import Tensor, nn

from dmseg.baselines.networks.attention import HeadwiseAttention
from dmseg.tables import read_packaged_table

TABLE = read_packaged_table(__name__.rpartition(".")[0], "networks.toml")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What one encoder pass leaves for all prompts on the same images.

    Attributes:
        embedding: (B, C, E, E).
        intermediate: name of a block or layer -> its output: ViT (B, E, E, width) after each global-attention block;
            TinyViT (B, tokens, width) after each stage and its down-sampling.
    """

    embedding: Tensor
    intermediate: dict[str, Tensor]


def map_tensors(encoded: Encoded, change: Callable[[Tensor], Tensor]) -> Encoded:
    """Return an encoding of the same kind, each of its tensors changed."""
    changed: dict[str, Any] = {}
    for name in type(encoded).__dataclass_fields__:
        value = getattr(encoded, name)
        if name == "intermediate":
            changed[name] = {key: change(one) for key, one in value.items()}
        else:
            changed[name] = None if value is None else change(value)
    return type(encoded)(**changed)


def list_tensors(encoded: Encoded) -> list[Tensor]:
    """Return the tensors of an encoding: those of two encodings of one kind in one order."""
    found: list[Tensor] = []

    def note(value: Tensor) -> Tensor:
        found.append(value)
        return value

    map_tensors(encoded, note)
    return found


def feature_map(feature: Tensor) -> Tensor:
    """Return an intermediate feature, (B, H, W, width) or (B, tokens, width) of a square, as (B, width, H, W)."""
    if feature.ndim == 3:
        batch, tokens, width = feature.shape
        feature = feature.view(batch, isqrt(tokens), isqrt(tokens), width)
    return feature.permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (B, C, H, W), fused; SAM's own takes single steps, slow to train."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PromptedNetwork(nn.Module):
    """Image encoder, prompt encoder and mask decoder under their official names; ``side`` is the input's, S."""

    def __init__(
        self, image_encoder: nn.Module, prompt_encoder: PromptEncoder, mask_decoder: MaskDecoder, side: int
    ) -> None:
        super().__init__()
        self.side = side
        self.image_encoder = image_encoder
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def encode(self, pixels: Tensor) -> Encoded:
        """Encode normalised pixels (B, 3, S, S); only what the decoder needs is kept, no intermediate features here."""
        return Encoded(self.encode_frozen(pixels).embedding, {})

    def encode_frozen(self, pixels: Tensor) -> Encoded:
        """Encode by the image encoder alone, as training does once for all interactions while the encoder is frozen.

        What :meth:`encode` computes beyond that is computed, with gradients, by :meth:`forward_prompts`.
        """
        embedding, intermediate = self.image_encoder(pixels)
        return Encoded(embedding, intermediate)

    def condition_on_prompts(
        self, encoded: Encoded, points: Tensor | None, labels: Tensor | None, box: Tensor | None, dense: Tensor
    ) -> Encoded:
        """Return the encoding that the decoder sees for these prompts; here no prompt changes it.

        Args:
            points, labels, box: as :meth:`forward_prompts` takes them.
            dense: (N, C, E, E) dense embedding of the previous mask, or of "no mask yet".
        """
        return encoded

    def forward_prompts(
        self,
        encoded: Encoded,
        points: Tensor | None,
        labels: Tensor | None,
        box: Tensor | None,
        mask_input: Tensor | None,
        multimask: bool,
    ) -> tuple[Tensor, Tensor]:
        """Decode N masks, of one image or of one image each.

        Args:
            encoded: of one image (B = 1), or of the image of each mask (B = N), as in training.
            points: (N, K, 2) x, y in input pixels, or None.
            labels: (N, K) 1 foreground, 0 background, or None.
            box: (N, 4) x0, y0, x1, y1 in input pixels, or None.
            mask_input: (N, 1, 4E, 4E) logits of the previous step, or None.
            multimask: three masks instead of one.

        Returns:
            Low-resolution logits (N, M, 4E, 4E) and predicted IoU (N, M), M = 1 or 3.
        """
        sparse, dense = self.prompt_encoder(
            points=None if points is None else (points, labels), boxes=box, masks=mask_input
        )
        return self.decode(self.condition_on_prompts(encoded, points, labels, box, dense), sparse, dense, multimask)

    def decode(self, encoded: Encoded, sparse: Tensor, dense: Tensor, multimask: bool) -> tuple[Tensor, Tensor]:
        """Run the mask decoder on prompt embeddings (N, n, C) and (N, C, E, E)."""
        embedding = encoded.embedding
        if embedding.shape[0] > 1:  # SAM's decoder knows one image only; all it does with it is to add ``dense``
            embedding, dense = torch.zeros_like(embedding[:1]), embedding + dense
        logits, iou = self.mask_decoder(
            image_embeddings=embedding,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return logits, iou

    def official_state_dict(self) -> OrderedDict[str, Tensor]:
        """Return official key -> live tensor, in the order of the official file."""
        return official_state(self)

    def checkpoint_state_dict(self) -> OrderedDict[str, Tensor]:
        """Return what of :meth:`official_state_dict` lies in the checkpoint file itself: all, but for GleSAM."""
        return self.official_state_dict()


def official_state(module: nn.Module, rename: Callable[[str], str] | None = None) -> OrderedDict[str, Tensor]:
    """Return a module's state dict, its keys renamed to the official ones; the tensors stay the live ones."""
    state = module.state_dict()
    return OrderedDict((rename(key) if rename else key, value) for key, value in state.items())


def prompt_encoder(embedding_side: int, side: int) -> PromptEncoder:
    """Return SAM's prompt encoder for an embedding of ``embedding_side`` squared and an input of ``side`` squared."""
    table = TABLE["prompt"]
    return PromptEncoder(
        embed_dim=table["width"],
        image_embedding_size=(embedding_side, embedding_side),
        input_image_size=(side, side),
        mask_in_chans=table["mask_channels"],
    )


def vit_prompt_encoder(side: int) -> PromptEncoder:
    """Return SAM's prompt encoder for the embedding that a ViT makes of an input of ``side`` squared."""
    return prompt_encoder(side // TABLE["vit"]["patch"], side)


def decoder_settings() -> dict[str, Any]:
    """Return the keyword arguments of SAM's mask decoder, with a new two-way transformer."""
    table = TABLE["prompt"]
    return {
        "num_multimask_outputs": table["mask_outputs"],
        "transformer": TwoWayTransformer(
            depth=table["decoder_depth"],
            embedding_dim=table["width"],
            mlp_dim=table["decoder_mlp"],
            num_heads=table["decoder_heads"],
        ),
        "transformer_dim": table["width"],
        "iou_head_depth": table["iou_depth"],
        "iou_head_hidden_dim": table["iou_width"],
    }


def mask_decoder() -> MaskDecoder:
    """Return SAM's mask decoder."""
    return MaskDecoder(**decoder_settings())


class ViTEncoder(ImageEncoderViT):  # type: ignore[misc]  # the library is untyped
    """SAM's ViT image encoder, which also returns the outputs of its global-attention blocks."""

    def __init__(self, size: str, side: int) -> None:
        shape, vit = TABLE[size], TABLE["vit"]
        super().__init__(
            img_size=side,
            patch_size=vit["patch"],
            embed_dim=shape["width"],
            depth=shape["depth"],
            num_heads=shape["heads"],
            mlp_ratio=vit["mlp_ratio"],
            out_chans=TABLE["prompt"]["width"],
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=vit["norm_eps"]),
            use_rel_pos=True,
            window_size=vit["window"],
            global_attn_indexes=tuple(shape["global_blocks"]),
        )
        self.global_blocks = frozenset(shape["global_blocks"])
        grid = (side // vit["patch"],) * 2
        for index in self.global_blocks:
            self.blocks[index].attn = HeadwiseAttention(
                shape["width"], shape["heads"], qkv_bias=True, use_rel_pos=True, input_size=grid
            )

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode (B, 3, S, S) to the embedding (B, C, E, E) and the global blocks' outputs (B, E, E, width)."""
        tokens = self.patch_embed(pixels) + self.pos_embed
        intermediate = {}
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in self.global_blocks:
                intermediate[str(index)] = tokens
        return self.neck(tokens.permute(0, 3, 1, 2)), intermediate


def build_sam(size: str, side: int = 1024) -> PromptedNetwork:
    """Build SAM with a ViT of ``size`` (``vit_b``, ``vit_l``, ``vit_h``): 314, 482 or 594 official keys."""
    return PromptedNetwork(ViTEncoder(size, side), vit_prompt_encoder(side), mask_decoder(), side)


@torch.no_grad()
def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters (buffers not counted)."""
    return sum(parameter.numel() for parameter in module.parameters())
