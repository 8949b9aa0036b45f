"""Do two environments degrade alike, and do 8 bits and HU? Run the first two once in each environment, then compare.

    one/bin/python benchmarks/simulators_agreement.py write one.npz
    two/bin/python benchmarks/simulators_agreement.py write two.npz
    two/bin/python benchmarks/simulators_agreement.py compare one.npz two.npz
    python benchmarks/simulators_agreement.py air RAW          # RAW: the folder with the download of CHAOS

Integer and noise operations must agree bit for bit, all others within one 8-bit grey. Measured so between the oldest
supported libraries (numpy 1.26, scipy 1.11, OpenCV 4.9, numba 0.59) and the newest.

``air`` counts the air of real CT slices that each CT operation lights up, on the slice in HU and on its 8-bit copy
through the window. The air is every pixel that the window shows black. More than 1 % of it lit
by an artefact would be a mark by which a network tells degraded slices. Impulses and noise light it as the 8-bit path
does, and are printed for comparison.
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


def light_air(raw: str, levels: tuple[int, ...] = (1, 3), most: float = 0.01) -> int:
    """Print, per CT operation and severity, the largest share of lit air over all CHAOS CT slices below a folder."""
    from pathlib import Path

    from dmseg import imaging
    from dmseg.datasets import reader, recipe
    from dmseg.simulators import corrupt, modality_operations
    from dmseg.types import Window

    source_reader = reader("CHAOS")
    root = source_reader.find(Path(raw))
    window = recipe("CHAOS").windows.get("ct", Window(40, 400))
    files = [] if root is None else sorted(path for path in root.rglob("*.dcm") if "CT" in path.parts)
    slices = [imaging.open_stored(path).values.astype(np.int16) for path in files]
    if not slices:
        sys.exit(f"{raw}: no CT slices of CHAOS there")
    print(f"{len(slices)} slices, window {window.center:g}/{window.width:g}; largest share of the air that is lit")
    failed = False
    compared = ("gaussian_noise", "salt_pepper")
    for name in (*modality_operations("ct"), *compared):
        for severity in levels:
            shares = []
            for number, hu in enumerate(slices):
                eight = imaging.apply_window(hu, window)
                air = eight == 0
                options = {"severity": severity, "modality": "ct", "key": f"{number}", "window": window}
                seen = imaging.apply_window(corrupt(hu, name, **options), window)
                shares.append((float((corrupt(eight, name, **options)[air] > 0).mean()), float((seen[air] > 0).mean())))
            worst = np.max(shares, axis=0)
            wrong = name not in compared and worst.max() > most
            failed |= wrong
            print(
                f"{name:<20} severity {severity}: 8 bits {worst[0]:.3%}, HU {worst[1]:.3%}{'   WRONG' if wrong else ''}"
            )
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"] and len(sys.argv) == 3:
        np.savez_compressed(sys.argv[2], **outputs())
    elif sys.argv[1:2] == ["compare"] and len(sys.argv) == 4:
        sys.exit(compare(sys.argv[2], sys.argv[3]))
    elif sys.argv[1:2] == ["air"] and len(sys.argv) == 3:
        sys.exit(light_air(sys.argv[2]))
    else:
        sys.exit(__doc__)
