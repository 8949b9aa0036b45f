"""LungRads: two pandas pickles, one row per slice; they are read as data, nothing in them is executed."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dmseg.datasets import rows, tree
from dmseg.datasets.sources import LeftOut, Reader, Scan, Source, clean_id
from dmseg.errors import ImageFileError
from dmseg.imaging import apply_window
from dmseg.types import Sample, Structure


class LungReader(Reader):
    """``lung_cancer_train.pkl`` and ``lung_cancer_test.pkl``; a source is one row."""

    def is_root(self, folder: Path) -> bool:
        return bool(self._tables(folder))

    def scan(self, root: Path) -> Scan:
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for table in self._tables(root):
            try:
                sources += self._rows(root, table)
            except ImageFileError as error:
                left_out.append(LeftOut(table.relative_to(root).as_posix(), str(error)))
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield the one slice of a row."""
        path = root / source.files[0]
        image, mask = (rows.StoredArray.from_text(text).load(path) for text in json.loads(source.detail))
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise ImageFileError(f"{path}: row {source.id} has values that are no numbers")
        modality = self.recipe.modality()
        window = self.recipe.windows[modality]
        row = source.id.rpartition("_")[2]
        yield self.sample(
            source.id,
            source.case_id,
            apply_window(image, window),
            [Structure(self.recipe.structures[0], mask != 0)],
            source=f"{source.files[0].as_posix()}#{row}",
            window=window,
        )

    def _tables(self, folder: Path) -> list[Path]:
        return [file for file in tree.files(folder, (".pkl", ".pickle")) if "lung" in file.name.lower()]

    def _rows(self, root: Path, table: Path) -> list[Source]:
        status = table.stat()
        columns = _columns(table, status.st_size, status.st_mtime_ns)
        wanted = [self.recipe.parameters["image_column"], self.recipe.parameters["mask_column"]]
        for name in wanted:
            if name not in columns or not all(isinstance(cell, rows.StoredArray) for cell in columns[name]):
                raise ImageFileError(
                    f'{table}: no column "{name}" of arrays; its columns are {", ".join(columns) or "none"}'
                )
        sources = []
        for row, cells in enumerate(zip(*(columns[name] for name in wanted), strict=True)):
            identity = f"{clean_id(table.stem)}_r{row:04d}"
            detail = json.dumps([cell.to_text() for cell in cells])
            sources.append(Source(identity, identity, (table.relative_to(root),), detail))
        return sources


@functools.lru_cache(maxsize=4)
def _columns(table: Path, size: int, changed_ns: int) -> dict[str, list[object]]:
    """Read a table's index once per state of the file."""
    return rows.read_columns(table)
