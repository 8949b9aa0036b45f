"""Original layouts of the photographs: ThinObject-5K, MSRA-10K, ECSSD, LVIS, COCO, LIS, WXSOD, SeaClear."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from dmseg.imaging import encode_rle
from dmseg.phantoms import scenes
from dmseg.phantoms.drawing import Drawing
from dmseg.phantoms.encoding import grey_mask, jpeg, png
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.types import Mask

LVIS_NAMES = ("ball", "crate", "starfish_(animal)", "cord", "orange_(fruit)", "book", "star", "hose")
COCO_NAMES = ("sports ball", "book", "kite", "tie")
LIS_NAMES = ("bicycle", "car", "motorbike", "bus", "bottle", "chair", "diningtable", "tvmonitor")
SEACLEAR_NAMES = ("can_metal", "container_plastic", "animal_starfish", "rope_fiber", "rov_cable", "bag_plastic")
_SITES = (("bistrina", "bluerov"), ("jakljan", "dslr"), ("marseille", "seaclear-rov"))


def thin_object(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``ThinObject5K/{images/*.jpg,masks/*.png,list/*.txt}``; one more image is in ``val.txt``, one in no list."""
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for item in items:
        name = f"thin_{item.number + 1:05d}"
        _put_thin(folder, name, item.content, item.key)
        lists["test" if item.number % 2 == 0 else "train"].append(f"{name}.png")
        if item.number == 0:
            _put_thin(folder, "thin_for_val", item.content, item.key)
            _put_thin(folder, "thin_in_no_list", item.content, item.key)
            lists["val"].append("thin_for_val.png")
    for part, names in lists.items():
        folder.note(f"ThinObject5K/list/{part}.txt", "".join(f"{name}\n" for name in names))


def _put_thin(folder: PhantomFolder, name: str, drawing: Drawing, key: str) -> None:
    folder.put(f"ThinObject5K/images/{name}.jpg", jpeg(drawing.image), key)
    folder.put(f"ThinObject5K/masks/{name}.png", png(grey_mask(drawing.structures[0].mask)), key)


