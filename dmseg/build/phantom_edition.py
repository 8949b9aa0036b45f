"""The embedded edition: phantoms and the benchmark built of them, in the user's cache, made on first use."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dmseg import phantoms
from dmseg.build.raw import list_names
from dmseg.canonical import digest
from dmseg.datasets.synthetic import read_index
from dmseg.errors import DataError
from dmseg.files import cache_folder, lock
from dmseg.tables import read_packaged_table
from dmseg.types import MEDICAL

IMAGES_PER_DATASET: int = read_packaged_table("dmseg.build", "build.toml")["phantom"]["images_per_dataset"]


def phantom_raw(per_dataset: int = IMAGES_PER_DATASET, jobs: int = 1, track: str = MEDICAL) -> Path:
    """Return the raw data of the phantom edition in the user's cache, written there on first use.

    Several processes may ask at once: one writes, the others wait for it.

    Args:
        per_dataset: images of each dataset; the edition has 24.
        jobs: worker processes; the files do not depend on it.
        track: whose datasets.

    Raises:
        DataError: the cache cannot be written or locked.
    """
    names = tuple(name for name in list_names(track) if name in phantoms.ALL_DATASETS)
    made_of = digest([phantoms.GENERATOR_VERSION, names])[:8]
    folder = cache_folder() / "phantoms" / f"{made_of}-{per_dataset}"
    if _find_missing(folder, names):
        with hold_folder(folder):
            missing = _find_missing(folder, names)
            if missing:
                print(f"writing the phantom raw data to {folder} (once)", file=sys.stderr)
            for name in missing:  # a process that was killed may have left a set that the index does not know
                shutil.rmtree(folder / name, ignore_errors=True)
            if missing:
                phantoms.write_phantoms(folder, per_dataset=per_dataset, datasets=missing, jobs=jobs)
    return folder


def _find_missing(folder: Path, names: Sequence[str]) -> list[str]:
    index = read_index(folder)
    known = {file.partition("/")[0] for file in index}
    return [name for name in names if name not in known or not (folder / name).is_dir()]


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Hold a folder of the cache while it is filled, so that other processes wait.

    Raises:
        DataError: it cannot be written, or its file system has no locks.
    """
    try:
        with lock(folder.with_name(f"{folder.name}.lock")):
            yield
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written or locked: {error.strerror}; "
            "set DMSEG_CACHE to a folder on a local disk with some room"
        ) from None
