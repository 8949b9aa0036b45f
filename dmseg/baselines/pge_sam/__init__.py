"""PGE-SAM: prompt-guided enhancement of the features of a frozen SAM encoder (arXiv 2606.30477).

No public code exists. What the paper's text and printed figures fix is followed; every open choice is a field of
:class:`EnhancerConfig` with its reason, and ``docs/pge_sam.md`` says which figures it reproduces.
"""

from dmseg.baselines.pge_sam.config import EnhancerConfig, enhancer_config
from dmseg.baselines.pge_sam.enhancer import FeatureEnhancer
from dmseg.baselines.pge_sam.guidance import PromptGuidance, prompt_maps
from dmseg.baselines.pge_sam.network import EnhancedNetwork, build

__all__ = [
    "EnhancedNetwork",
    "EnhancerConfig",
    "FeatureEnhancer",
    "PromptGuidance",
    "build",
    "enhancer_config",
    "prompt_maps",
]
