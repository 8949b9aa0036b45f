"""Original layouts of the ultrasound sets: abdominalUS, BUSI, DDTI, NerveUS, MuscleUS, MMOTU."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from dmseg.phantoms import breast, muscle, nerve, thyroid, upper_abdomen
from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.encoding import grey_mask, jpeg, png, tiff
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.rng import Stream
from dmseg.types import Image, Mask

PALETTE = {
    "liver": (100, 0, 100), "kidney": (255, 255, 0), "pancreas": (0, 0, 255), "vessels": (255, 0, 0),
    "adrenals": (0, 255, 255), "gallbladder": (0, 255, 0), "bones": (255, 255, 255), "spleen": (255, 0, 255),
}  # fmt: skip
OFF_BLACK = (10, 0, 10)  # background of one original annotation
SHIFTED_KIDNEY = (253, 253, 0)  # yellow of another
# One colour per class of tumour; the original's colours are not known.
CLASS_COLOURS = [(64, 0, 0), (0, 64, 0), (64, 64, 0), (0, 0, 64), (64, 0, 64), (0, 64, 64), (128, 0, 0), (0, 128, 0)]


def _rgb(grey: Image) -> Image:
    return np.repeat(grey[..., None], 3, axis=2)


def busi(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``Dataset_BUSI_with_GT/<class>/<class> (N).png``, masks ``_mask.png``, ``_mask_1.png``; one black normal."""
    for item in items:
        kind = item.content.facts["kind"]
        stem = f"Dataset_BUSI_with_GT/{kind}/{kind} ({item.number + 1})"
        folder.put(f"{stem}.png", png(_rgb(item.content.image)), item.key)
        for index, structure in enumerate(item.content.structures):
            suffix = f"_{index}" if index else ""
            folder.put(f"{stem}_mask{suffix}.png", png(grey_mask(structure.mask)), f"{item.key}/lesion{index}")
    key = f"{folder.name}/{folder.seed}/normal"
    normal = breast.breast(Stream(key), (290, 360), "normal").image
    folder.put("Dataset_BUSI_with_GT/normal/normal (1).png", png(_rgb(normal)), key)
    folder.put("Dataset_BUSI_with_GT/normal/normal (1)_mask.png", png(np.zeros_like(normal)), key)


