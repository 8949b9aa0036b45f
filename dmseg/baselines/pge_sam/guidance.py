"""The Prompt Guidance Generator: where the user points, as a map of features (paper, section 3.1, equation 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dmseg.baselines.networks.convolution import PointwiseConv
from dmseg.baselines.pge_sam.config import EnhancerConfig


def prompt_maps(
    points: Tensor | None, labels: Tensor | None, box: Tensor | None, side: int, grid: int, config: EnhancerConfig
) -> tuple[Tensor | None, Tensor | None]:
    """Draw clicks and box on the embedding's grid.

    Positive and negative clicks share one signed map: near a positive click it is close to 1, near a negative one to
    -1. Of several clicks of a sign the nearest counts, so that repeated clicks do not add up beyond 1.

    Args:
        points, labels: (N, K, 2) x, y in input pixels and (N, K) 1 foreground, 0 background, or None.
        box: (N, 4) x0, y0, x1, y1 in input pixels, or None.
        side, grid: input side S and grid side E.

    Returns:
        Click map (N, 1, E, E) in [-1, 1] and box map (N, 1, E, E) in [0, 1]; None for what is not given or not used.
    """
    clicks = boxes = None
    if points is not None and labels is not None and config.points != "none":
        near, foreground = draw_near_maps(points, side, grid, config), (labels == 1)[..., None, None]
        clicks = (near * foreground).amax(1, keepdim=True) - (near * ~foreground).amax(1, keepdim=True)
    if box is not None and config.boxes != "none":
        boxes = draw_box_map(box, side, grid, config)
    return clicks, boxes


def _cells(grid: int, like: Tensor) -> Tensor:
    """Return the centres of the grid's cells, (E,), where cell i covers [i, i + 1)."""
    return torch.arange(grid, device=like.device, dtype=torch.float32) + 0.5


def draw_near_maps(points: Tensor, side: int, grid: int, config: EnhancerConfig) -> Tensor:
    """Return how near each cell is to each point, (N, K, E, E) in [0, 1], from points (N, K, 2) in input pixels."""
    centres = (points.float() + 0.5) * (grid / side)  # N, K, 2 in cells
    cells = _cells(grid, points)
    across = (cells - centres[..., :1]) ** 2  # N, K, E
    down = (cells - centres[..., 1:]) ** 2
    squared = down[..., :, None] + across[..., None, :]  # N, K, E, E
    if config.points == "gaussian":
        return torch.exp(-squared / (2 * config.click_sigma**2))
    return (squared <= config.click_radius**2).float()


def draw_box_map(box: Tensor, side: int, grid: int, config: EnhancerConfig) -> Tensor:
    """Return the box map (N, 1, E, E) in [0, 1] of boxes (N, 4) in input pixels."""
    scaled = (box.float().view(-1, 2, 2) + 0.5) * (grid / side)
    centre = scaled.mean(1)  # N, 2
    half = ((scaled[:, 1] - scaled[:, 0]) / 2).clamp_min(0.5)  # never narrower than one cell
    distance = (_cells(grid, box) - centre[..., None]) / half[..., None]  # N, 2, E in half sides
    if config.boxes == "gaussian":
        profile = torch.exp(-(distance**2) / (2 * config.box_scale**2))
    else:
        profile = (distance.abs() <= 1).float()
    return (profile[:, 1, :, None] * profile[:, 0, None, :])[:, None]


class PromptGuidance(nn.Module):
    """Click map, box map and previous mask, each encoded; maps summed, then fused with the mask (equation 1)."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.points = self._map_encoder() if config.points != "none" else None
        self.boxes = self._map_encoder() if config.boxes != "none" else None
        self.mask = PointwiseConv(width, width) if config.mask else None
        self.fuse = PointwiseConv(2 * width, width)

    def _map_encoder(self) -> nn.Sequential:
        config = self.config
        kernel = config.guidance_kernel
        return nn.Sequential(
            nn.Conv2d(1, config.guidance_width, kernel, padding=kernel // 2),
            nn.GELU(),
            PointwiseConv(config.guidance_width, config.width),
        )

    def forward(
        self, points: Tensor | None, labels: Tensor | None, box: Tensor | None, dense: Tensor, side: int
    ) -> Tensor:
        """Return the guidance feature (N, C, E, E).

        Args:
            points, labels, box: in input pixels, as :func:`prompt_maps` takes them.
            dense: (N, C, E, E) dense embedding of the previous mask, or of "no mask yet".
            side: input side S.
        """
        clicks, boxes = prompt_maps(points, labels, box, side, dense.shape[-1], self.config)
        spatial = torch.zeros_like(dense)
        if self.points is not None and clicks is not None:
            spatial = spatial + self.points(clicks.to(dense.dtype))
        if self.boxes is not None and boxes is not None:
            spatial = spatial + self.boxes(boxes.to(dense.dtype))
        return self.fuse_maps(spatial, dense)

    def fuse_maps(self, spatial: Tensor, dense: Tensor) -> Tensor:
        """Return the guidance feature (N, C, E, E) of the encoded click and box maps' sum and the previous mask."""
        result: Tensor = self.fuse(torch.cat((spatial, self._mask(dense)), 1))
        return result

    def _mask(self, dense: Tensor) -> Tensor:
        if self.mask is None:
            return torch.zeros_like(dense)
        everywhere_alike = dense.stride()[2:] == (0, 0)  # "no mask yet" is one vector, expanded: projected once
        projected: Tensor = self.mask(dense[..., :1, :1] if everywhere_alike else dense)
        return projected.expand_as(dense)
