"""The pixels of a published benchmark: rows of Parquet files below ``data/``."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as Pillow

from dmseg.errors import DataError
from dmseg.imaging.formats import MAX_PIXELS, catch_decoder_errors
from dmseg.reading import require_regular
from dmseg.types import Image

STORAGE = "published"
"""``storage`` of benchmark.json where the pixels are in Parquet files."""
DATA_FOLDER = "data"
ROW_GROUP = 16
"""Rows that are read together for one image."""


def list_rows(folder: Path) -> dict[tuple[str, str], tuple[Path, int]]:
    """Return (image_id, level) -> file and row of every image in a published benchmark.

    Raises:
        DataError: a file that is damaged or lacks a column.
    """
    found = {}
    for path in sorted((folder / DATA_FOLDER).glob("*.parquet")):
        require_regular(path)
        try:
            table = pq.read_table(path, columns=["image_id", "level"])
            keys = zip(table["image_id"].to_pylist(), table["level"].to_pylist(), strict=True)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise DataError(f"{path}: not a table of a published benchmark: {str(error)[:200]}") from None
        found.update({key: (path, row) for row, key in enumerate(keys)})
    return found


def read_row(path: Path, row: int) -> Image:
    """Return the pixels of one row: uint8 (H, W) or (H, W, 3) RGB.

    Raises:
        DataError: the file or the row is damaged.
        ImageFileError: its image is.
    """
    require_regular(path)
    try:
        with pq.ParquetFile(path) as file:
            group, start = 0, 0
            while row >= start + file.metadata.row_group(group).num_rows:
                start += file.metadata.row_group(group).num_rows
                group += 1
            content = file.read_row_group(group, columns=["image.bytes"])["image"][row - start].as_py()["bytes"]
    except (OSError, pa.ArrowException, KeyError, IndexError, RuntimeError, TypeError) as error:
        raise DataError(f"{path}, row {row}: not readable: {str(error)[:200]}") from None
    with (
        catch_decoder_errors(Path(f"{path}, row {row}"), "PNG"),
        Pillow.open(io.BytesIO(content), formats=["PNG"]) as file,
    ):
        if file.width * file.height > MAX_PIXELS:
            raise DataError(f"{path}, row {row}: an image of {file.width} x {file.height} pixels")
        pixels: Image = np.asarray(file if file.mode in ("L", "RGB") else file.convert("RGB"))
    return pixels
