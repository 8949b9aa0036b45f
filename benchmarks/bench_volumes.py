"""3-D scores beside surface-distance (pip install surface-distance): agreement on anisotropic pairs, and CPU time.

Usage: python benchmarks/bench_volumes.py
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dmseg.metrics import score_volume

Spacing = tuple[float, float, float]
TOLERANCES = (1, 2, 3, 5)


def _peer(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: Spacing) -> list[float]:
    import surface_distance as peer

    found: Any = peer.compute_surface_distances(a, b, spacing)
    nsd = [peer.compute_surface_dice_at_tolerance(found, tolerance) for tolerance in TOLERANCES]
    return [*nsd, peer.compute_robust_hausdorff(found, 95), peer.compute_robust_hausdorff(found, 100)]


def _ours(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: Spacing) -> list[float]:
    found = score_volume(a, b, spacing=spacing, tolerances=TOLERANCES)
    return [*found.nsd.values(), found.hd95, found.hd]


def _blob(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    field = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(1, 4))
    return np.asarray(field > np.quantile(field, rng.uniform(0.5, 0.97)))


def _body(shape: tuple[int, ...], shift: float, size: float) -> NDArray[np.bool_]:
    index = np.ogrid[tuple(slice(0, side) for side in shape)]
    return np.asarray(sum(((i - n / 2 - shift) / (n * size)) ** 2 for i, n in zip(index, shape, strict=True)) <= 1)


def main() -> None:
    """Print the largest difference on 200 pairs, and the ratio of CPU times there and on bodies of three sizes."""
    warnings.simplefilter("ignore")
    np.inf = np.inf  # type: ignore[attr-defined]  # surface-distance 0.1 was written for NumPy 1
    rng = np.random.default_rng(1)
    pairs = []
    for k in range(200):
        shape = tuple(int(side) for side in rng.integers(8, 60, 3))
        a = _blob(rng, shape)
        b = np.roll(a, 1, axis=k % 3) ^ (rng.random(shape) < 0.002) if k % 2 else _blob(rng, shape)
        pairs.append((a, b, tuple(float(step) for step in rng.uniform(0.4, 5, 3))))
    _compare("200 anisotropic pairs", pairs)
    for shape, spacing in (
        ((60, 50, 55), (2, 1, 1)),
        ((80, 256, 256), (3, 0.8, 0.8)),
        ((160, 320, 320), (1.5, 0.7, 0.7)),
    ):
        _compare(f"body in {shape}", [(_body(shape, 0, 0.3), _body(shape, 2, 0.29), spacing)])


def _compare(title: str, pairs: list[Any]) -> None:
    seconds, results = [], []
    for function in (_ours, _peer):
        function(*pairs[0])
        start = time.process_time()
        results.append([function(*pair) for pair in pairs])
        seconds.append(time.process_time() - start)
    difference = float(np.abs(np.array(results[0]) - np.array(results[1])).max())
    print(f"{title}: largest difference {difference:.1e}, {seconds[1] / seconds[0]:.1f} times as fast")


if __name__ == "__main__":
    main()
