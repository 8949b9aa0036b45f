"""The embedded edition: phantoms and the benchmark built of them, in the user's cache, made on first use."""

from __future__ import annotations

import sys
from pathlib import Path

from dmseg import datasets, phantoms
from dmseg.canonical import digest
from dmseg.files import cache_folder
from dmseg.tables import packaged_table

IMAGES_PER_DATASET: int = packaged_table("dmseg.build", "build.toml")["phantom"]["images_per_dataset"]


def phantom_raw(per_dataset: int = IMAGES_PER_DATASET, jobs: int = 1) -> Path:
    """Return the raw data of the phantom edition in the user's cache, written there on first use.

    Args:
        per_dataset: images of each dataset; the edition has 24.
        jobs: worker processes; the files do not depend on it.
    """
    names = tuple(name for name in datasets.RECIPES if name in phantoms.DATASETS)
    made_of = digest([phantoms.GENERATOR_VERSION, names])[:8]
    folder = cache_folder() / "phantoms" / f"{made_of}-{per_dataset}"
    index = phantoms.read_index(folder)
    missing = [name for name in names if not any(file.startswith(f"{name}/") for file in index)]
    if missing:
        print(f"writing the phantom raw data to {folder} (once)", file=sys.stderr)
        phantoms.write_phantoms(folder, per_dataset=per_dataset, datasets=missing, jobs=jobs)
    return folder
