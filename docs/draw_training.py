"""Draws docs/images/appearance.jpg: the phantom edition's pictures as training sees them, beside what degrades them.

.venv/bin/python docs/draw_training.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image as Pillow

from dmseg.build import open_benchmark, phantom_benchmark
from dmseg.figures import contact_sheet, panel
from dmseg.rng import Stream
from dmseg.simulators import observe, plan
from dmseg.training import load_config
from dmseg.training.augmentation import view
from dmseg.types import as_rgb

PICTURE = Path(__file__).parent / "images" / "appearance.jpg"
DATASETS = ("MMOTU", "FLARE", "BraTS", "PAXRay", "ISIC", "BBBC038")
VISITS = 3
CELL = 160


def main() -> None:
    """Draw one row per data set: clear, then each visit's picture and the same at LQ-3+."""
    benchmark = open_benchmark(phantom_benchmark())
    appearance = load_config("mini-sam").appearance
    if appearance is None:
        raise SystemExit("the preset mini-sam has no appearance to show")
    rows = []
    for name in DATASETS:
        image = benchmark.images[benchmark.images["dataset"] == name].iloc[0]
        mask_ids = benchmark.masks[benchmark.masks["image_id"] == image["image_id"]]["mask_id"]
        clear, mask = benchmark.image(image["image_id"], "clear"), benchmark.mask(mask_ids.iloc[0])
        row = [panel(clear, mask, None, None, size=CELL)]
        for visit in range(VISITS):
            seen = view(appearance, [mask], Stream("docs", visit, image["image_id"]))
            changed = seen.apply(clear)
            key = f"docs-{visit}-{image['image_id']}"
            modality = image["modality"]
            scan = observe(clear[seen.window], modality=modality).get("geometry")  # ultrasound only
            degraded = plan(key, modality=modality, image=changed, geometry=scan).apply(changed, "lq3plus")
            row += [panel(changed, seen.masks[0], None, None, size=CELL), as_rgb(degraded)]
        rows.append(row)
    columns = ["clear", *(title for visit in range(VISITS) for title in (f"visit {visit + 1}", "LQ-3+"))]
    Pillow.fromarray(contact_sheet(rows, DATASETS, columns, cell=CELL)).save(PICTURE, quality=85)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
