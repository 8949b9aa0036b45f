"""SAM with the Feature Enhancer between its frozen image encoder and its mask decoder."""

from __future__ import annotations

from torch import Tensor

from dmseg.baselines.networks.sam import Encoded, PromptedNetwork
from dmseg.baselines.pge_sam.config import EnhancerConfig
from dmseg.baselines.pge_sam.enhancer import FeatureEnhancer
from dmseg.baselines.pge_sam.guidance import PromptGuidance


class EnhancedEncoded(Encoded):
    """An encoding whose intermediate features are those of :meth:`FeatureEnhancer.prepare`."""


class EnhancedNetwork(PromptedNetwork):
    """A promptable network whose embedding is enhanced anew for every prompt.

    Args:
        base: any SAM-style network; its parts are taken over, under their names.
        config: of the enhancer.
    """

    def __init__(self, base: PromptedNetwork, config: EnhancerConfig) -> None:
        super().__init__(base.image_encoder, base.prompt_encoder, base.mask_decoder, base.side)
        self.config = config
        self.enhancer = FeatureEnhancer(config)
        self.guidance = PromptGuidance(config) if config.guidance else None

    def encode(self, pixels: Tensor) -> EnhancedEncoded:
        """Encode normalised pixels (B, 3, S, S), and what of the enhancer no prompt changes."""
        return self.add_laterals(self.encode_frozen(pixels))

    def add_laterals(self, encoded: Encoded) -> EnhancedEncoded:
        """Return the result of :meth:`encode_frozen` with what of the enhancer no prompt changes."""
        return EnhancedEncoded(
            encoded.embedding, self.enhancer.prepare(encoded.intermediate, encoded.embedding.shape[-1])
        )

    def condition_on_prompts(
        self, encoded: Encoded, points: Tensor | None, labels: Tensor | None, box: Tensor | None, dense: Tensor
    ) -> Encoded:
        """Return the embedding, enhanced for these prompts: (N, C, E, E), or (1, C, E, E) where none changes it."""
        guidance = None
        if self.guidance is not None:
            guidance = self.guidance(points, labels, box, dense, self.side)
        if not isinstance(encoded, EnhancedEncoded):
            encoded = self.add_laterals(encoded)
        return Encoded(self.enhancer(encoded.embedding, encoded.intermediate, guidance), {})

    def forward_enhanced(
        self,
        encoded: Encoded,
        points: Tensor | None,
        labels: Tensor | None,
        box: Tensor | None,
        mask_input: Tensor | None,
        multimask: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode N masks and return the enhanced embedding (N, C, E, E) as the third result.

        ``encoded`` is of :meth:`encode` or :meth:`add_laterals`, or of :meth:`encode_frozen`: then the prompt-free part
        is computed here, with gradients.
        """
        sparse, dense = self.prompt_encoder(
            points=None if points is None else (points, labels), boxes=box, masks=mask_input
        )
        seen = self.condition_on_prompts(encoded, points, labels, box, dense)
        low_res, iou = self.decode(seen, sparse, dense, multimask)
        return low_res, iou, seen.embedding.expand(sparse.shape[0], -1, -1, -1)


def build(base: PromptedNetwork, config: EnhancerConfig) -> EnhancedNetwork:
    """Return ``base`` with a new enhancer; with it untrained, predictions equal those of ``base``."""
    return EnhancedNetwork(base, config)
