"""Every choice of the Feature Enhancer, one record; the table of each base network is ``enhancers.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmseg.errors import UsageError, unknown_name
from dmseg.tables import read_packaged_table, record

MAPS = ("gaussian", "binary", "none")
BLOCKS = ("eblock", "nafblock")
GATES = ("msag", "attention-gate")
_TABLES = {"medsam": "vit-b", "sam-vit-b": "vit-b", "sam-vit-l": "vit-l"}
"""Base network -> its table in ``enhancers.toml``, where that has another name."""


@dataclass(frozen=True, slots=True)
class Lateral:
    """How one intermediate encoder feature comes to the embedding's grid and width.

    Attributes:
        name: the encoder's name of it (a block or a layer).
        width: its channels.
        kernel, stride: of the convolution; a feature that is still smaller than the grid is then enlarged bilinearly.
    """

    name: str
    width: int
    kernel: int = 1
    stride: int = 1


@dataclass(frozen=True, slots=True)
class EnhancerConfig:
    """The Feature Enhancer. Sources: the paper (P), what its printed counts leave as the only or simplest reading (C),
    our choice where nothing is said (O).

    Attributes:
        width: channels of the embedding, C (P: 256).
        laterals: intermediate features of stages 1, 2, 3: third, second and first global block (P); for TinyViT the
            outputs of its layers 2, 1, 0, the last through a 3x3 convolution of stride 2 (C).
        blocks: EBlocks per stage (P: 1 Lite, 5 ViT-B, 8 ViT-L).
        block: "eblock", or "nafblock" for the ablation (P: Table 5).
        block_kernels: depth-wise kernels of an EBlock's spatial branch (C: {7, 9} or {3, 11}; 7 and 9 taken).
        gate: "msag", or "attention-gate" for the ablation (P: Table 5).
        gate_width: channels inside of a gate (C: 64).
        gate_kernels: depth-wise kernels inside of a gate (C).
        points, boxes: how clicks and boxes become maps: "gaussian" (P), "binary", or "none" (P: Table 9).
        mask: whether the previous mask guides, too (P: Table 9).
        guidance: False removes the Prompt Guidance Generator (P: Table 8).
        interaction: False removes intermediate features and gates (P: Table 5, MSFI).
        guidance_width, guidance_kernel: of the encoder of a map (C: 7x7 to 32 channels, then 1x1).
        click_sigma: standard deviation of a click's Gaussian, in cells of the embedding's grid (O: about the size of
            RITM's discs).
        click_radius: radius of a binary click, in the same cells (O).
        box_scale: standard deviation of a box's Gaussian over half its side (O: 1, so it is .61 at the edge).
        residual_start: start of the learned scales of a block's two residuals (O: .1, so blocks start near the
            identity and gradients pass; NAFNet starts at 0).
    """

    width: int
    laterals: tuple[Lateral, ...]
    blocks: int
    block: str = "eblock"
    block_kernels: tuple[int, ...] = (7, 9)
    gate: str = "msag"
    gate_width: int = 64
    gate_kernels: tuple[int, ...] = (7, 9, 13)
    points: str = "gaussian"
    boxes: str = "gaussian"
    mask: bool = True
    guidance: bool = True
    interaction: bool = True
    guidance_width: int = 32
    guidance_kernel: int = 7
    click_sigma: float = 1.5
    click_radius: float = 1.5
    box_scale: float = 1.0
    residual_start: float = 0.1

    def __post_init__(self) -> None:
        for field, allowed in (("points", MAPS), ("boxes", MAPS), ("block", BLOCKS), ("gate", GATES)):
            if getattr(self, field) not in allowed:
                raise unknown_name(f"value of {field}", getattr(self, field), allowed)
        kernels = (*self.block_kernels, *self.gate_kernels, self.guidance_kernel)
        if not self.block_kernels:
            raise UsageError("enhancer: block_kernels is empty: give at least one odd kernel")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise UsageError(
                f"kernels of an enhancer must be odd and at least 1, given: {', '.join(map(str, kernels))}"
            )
        for field in ("width", "blocks", "gate_width", "guidance_width", "click_sigma", "click_radius", "box_scale"):
            if getattr(self, field) <= 0:
                raise UsageError(f"enhancer: {field} = {getattr(self, field)}: must be above 0")


def enhancer_config(name: str, changes: Mapping[str, Any] | None = None) -> EnhancerConfig:
    """Return the enhancer of base network ``name`` as ``enhancers.toml`` has it, with ``changes`` of single fields.

    Raises:
        UsageError: no such base network, or a value that a field does not know.
        DataError: a change of a field that does not exist, or of the wrong type.
    """
    table = read_packaged_table(__package__, "enhancers.toml")
    name = _TABLES.get(name, name)
    if name not in table:
        raise unknown_name("base of an enhancer", name, table)
    return record(EnhancerConfig, {**table[name], **(changes or {})}, f"enhancer of {name}")
