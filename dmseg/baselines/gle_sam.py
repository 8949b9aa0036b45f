"""GleSAM as its authors' demo feeds it, and the three files that it is made of.

The image is stretched to 512 x 512 (PIL bicubic) and enlarged to 1024 as a tensor; logits go to 512 and from there to
the canvas. ``mode="official"`` is one shot: the previous mask is not fed back; ``iterative`` feeds its logits back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional

from dmseg.baselines import checkpoints
from dmseg.baselines.networks.sam import TABLE, PromptedNetwork
from dmseg.baselines.prompted import InputFrame, PromptedAdapter, bilinear, normalise_imagenet, stretch_frame
from dmseg.errors import ModelError
from dmseg.types import Image

UPDATES = "pytorch_lora_weights.safetensors"
DIFFUSION = "stable-diffusion"
"""Beside the checkpoint: the authors' low-rank updates, and a folder with Stable Diffusion's ``unet``, ``text_encoder``
and ``tokenizer`` in diffusers' layout."""
_UNET = Path(DIFFUSION) / "unet" / "diffusion_pytorch_model.safetensors"
_RENAMES = ((".lora.down.", ".lora_A.default."), (".lora.up.", ".lora_B.default."))


class GleSamAdapter(PromptedAdapter):
    """GleSAM (ViT-L)."""

    def prepare(self, image: Image) -> tuple[Tensor, InputFrame]:
        side, stretched = self.network.side, TABLE["gle_sam"]["stretched"]
        small = PillowImage.fromarray(image).resize((stretched, stretched), PillowImage.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float()
        enlarged = functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)
        return normalise_imagenet(enlarged[0]), stretch_frame(image, side)

    def finish(self, low_res: Tensor, frame: InputFrame) -> Tensor:
        stretched = TABLE["gle_sam"]["stretched"]
        full = bilinear(low_res, (self.network.side, self.network.side))
        return bilinear(bilinear(full, (stretched, stretched)), frame.canvas)[:, 0]

    def _answer(self, embedding: Any, prompts: Any, state: Any) -> tuple[Tensor, Tensor, Tensor]:
        return super()._answer(embedding, prompts, [None] * len(prompts) if self.mode == "official" else state)


def load_companions(network: PromptedNetwork, folder: Path) -> None:
    """Fill the U-Net and the empty prompt's embedding from the files beside the checkpoint.

    Raises:
        ModelError: a file is missing, unreadable, or of another network.
    """
    unet: Any = network.unet
    sources = {name: checkpoints.read_state(folder / name) for name in (_UNET, Path(UPDATES))}
    state = unet_state(sources[_UNET], sources[Path(UPDATES)], TABLE["prompt"]["width"])
    target: dict[str, Tensor] = unet.state_dict()
    gap = checkpoints.difference(checkpoints.shapes(state), checkpoints.shapes(target))
    if gap:
        raise ModelError(f"{folder}: {_UNET} and {UPDATES} are not those of this GleSAM: {gap}")
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(state[key])
        network.get_buffer("text").copy_(empty_prompt(folder / DIFFUSION))


def unet_state(base: Mapping[str, Tensor], updates: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """Return the U-Net's official state from Stable Diffusion's own and from the low-rank updates.

    The first and last convolution are tiled from their 4 channels to ``channels``, biases too; weights are not divided.
    """
    renamed = {}
    for key, value in updates.items():
        name = key.removeprefix("unet.")
        for found, official in _RENAMES:
            name = name.replace(found, official)
        renamed[name] = value
    updated = {name.partition(".lora_")[0] for name in renamed}
    state = {}
    for key, value in base.items():
        module, _, leaf = key.rpartition(".")
        if key == "conv_in.weight":
            value = value.repeat(1, channels // value.shape[1], 1, 1)
        elif module == "conv_out":
            value = value.repeat(channels // value.shape[0], *[1] * (value.ndim - 1))
        state[f"{module}.base_layer.{leaf}" if module in updated else key] = value
    return {**state, **renamed}


def empty_prompt(folder: Path) -> Tensor:
    """Return (1, tokens, width): Stable Diffusion's text encoder on the empty prompt, from its own files."""
    from transformers import CLIPTextModel, CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: no usable tokenizer and text_encoder: {error}") from None
    length = TABLE["gle_sam"]["tokens"]
    tokens = tokenizer("", padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    with torch.inference_mode():
        answer: Tensor = encoder(tokens)[0]
    return answer.clone()
