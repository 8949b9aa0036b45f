"""Original layouts that pack many images into one file: PAXRay (tar, COCO) and LungRads (pandas pickles)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pycocotools import mask as coco_mask

from dmseg.phantoms.chest import lung_only, pad_like_scanner
from dmseg.phantoms.encoding import png
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.phantoms.xray import CATEGORIES
from dmseg.rng import Stream
from dmseg.types import Mask


def paxray(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``paxray_images_unfiltered.tar.gz`` (a plain tar) with ``images_patlas/<case>_<view>.png``; two COCO files.

    Run lengths are texts in the training file and lists in the test file; one image of the tar has no annotation.
    """
    packed = io.BytesIO()
    parts: dict[str, dict[str, list[Any]]] = {
        part: {"images": [], "annotations": [], "categories": _categories()} for part in ("train_val", "test")
    }
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for item in items:
            name = f"RibFrac_{item.case + 1}_{item.content.facts['view']}.png"
            content = png(item.content.image)
            _add(tar, f"images_patlas/{name}", content)
            if item.number == 0:
                _add(tar, "images_patlas/RibFrac_999_frontal.png", content)
            part = "test" if item.case % 4 == 3 else "train_val"
            _annotate(parts[part], item, name, as_text=part == "train_val")
    key = f"{folder.name}/{folder.seed}"
    folder.put("paxray_images_unfiltered.tar.gz", packed.getvalue(), key)
    for part, table in parts.items():
        if table["images"]:
            folder.put(f"paxray_{part}.json", json.dumps(table).encode(), key)


def _categories() -> list[dict[str, Any]]:
    return [{"id": index + 1, "name": name, "supercategory": "thorax"} for index, name in enumerate(CATEGORIES)]


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _annotate(part: dict[str, list[Any]], item: DrawnItem, name: str, *, as_text: bool) -> None:
    height, width = item.content.image.shape
    part["images"].append({"id": item.number + 1, "file_name": name, "height": height, "width": width})
    for structure in item.content.structures:
        rows, columns = np.flatnonzero(structure.mask.any(axis=1)), np.flatnonzero(structure.mask.any(axis=0))
        x0, x1, y0, y1 = (int(value) for value in (columns[0], columns[-1], rows[0], rows[-1]))
        counts = run_text(structure.mask) if as_text else runs(structure.mask)
        part["annotations"].append({
            "id": len(part["annotations"]) + 1,
            "image_id": item.number + 1,
            "category_id": CATEGORIES.index(structure.name) + 1,
            "segmentation": {"size": [height, width], "counts": counts},
            "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
            "area": int(structure.mask.sum()),
            "iscrowd": 0,
        })  # fmt: skip


def runs(mask: Mask) -> list[int]:
    """Return COCO's plain run lengths: down the columns, beginning with the background."""
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8)])
    edges = np.flatnonzero(np.diff(flat))
    return [int(n) for n in np.diff(np.concatenate([[0], edges, [mask.size]]))]


def run_text(mask: Mask) -> str:
    """Return COCO's compressed run lengths."""
    text: str = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    return text


def lung_rads(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``lung_cancer_{train,test}.pkl``: label1, mask (int8), hu_array (lungs only), hu_array_old (all, HU)."""
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for item in items:
        drawing = item.content
        hounsfield = pad_like_scanner(drawing.image, Stream(item.key, "padding"))
        rows["test" if item.number % 4 == 3 else "train"].append({
            "label1": drawing.facts["category"],
            "mask": drawing.structures[0].mask.astype(np.int8),
            "hu_array": lung_only(drawing.image, drawing.facts["lung"]).astype(np.float32),
            "hu_array_old": hounsfield,
        })  # fmt: skip
    for part, table in rows.items():
        if table:
            buffer = io.BytesIO()
            _object_table(table).to_pickle(buffer, protocol=4)
            folder.put(f"lung_cancer_{part}.pkl", buffer.getvalue(), f"{folder.name}/{folder.seed}/{part}")


def _object_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a table of plain Python objects, as older pandas made it; newer string columns would name pyarrow."""
    columns = {name: pd.Series([row[name] for row in rows], dtype=object) for name in rows[0]}
    table = pd.DataFrame(columns)
    table.columns = pd.Index(list(columns), dtype=object)
    return table
