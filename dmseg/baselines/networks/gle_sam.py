"""GleSAM: SAM whose image embedding passes once through a diffusion U-Net before the decoder.

Published description: "Segment Any-Quality Images with Generative Latent Space Enhancement" (CVPR 2025, arXiv
2503.12507): the embedding is taken for a noisy latent at a fixed early time step, and the clean one that the U-Net of
Stable Diffusion predicts from it is decoded. The U-Net has 256 channels in and out (its own 4 tiled 64 times) and
low-rank updates on all its convolutions and attention layers.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from torch import Tensor

from dmseg.baselines.networks.sam import (
    TABLE,
    Encoded,
    PromptedNetwork,
    ViTEncoder,
    mask_decoder,
    official_state,
    vit_prompt_encoder,
)

_PREFIX = "unet."


def build_unet(**shape: Any) -> Any:
    """Return Stable Diffusion's U-Net on the embedding's channels, with low-rank updates; keys as GleSAM names them.

    Args:
        shape: the keyword arguments of diffusers' ``UNet2DConditionModel`` that say which Stable Diffusion it is.
    """
    table, width = TABLE["gle_sam"], TABLE["prompt"]["width"]
    unet: Any = UNet2DConditionModel(in_channels=width, out_channels=width, **shape)
    unet.add_adapter(LoraConfig(r=table["rank"], target_modules=table["updated"]))
    return unet


def compute_kept_signal() -> float:
    """Return the share of the signal's variance left at the fixed time step, by Stable Diffusion's schedule."""
    table = TABLE["gle_sam"]
    betas = np.linspace(math.sqrt(table["first_beta"]), math.sqrt(table["last_beta"]), table["steps"]) ** 2
    return float(np.prod(1 - betas[: table["timestep"] + 1]))


class GleSAMNetwork(PromptedNetwork):
    """SAM with the U-Net between encoder and decoder.

    Args:
        size: of the ViT.
        base: which Stable Diffusion: ``sd21-base`` or ``sd15``.

    Attributes:
        text: (1, tokens, width) the text encoder's answer to the empty prompt; not part of the state dict.
    """

    text: Tensor

    def __init__(self, size: str = "vit_l", base: str = "sd21-base", side: int = 1024) -> None:
        super().__init__(ViTEncoder(size, side), vit_prompt_encoder(side), mask_decoder(), side)
        shape = TABLE["gle_sam"]["bases"][base]
        self.unet = build_unet(**shape)
        tokens = torch.zeros(1, TABLE["gle_sam"]["tokens"], shape["cross_attention_dim"])
        self.register_buffer("text", tokens, persistent=False)

    def encode(self, pixels: Tensor) -> Encoded:
        """Encode normalised pixels (B, 3, S, S) and restore the embedding."""
        encoded = super().encode(pixels)
        return Encoded(self.restore(encoded.embedding), {})

    def restore(self, embedding: Tensor) -> Tensor:
        """Return the clean embedding (B, C, E, E) that the U-Net predicts; the last step in double precision."""
        table, kept = TABLE["gle_sam"], compute_kept_signal()
        latent = embedding * table["latent_scale"]
        text = self.text.to(latent.dtype).expand(latent.shape[0], -1, -1)
        noise = self.unet(latent, table["timestep"], encoder_hidden_states=text).sample
        clean = (latent.double() - math.sqrt(1 - kept) * noise.double()) / math.sqrt(kept)
        restored: Tensor = (clean / table["latent_scale"]).to(embedding.dtype)
        return restored

    def official_state_dict(self) -> OrderedDict[str, Tensor]:
        """Return SAM's keys, then the U-Net's; both under their official names."""
        return official_state(self, lambda key: key.removeprefix(_PREFIX))

    def checkpoint_state_dict(self) -> OrderedDict[str, Tensor]:
        """Return what the checkpoint file itself holds: SAM."""
        return OrderedDict((key, value) for key, value in self.state_dict().items() if not key.startswith(_PREFIX))
