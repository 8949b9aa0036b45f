"""Do two environments degrade alike? Run once in each, then compare.

    one/bin/python benchmarks/simulators_agreement.py write one.npz
    two/bin/python benchmarks/simulators_agreement.py write two.npz
    two/bin/python benchmarks/simulators_agreement.py compare one.npz two.npz

Integer and noise operations must agree bit for bit, all others within one 8-bit grey. Measured so between the oldest
supported libraries (numpy 1.26, scipy 1.11, OpenCV 4.9, numba 0.59) and the newest.
"""

from __future__ import annotations

import sys

import numpy as np

EXACT = (
    "gaussian_noise",
    "salt_pepper",
    "motion_blur",
    "brightness_contrast",
    "gamma",
    "jpeg",
    "rician_noise",
    "dead_pixels",
)


def picture(colour: bool) -> np.ndarray:
    """A disc on a ramp with a fine pattern, from integers alone."""
    y, x = np.mgrid[:300, :400]
    grey = 40 + x // 4 + (y * 37 + x * 61) % 23 + 60 * ((y - 150) ** 2 + (x - 190) ** 2 < 80**2)
    grey[(y - 150) ** 2 + (x - 200) ** 2 > 190**2] = 0
    image = grey.astype(np.uint8)
    return np.stack([image, image // 2, image // 3 + 20], axis=2).astype(np.uint8) if colour else image


def outputs() -> dict[str, np.ndarray]:
    from dmseg.simulators import OPS, apply, plan
    from dmseg.simulators.operations import home_modality
    from dmseg.types import LEVELS, MODALITIES

    made = {}
    for colour in (False, True):
        image = picture(colour)
        for name in OPS:
            for key in ("a", "b", "c"):
                label = f"{name} {key} {'colour' if colour else 'grey'}"
                made[label] = apply(name, image, key=key, modality=home_modality(name))
        for modality in MODALITIES:
            levels = plan("agreement", modality=modality, image=image).apply_levels(image, LEVELS[1:])
            for level, degraded in levels.items():
                made[f"chain {modality} {level} {'colour' if colour else 'grey'}"] = degraded
    return made


def compare(first: str, second: str) -> int:
    one, two = np.load(first), np.load(second)
    assert set(one) == set(two)
    worst: dict[str, tuple[int, float]] = {}
    for label in one:
        name = label.split()[0]
        difference = np.abs(one[label].astype(int) - two[label])
        largest, share = worst.get(name, (0, 0.0))
        worst[name] = max(largest, int(difference.max())), max(share, float(np.mean(difference > 0)))
    failed = False
    for name, (largest, share) in worst.items():
        allowed = 0 if name in EXACT else 1
        wrong = largest > allowed and name != "chain"
        failed |= wrong
        print(f"{name:<22} largest difference {largest}, pixels that differ {share:.2e}{'   WRONG' if wrong else ''}")
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"] and len(sys.argv) == 3:
        np.savez_compressed(sys.argv[2], **outputs())
    elif sys.argv[1:2] == ["compare"] and len(sys.argv) == 4:
        sys.exit(compare(sys.argv[2], sys.argv[3]))
    else:
        sys.exit(__doc__)