def msra(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``MSRA10K_Imgs_GT/Imgs/<number>.{jpg,png}``: image and mask in one folder."""
    for item in items:
        name = f"MSRA10K_Imgs_GT/Imgs/{item.number + 1:06d}"
        folder.put(f"{name}.jpg", jpeg(item.content.image), item.key)
        folder.put(f"{name}.png", png(grey_mask(item.content.structures[0].mask)), item.key)


def ecssd(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``images/0001.jpg`` and ``ground_truth_mask/0001.png``."""
    for item in items:
        name = f"{item.number + 1:04d}"
        folder.put(f"images/{name}.jpg", jpeg(item.content.image), item.key)
        folder.put(f"ground_truth_mask/{name}.png", png(grey_mask(item.content.structures[0].mask)), item.key)


def weather(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``WXSOD_data/test_real/{input,gt}``, masks as JPEG and as PNG, and a synthetic part that is not to be read."""
    kinds = ("dark", "fog", "light", "rain", "snow")
    for item in items:
        name = f"{item.number + 1:04d}_{kinds[item.number % len(kinds)]}"
        mask = grey_mask(item.content.structures[0].mask)
        folder.put(f"WXSOD_data/test_real/input/{name}.jpg", jpeg(item.content.image), item.key)
        if item.number % 2:
            folder.put(f"WXSOD_data/test_real/gt/{name}.png", png(mask), item.key)
        else:
            folder.put(f"WXSOD_data/test_real/gt/{name}.jpg", jpeg(mask, 75), item.key)
        if item.number == 0:
            folder.put(f"WXSOD_data/test_sys/input/{name}.jpg", jpeg(item.content.image), item.key)
            folder.put(f"WXSOD_data/test_sys/gt/{name}.png", png(mask), item.key)


class CocoFile:
    """A COCO annotation file while it is filled."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add_image(self, number: int, drawing: Drawing, **named: str) -> None:
        """Add an image, and an annotation for each of its objects."""
        height, width = drawing.image.shape[:2]
        self.images.append({"id": number, "height": height, "width": width, **named})
        for structure in drawing.structures:
            self.add(number, structure.name, outline(structure.mask), structure.mask)

    def add(self, number: int, name: str, segmentation: Any, mask: Mask, **other: Any) -> int:
        """Add one annotation and return its id."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (
            [0, 0, 0, 0]
            if not rows.size
            else [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        )
        category = self._names.index(name) + 1
        entry: dict[str, Any] = {"id": len(self.annotations) + 1, "image_id": number, "category_id": category}
        entry |= {"segmentation": segmentation, "area": int(np.count_nonzero(mask)), "bbox": box, **other}
        self.annotations.append(entry)
        return int(entry["id"])

    def to_text(self) -> str:
        """Return the file's text."""
        categories = [{"id": index + 1, "name": name} for index, name in enumerate(self._names)]
        return json.dumps({"images": self.images, "annotations": self.annotations, "categories": categories})


def outline(mask: Mask) -> Any:
    """Return a mask as COCO polygons that are filled to exactly this mask, or as runs where it has a hole."""
    # On a grid three times as fine a contour runs inside the border pixels, around their centres.
    fine = np.kron(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.uint8)
    contours, levels = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if levels is not None and (levels[0][:, 3] >= 0).any():
        return encode_rle(mask)
    return [((contour[:, 0, :] + 0.5) / 3).round(3).ravel().tolist() for contour in contours]


def lvis(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``lvis_v1_{train,val}.json`` without file names; the val list's images lie in ``train2017`` and ``val2017``.

    One object lies outside of its image, and one image of the val list has no object.
    """
    files = {part: CocoFile(LVIS_NAMES) for part in ("train", "val")}
    for item in items:
        part = "val" if item.number % 2 == 0 else "train"
        place = "val2017" if item.number % 4 == 0 else "train2017"
        name = f"{place}/{item.number + 1:012d}.jpg"
        folder.put(name, jpeg(item.content.image), item.key)
        files[part].add_image(item.number + 1, item.content, coco_url=f"http://images.cocodataset.org/{name}")
        if item.number == 0:
            nothing = np.zeros(item.content.image.shape[:2], np.bool_)
            files[part].add(1, LVIS_NAMES[0], [[-60, -60, -20, -60, -20, -20, -60, -20]], nothing)
            empty = "train2017/000000800000.jpg"
            folder.put(empty, jpeg(item.content.image), item.key)
            url = f"http://images.cocodataset.org/{empty}"
            files[part].images.append({"id": 800000, "height": 1, "width": 1, "coco_url": url})
    for part, file in files.items():
        if file.images:
            folder.note(f"lvis_v1_{part}.json", file.to_text())


def coco_val(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``val2017`` and ``annotations/instances_val2017.json``; one image is LVIS's, one annotation is a group."""
    file = CocoFile(COCO_NAMES)
    for item in items:
        number = 900001 + item.number
        name = f"{number:012d}.jpg"
        folder.put(f"val2017/{name}", jpeg(item.content.image), item.key)
        file.add_image(number, item.content, file_name=name)
        if item.number == 0:
            group = np.zeros(item.content.image.shape[:2], np.bool_)
            group[:60, :90] = True
            file.add(number, COCO_NAMES[0], encode_rle(group), group, iscrowd=1)
            key = f"LVIS/{folder.seed}/case0/0"  # the first image of LVIS's phantom
            shared = scenes.draw_many(key, COCO_NAMES)
            folder.put("val2017/000000000001.jpg", jpeg(shared.image), key)
            file.add_image(1, shared, file_name="000000000001.jpg")
    folder.note("annotations/instances_val2017.json", file.to_text())


def lis(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``RGB-dark/JPEGImages/<even>.JPG`` with the ``+1`` lists, ``RGB-normal/JPEGImages/<odd>.JPG`` with the others.

    Names in the lists begin with ``./JPEGImages/`` and end in ``.png``.
    """
    files = {light: CocoFile(LIS_NAMES) for light in ("", "+1")}
    for item in items:
        odd, even = 2 * item.number + 1, 2 * item.number + 2
        dark = scenes.darken(item.content, item.key)
        folder.put(f"LIS/RGB-normal/JPEGImages/{odd}.JPG", jpeg(item.content.image), item.key)
        folder.put(f"LIS/RGB-dark/JPEGImages/{even}.JPG", jpeg(dark.image), item.key)
        files[""].add_image(odd, item.content, file_name=f"./JPEGImages/{odd}.png")
        files["+1"].add_image(even, dark, file_name=f"./JPEGImages/{even}.png")
    for light, file in files.items():
        folder.note(f"LIS/annotations/lis_coco_JPG_traintest{light}.json", file.to_text())


def seaclear(folder: PhantomFolder, items: Iterable[DrawnItem]) -> None:
    """``dataset.json`` and ``<site>/<camera>/frame_<number>.jpg``: numbers begin anew in each folder."""
    file = CocoFile(SEACLEAR_NAMES)
    for item in items:
        site, camera = _SITES[item.number % len(_SITES)]
        name = f"{site}/{camera}/frame_{item.number // len(_SITES) + 1:04d}.jpg"
        folder.put(name, jpeg(item.content.image), item.key)
        file.add_image(item.number + 1, item.content, file_name=name)
    folder.note("dataset.json", file.to_text())
