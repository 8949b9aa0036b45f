"""The two graphs of a network that are traced: what goes in and comes out has the names of Meta's ONNX export.

Prompts are one list of points with labels: 1 foreground, 0 background, 2 and 3 the corners of a box, -1 no point. SAM's
prompt encoder chooses by branches and writes in place; here the same is said in arithmetic, which can be traced.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dmseg.baselines.networks.robust_sam import RobustNetwork
from dmseg.baselines.networks.sam import Encoded, PromptedNetwork
from dmseg.baselines.networks.sam_hq import SamHqNetwork
from dmseg.baselines.pge_sam import EnhancedNetwork
from dmseg.baselines.pge_sam.guidance import draw_box_map, draw_near_maps
from dmseg.baselines.pge_sam.network import EnhancedEncoded
from dmseg.baselines.prompted import InputFrame, PromptedAdapter

IMAGE, EMBEDDING = "input_image", "image_embeddings"
PROMPTS = ("point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size")
OUTPUTS = ("masks", "iou_predictions", "low_res_masks")
NO_POINT, BACKGROUND, FOREGROUND, FIRST_CORNER, LAST_CORNER = -1, 0, 1, 2, 3
"""Labels of points."""


def name_parts(encoded: Encoded) -> dict[str, Tensor]:
    """Return what the decoder needs of an encoding, by name: the embedding, and what some networks have beside it."""
    parts = {EMBEDDING: encoded.embedding}
    if isinstance(encoded, EnhancedEncoded):
        parts |= {name.replace(" ", "_"): value for name, value in encoded.intermediate.items()}
    for name in type(encoded).__dataclass_fields__:
        if name not in ("embedding", "intermediate"):
            parts[name] = getattr(encoded, name)
    return parts


class EncoderGraph(nn.Module):
    """Normalised pixels (1, 3, S, S) to the parts of their encoding, in the order of :func:`name_parts`."""

    def __init__(self, network: PromptedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_image: Tensor) -> tuple[Tensor, ...]:
        """Encode one image."""
        return tuple(name_parts(self.network.encode(input_image)).values())


class DecoderGraph(nn.Module):
    """Parts of an encoding and prompts of one mask to masks: the layout of Meta's export.

    Args:
        adapter: whose network is decoded, and whose way back to the canvas is taken.
        encoded: an encoding, for its kind and names.
        multimask: decode the three masks of an ambiguous prompt where the network gives one output only.
    """

    def __init__(self, adapter: PromptedAdapter, encoded: Encoded, multimask: bool) -> None:
        super().__init__()
        self.network = adapter.network
        self.finish = adapter.finish
        self.kind = type(encoded)
        self.names = list(name_parts(encoded))
        self.multimask = multimask
        blank = torch.zeros(2, 1, 3, dtype=torch.uint8).numpy()
        side = self.network.side
        self.stretched = adapter.prepare(blank)[1].content == (side, side)

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decode one mask.

        Args:
            given: the parts of the encoding, (1, ...) each; then ``point_coords`` (1, K, 2) x, y in input pixels,
                ``point_labels`` (1, K), ``mask_input`` (1, 1, 4E, 4E), ``has_mask_input`` (1,) 0 or 1, ``orig_im_size``
                (2,) height and width; all float32.

        Returns:
            ``masks`` (1, M, height, width), ``iou_predictions`` (1, M), ``low_res_masks`` (1, M, 4E, 4E): logits.
        """
        parts = dict(zip(self.names, given, strict=False))
        coords, labels, mask_input, has_mask, size = given[len(self.names) :]
        sparse = self._embed_points(coords, labels)
        dense = self._embed_mask(mask_input, has_mask)
        encoded = self._condition(self._rebuild(parts), coords, labels, dense)
        low_res, iou = self._decode(encoded, sparse, dense)
        return self._enlarge(low_res, size), iou, low_res

    def _rebuild(self, parts: Mapping[str, Tensor]) -> Encoded:
        fields = self.kind.__dataclass_fields__
        own = {name: value for name, value in parts.items() if name in fields}
        others = {name.replace("_", " "): value for name, value in parts.items() if name not in (*fields, EMBEDDING)}
        return self.kind(parts[EMBEDDING], others, **own)

    def _embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        encoder: Any = self.network.prompt_encoder
        places = (coords + 0.5) / self.network.side
        embedding = encoder.pe_layer._pe_encoding(places)
        kind = labels[..., None]
        embedding = embedding * (kind != NO_POINT) + encoder.not_a_point_embed.weight * (kind == NO_POINT)
        for label, known in enumerate(encoder.point_embeddings):
            embedding = embedding + known.weight * (kind == label)
        result: Tensor = embedding
        return result

    def _embed_mask(self, mask_input: Tensor, has_mask: Tensor) -> Tensor:
        encoder: Any = self.network.prompt_encoder
        none = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense: Tensor = has_mask * encoder.mask_downscaling(mask_input) + (1 - has_mask) * none
        return dense

    def _condition(self, encoded: Encoded, coords: Tensor, labels: Tensor, dense: Tensor) -> Encoded:
        """Return the encoding that the decoder sees: what ``condition_on_prompts`` says, without its branches."""
        network = self.network
        if not isinstance(network, EnhancedNetwork) or not isinstance(encoded, EnhancedEncoded):
            return encoded
        guidance = None
        if network.guidance is not None:
            guidance = self._guide(network, coords, labels, dense)
        return Encoded(network.enhancer(encoded.embedding, encoded.intermediate, guidance), {})

    def _guide(self, network: EnhancedNetwork, coords: Tensor, labels: Tensor, dense: Tensor) -> Tensor:
        maker: Any = network.guidance
        config, grid = maker.config, dense.shape[-1]
        spatial = torch.zeros_like(dense)
        if maker.points is not None:
            near = draw_near_maps(coords, network.side, grid, config)
            signs = [(labels == sign)[..., None, None].to(near.dtype) for sign in (FOREGROUND, BACKGROUND)]
            clicks = (near * signs[0]).amax(1, keepdim=True) - (near * signs[1]).amax(1, keepdim=True)
            given = (signs[0] + signs[1]).amax(1, keepdim=True)
            spatial = spatial + given * maker.points(clicks)
        if maker.boxes is not None:
            corners = [(labels == corner)[..., None].to(coords.dtype) for corner in (FIRST_CORNER, LAST_CORNER)]
            box = torch.cat([(coords * corner).sum(1) for corner in corners], 1)
            given = corners[0].amax(1)[..., None, None]
            spatial = spatial + given * maker.boxes(draw_box_map(box, network.side, grid, config))
        return maker.fuse_maps(spatial, dense)  # type: ignore[no-any-return]

    def _decode(self, encoded: Encoded, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        if not holds_all_masks(self.network):
            return self.network.decode(encoded, sparse, dense, self.multimask)
        low_res, iou = self.network.mask_decoder.predict_masks(
            image_embeddings=encoded.embedding,
            image_pe=self.network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
        return low_res, iou

    def _enlarge(self, low_res: Tensor, size: Tensor) -> Tensor:
        """Return logits on the canvas by the adapter's own rule, height and width being part of the graph."""
        side = self.network.side
        height, width = size.to(torch.int64)[0], size.to(torch.int64)[1]
        content: Any = (side, side)
        if not self.stretched:
            scaled = torch.floor(size * (side / torch.max(size)) + 0.5).to(torch.int64)
            content = (scaled[0], scaled[1])
        canvas: Any = (height, width)
        frame = InputFrame(canvas, content, (1.0, 1.0))
        maps = low_res.reshape(-1, 1, *low_res.shape[2:])
        return self.finish(maps, frame)[None]


def holds_all_masks(network: Any) -> bool:
    """Say whether the decoder's graph gives SAM's single mask and its three others, or one mask of the mode alone."""
    if isinstance(network, SamHqNetwork):
        return False
    return not isinstance(network, RobustNetwork) or bool(network.clear)
