"""Original layouts of the sets of single images: Kvasir-SEG, CVC-ClinicDB, ISIC, BBBC038, ToothSeg."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import numpy as np

from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.encoding import grey_mask, jpeg, png, tiff
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.types import Mask


def union(drawing: Drawing) -> Mask:
    """Return all objects of a drawing as one mask."""
    together: Mask = np.any([structure.mask for structure in drawing.structures], axis=0)
    return together


def _kvasir_id(key: str) -> str:
    """Return a name in the style of the original's collision-resistant ids, 25 characters."""
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "big")
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "cju" + "".join(letters[number // 36**k % 36] for k in range(22))


def kvasir(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``Kvasir-SEG/{images,masks}/<id>.jpg`` (masks are JPEG, so not clean 0/255) and ``kavsir_bboxes.json`` (sic)."""
    boxes = {}
    for item in items:
        name, mask = _kvasir_id(item.key), union(item.content)
        folder.put(f"Kvasir-SEG/images/{name}.jpg", jpeg(item.content.image), item.key)
        folder.put(f"Kvasir-SEG/masks/{name}.jpg", jpeg(np.repeat(grey_mask(mask)[..., None], 3, axis=2), 90), item.key)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = {"label": "polyp", "xmin": columns[0], "ymin": rows[0], "xmax": columns[-1], "ymax": rows[-1]}
        boxes[name] = {
            "height": mask.shape[0],
            "width": mask.shape[1],
            "bbox": [{key: value if isinstance(value, str) else int(value) for key, value in box.items()}],
        }
    folder.note("Kvasir-SEG/kavsir_bboxes.json", json.dumps(boxes, indent=1))


def bbbc038(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``stage1_train/<sha256>/images/<sha256>.png`` (RGBA) and ``masks/<sha256>.png``, one file per nucleus."""
    for item in items:
        name = hashlib.sha256(item.key.encode()).hexdigest()
        image = item.content.image
        opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
        folder.put(f"stage1_train/{name}/images/{name}.png", png(np.concatenate([image, opaque], axis=2)), item.key)
        for index, structure in enumerate(item.content.structures):
            key = f"{item.key}/nucleus{index}"
            mask_name = hashlib.sha256(key.encode()).hexdigest()
            folder.put(f"stage1_train/{name}/masks/{mask_name}.png", png(grey_mask(structure.mask)), key)


def cvc(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``CVC-ClinicDB/Original/N.tif`` and ``CVC-ClinicDB/Ground Truth/N.tif`` (the folder's name has a space)."""
    for item in items:
        name = f"{item.number + 1}.tif"
        folder.put(f"CVC-ClinicDB/Original/{name}", tiff(item.content.image), item.key)
        folder.put(f"CVC-ClinicDB/Ground Truth/{name}", tiff(grey_mask(union(item.content))), item.key)


def isic(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``ISIC2018_Task1-2_<part>_Input/<id>.jpg``, ``ISIC2018_Task1_<part>_GroundTruth/<id>_segmentation.png``."""
    for item in items:
        part = "Validation" if item.number % 6 == 4 else "Test" if item.number % 6 == 5 else "Training"
        name = f"ISIC_{item.number + 1:07d}"
        mask = grey_mask(union(item.content))
        folder.put(f"ISIC2018_Task1-2_{part}_Input/{name}.jpg", jpeg(item.content.image), item.key)
        folder.put(f"ISIC2018_Task1_{part}_GroundTruth/{name}_segmentation.png", png(mask), item.key)
    for text in ("ATTRIBUTION.txt", "LICENSE.txt"):
        folder.note(f"ISIC2018_Task1-2_Training_Input/{text}", "Synthetic images, free to use.\n")


def tooth(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``images/cateN-NNNNN.jpg`` and ``masks/cateN-NNNNN.jpg``; the original's folder names are not known."""
    for item in items:
        name = f"cate{item.number % 10 + 1}-{item.number + 1:05d}.jpg"
        folder.put(f"UFBA-UESC/images/{name}", jpeg(item.content.image), item.key)
        folder.put(f"UFBA-UESC/masks/{name}", jpeg(grey_mask(union(item.content))), item.key)
