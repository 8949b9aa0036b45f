"""SAM-HQ as its authors' predictor feeds it: SAM's frame, one mask out in each of three modes.

``fused`` (the authors' default with single masks) adds the high-quality mask's logits to SAM's single mask; ``hq``
takes the high-quality mask alone, which the authors advise for one salient object; ``multi`` adds them to the one of
SAM's three masks with the best predicted IoU, at every step. The low-resolution logits that come out are the next
step's feedback.
"""

from __future__ import annotations

from typing import Any

from dmseg.baselines.networks.sam_hq import SamHqNetwork
from dmseg.baselines.sam import SamAdapter
from dmseg.types import Prompts


class SamHqAdapter(SamAdapter):
    """SAM-HQ."""

    modes = ("fused", "hq", "multi")

    def __init__(self, name: str, network: SamHqNetwork, mode: str = "fused", **options: Any) -> None:
        super().__init__(name, network, mode=mode, **options)
        network.hq_only = mode == "hq"

    def multimask(self, prompts: Prompts) -> bool:
        return self.mode == "multi"
