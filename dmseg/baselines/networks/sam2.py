"""SAM 2.1 and MedSAM2 as single-image networks, built by Meta's package ``sam2``.

The package's own builder makes the network of one of its configurations; here it gets the interface of our promptable
networks. What belongs to video (memory) is loaded and left alone. As in the package's image predictor: the embedding
with "no memory" added, two finer feature maps for the decoder, a box as two points before the clicks, one token pair
in place of a "no box" padding, low-resolution logits.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from dmseg.baselines.networks.sam import Encoded, official_state

_CORNERS = (2, 3)
"""Labels of a box's corners among points."""


class Sam2Network(nn.Module):
    """A ``sam2`` model of one configuration, for single images; ``side`` is the input's, S.

    Args:
        config: name of a configuration of the package, such as ``configs/sam2.1/sam2.1_hiera_t.yaml``.
        side: S; the embedding has S / 16, the finer maps S / 8 and S / 4.
    """

    def __init__(self, config: str, side: int = 1024) -> None:
        super().__init__()
        from sam2.build_sam import build_sam2

        wanted = torch.empty(0).device  # the builder reads values, so it cannot build on the meta device
        with torch.device("cpu"):
            built = build_sam2(config, device="cpu", hydra_overrides_extra=[f"++model.image_size={side}"])
        self.sam2: Any = built.to(wanted)
        self.side = side

    @property
    def prompt_encoder(self) -> Any:
        """Return the prompt encoder, which is SAM's."""
        return self.sam2.sam_prompt_encoder

    def encode(self, pixels: Tensor) -> Encoded:
        """Encode normalised pixels (B, 3, S, S): the embedding, and finer maps ``0`` (S / 4) and ``1`` (S / 8)."""
        model = self.sam2
        _, features, _, sizes = model._prepare_backbone_features(model.forward_image(pixels))
        if model.directly_add_no_mem_embed:
            features[-1] = features[-1] + model.no_mem_embed
        maps = [
            feature.permute(1, 2, 0).unflatten(2, tuple(size)) for feature, size in zip(features, sizes, strict=True)
        ]
        return Encoded(maps[-1], {str(index): finer for index, finer in enumerate(maps[:-1])})

    def condition_on_prompts(
        self, encoded: Encoded, points: Tensor | None, labels: Tensor | None, box: Tensor | None, dense: Tensor
    ) -> Encoded:
        """Return the encoding as it is: no prompt changes it."""
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
        """Decode N masks of one image: see :meth:`dmseg.baselines.networks.sam.PromptedNetwork.forward_prompts`."""
        coords = [] if box is None else [box.reshape(-1, 2, 2)]
        kinds = [] if box is None else [torch.tensor([_CORNERS], device=box.device).expand(len(box), -1)]
        if points is not None and labels is not None:
            coords.append(points)
            kinds.append(labels)
        given = (torch.cat(coords, 1), torch.cat(kinds, 1).to(torch.int32))
        sparse, dense = self.prompt_encoder(points=given, boxes=None, masks=mask_input)
        return self.decode(encoded, sparse, dense, multimask)

    def decode(self, encoded: Encoded, sparse: Tensor, dense: Tensor, multimask: bool) -> tuple[Tensor, Tensor]:
        """Run the mask decoder on prompt embeddings (N, n, C) and (N, C, E, E)."""
        count = len(sparse)
        logits, iou, _, _ = self.sam2.sam_mask_decoder(
            image_embeddings=encoded.embedding,
            image_pe=self.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=count > 1,
            high_res_features=[feature.expand(count, -1, -1, -1) for feature in encoded.intermediate.values()],
        )
        return logits, iou

    def official_state_dict(self) -> OrderedDict[str, Tensor]:
        """Return official key -> live tensor."""
        return official_state(self.sam2)

    def checkpoint_state_dict(self) -> OrderedDict[str, Tensor]:
        """Return what lies in the checkpoint file: everything."""
        return self.official_state_dict()
