"""Metrics per pair of masks: dmseg against surface-distance, MONAI and MedPy.

    benchmarks/.venv/bin/python benchmarks/bench_metrics.py

Each library gives what it has of IoU, Dice, NSD and HD95, with its own calls, in its own convention. dmseg gives IoU,
Dice, pixel accuracy, NSD at four tolerances, HD95 and HD; its HD95 and NSD are compared with those of surface-distance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from side_by_side import Mask, compare, peer, star

from dmseg.metrics import score
from dmseg.metrics.reference import boundary_scores

TOLERANCES = (1.0, 2.0, 3.0, 5.0)


def pairs(size: int) -> list[tuple[Mask, Mask]]:
    """Blobs of 2 to 10 % of the image against themselves moved and grown: Dice about 0.87."""
    found = []
    for index in range(8):
        area = 0.02 + 0.08 * index / 7
        reference = star(size, area=area, phase=index)
        moved = int(0.11 * np.sqrt(area) * size)
        found.append((reference, np.roll(star(size, area=1.1 * area, phase=index + 0.2), moved, axis=index % 2)))
    return found


def clear_path(reference: Mask, prediction: Mask) -> Any:
    return boundary_scores(
        reference.view(np.uint8), prediction.view(np.uint8), (1, 1), TOLERANCES, "vertex", "directed"
    )


def with_surface_distance(library: Any) -> Callable[[Mask, Mask], Any]:
    def run(reference: Mask, prediction: Mask) -> tuple[float, list[float], float]:
        distances = library.compute_surface_distances(reference, prediction, (1, 1))
        nsd = [library.compute_surface_dice_at_tolerance(distances, t) for t in TOLERANCES]
        return (
            library.compute_robust_hausdorff(distances, 95),
            nsd,
            library.compute_dice_coefficient(reference, prediction),
        )

    return run


def with_monai(metrics: Any, torch: Any, *, subvoxels: bool) -> Callable[[Mask, Mask], Any]:
    torch.set_num_threads(1)

    def run(reference: Mask, prediction: Mask) -> Any:
        y, y_pred = (torch.from_numpy(mask)[None, None] for mask in (reference, prediction))
        return (
            metrics.compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95),
            metrics.compute_surface_dice(y_pred, y, [2.0], include_background=True, use_subvoxels=subvoxels),
            metrics.compute_dice(y_pred, y),
            metrics.compute_iou(y_pred, y),
        )

    return run


def with_medpy(binary: Any) -> Callable[[Mask, Mask], Any]:
    def run(reference: Mask, prediction: Mask) -> Any:
        return binary.hd95(prediction, reference), binary.dc(prediction, reference), binary.jc(prediction, reference)

    return run


def main() -> None:
    functions: dict[str, Callable[[Mask, Mask], Any]] = {"dmseg": score, "dmseg, clear path (distances)": clear_path}
    surface, torch, binary = peer("surface_distance"), peer("torch"), peer("medpy.metric.binary")
    monai = peer("monai.metrics") if torch else None
    if surface:
        functions["surface-distance"] = with_surface_distance(surface)
    if monai:
        functions["MONAI"] = with_monai(monai, torch, subvoxels=False)
        functions["MONAI, subvoxels"] = with_monai(monai, torch, subvoxels=True)
    if binary:
        functions["MedPy (no NSD)"] = with_medpy(binary)
    for size in (256, 512, 1024):
        inputs = pairs(size)
        dice = np.mean([score(*pair).dice for pair in inputs])
        compare(f"{size} x {size}, mean Dice {dice:.2f}", functions, inputs)
    if surface:
        worst = 0.0
        for reference, prediction in pairs(512):
            ours, theirs = score(reference, prediction), functions["surface-distance"](reference, prediction)
            gaps = [ours.hd95 - theirs[0], *(a - b for a, b in zip(ours.nsd.values(), theirs[1], strict=True))]
            worst = max(worst, *map(abs, gaps))
        print(f"\nlargest difference from surface-distance in HD95 and NSD: {worst:.1e}")


if __name__ == "__main__":
    main()