def abdominal(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``abdominal_US/{AUS,RUS}/{images,annotations}/{train,test}``: soft-edged colours; files without partner."""
    root = "abdominal_US"
    for item in items:
        stem = f"{'abcdefgh'[item.number % 8]}{item.number + 1}"
        background = OFF_BLACK if item.number % 5 == 1 else (0, 0, 0)
        kidney = SHIFTED_KIDNEY if item.number % 5 == 2 else PALETTE["kidney"]
        folder.put(f"{root}/RUS/images/test/{stem}.jpg", jpeg(item.content.image), item.key)
        annotation = paint_organs(item.content, background, kidney)
        folder.put(f"{root}/RUS/annotations/test/{stem}.png", png(annotation), item.key)
    key = f"{folder.name}/{folder.seed}/extra"
    extra = upper_abdomen.upper_abdomen(Stream(key), (288, 384), "right")
    folder.put(f"{root}/RUS/images/train/t1.jpg", jpeg(extra.image), key)
    folder.put(f"{root}/AUS/images/train/us1.png", png(_rgb(extra.image)), key)
    folder.put(f"{root}/RUS/annotations/test/h100.png", png(paint_organs(extra, (0, 0, 0), PALETTE["kidney"])), key)


def paint_organs(drawing: Drawing, background: Sequence[int], kidney: Sequence[int]) -> NDArray[np.uint8]:
    """Return the organs in the palette's colours as RGBA, edges mixed with their neighbours (3 x 3 means, integers)."""
    canvas = np.empty((*drawing.image.shape, 3), np.int64)
    canvas[:] = background
    for structure in drawing.structures:
        canvas[structure.mask] = kidney if structure.name == "kidney" else PALETTE[structure.name]
    height, width = drawing.image.shape
    padded = np.pad(canvas, ((1, 1), (1, 1), (0, 0)), mode="edge")
    total = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
    rgba = np.full((height, width, 4), 255, np.uint8)
    rgba[..., :3] = (total + 9 * canvas) // 18  # the pixel itself weighs more than half, so its colour stays nearest
    return rgba


def ddti(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``<case>.xml`` and ``<case>_<k>.jpg``; one more case with broken JSON, one whose mark has no polygon."""
    marks: dict[int, list[tuple[int, str]]] = {}
    for item in items:
        case = item.case + 1
        folder.put(f"{case}_{item.view + 1}.jpg", jpeg(_rgb(item.content.image)), item.key)
        shapes = [
            {"points": [{"x": x, "y": y} for x, y in polygon], "annotation": {}, "regionType": "freehand"}
            for polygon in item.content.facts["polygons"]
        ]
        marks.setdefault(case, []).append((item.view + 1, json.dumps(shapes)))
    for case, entries in marks.items():
        folder.put(f"{case}.xml", _ddti_xml(case, entries), f"{folder.name}/{folder.seed}/case{case - 1}")
    for case, text in ((901, '[{"points": [{"x": 10, "y": 1'), (902, "[]")):
        key = f"{folder.name}/{folder.seed}/extra{case}"
        image = thyroid.thyroid(Stream(key, "anatomy"), Stream(key, "view"), (258, 384)).image
        folder.put(f"{case}_1.jpg", jpeg(_rgb(image)), key)
        folder.put(f"{case}.xml", _ddti_xml(case, [(1, text)]), key)


def _ddti_xml(case: int, entries: list[tuple[int, str]]) -> bytes:
    marks = "".join(f"<mark><image>{number}</image><svg>{text}</svg></mark>" for number, text in entries)
    facts = "<age></age><sex></sex><composition></composition><echogenicity></echogenicity><margins></margins>"
    rest = "<calcifications></calcifications><tirads></tirads><reportbacaf/><reporteco/>"
    return f"<case><number>{case}</number>{facts}{rest}{marks}</case>".encode()


def nerve_us(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``train/<subject>_<image>[_mask].tif`` and ``train_masks.csv``; one frame per subject without nerve."""
    rows = ["subject,img,pixels"]
    for item in items:
        subject = item.case + 1
        mask = item.content.structures[0].mask
        _nerve_frame(folder, f"train/{subject}_{item.view + 1}", item.content.image, mask, item.key)
        rows.append(f"{subject},{item.view + 1},{column_runs(mask)}")
        if item.view == 0:
            key = f"{item.key}/empty"
            empty = nerve.plexus(Stream(key, "anatomy"), Stream(key), item.content.image.shape, present=False).image
            _nerve_frame(folder, f"train/{subject}_3", empty, np.zeros(empty.shape, np.bool_), key)
            rows.append(f"{subject},3,")
    key = f"{folder.name}/{folder.seed}/test"
    folder.put("test/1.tif", tiff(nerve.plexus(Stream(key, "anatomy"), Stream(key), (278, 384)).image), key)
    folder.note("train_masks.csv", "\n".join(rows) + "\n")


def _nerve_frame(folder: PhantomFolder, stem: str, image: Image, mask: Mask, key: str) -> None:
    folder.put(f"{stem}.tif", tiff(image), key)
    folder.put(f"{stem}_mask.tif", tiff(grey_mask(mask)), key)


def column_runs(mask: Mask) -> str:
    """Return "start length start length ...", pixels counted from 1 down the columns."""
    flat = np.concatenate([[0], mask.T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


def muscle_us(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``Polito-Radboud-DeepLearningUS/{BB,GM,TA}/{Images,Masks}/<image>.png``; one mask missing, one empty."""
    root = "Polito-Radboud-DeepLearningUS"
    for item in items:
        place = f"{root}/{item.content.facts['muscle']}"
        name = f"img_{item.number + 1:05d}.png"
        folder.put(f"{place}/Images/{name}", png(item.content.image), item.key)
        folder.put(f"{place}/Masks/{name}", png(grey_mask(item.content.structures[0].mask)), item.key)
    key = f"{folder.name}/{folder.seed}/extra"
    image = muscle.muscle(Stream(key, "anatomy"), Stream(key), (320, 384), "GM").image
    for name in ("img_90001.png", "img_90002.png"):
        folder.put(f"{root}/GM/Images/{name}", png(image), key)
    folder.put(f"{root}/GM/Masks/img_90002.png", png(np.zeros_like(image)), key)


def mmotu(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``OTU_2d/images/N.JPG``, ``annotations/N.PNG`` (colour), ``N_binary.PNG`` and ``N_binary_binary.PNG`` (0/1)."""
    names: list[tuple[int, int]] = []
    for item in items:
        number, kind = item.number + 1, item.content.facts["class"]
        mask = item.content.structures[0].mask
        folder.put(f"OTU_2d/images/{number}.JPG", jpeg(_rgb(item.content.image)), item.key)
        colour = mask[..., None] * np.array(CLASS_COLOURS[kind], np.uint8)
        folder.put(f"OTU_2d/annotations/{number}.PNG", png(colour.astype(np.uint8)), item.key)
        for suffix in ("_binary", "_binary_binary"):
            folder.put(f"OTU_2d/annotations/{number}{suffix}.PNG", png(grey_mask(mask, 1)), item.key)
        names.append((number, kind))
    for part, stays in (("train", False), ("val", True)):
        chosen = [(number, kind) for number, kind in names if (number % 5 == 0) == stays]
        folder.note(f"OTU_2d/{part}.txt", "".join(f"{number}\n" for number, _ in chosen))
        folder.note(f"OTU_2d/{part}_cls.txt", "".join(f"{number}.JPG  {kind}\n" for number, kind in chosen))
