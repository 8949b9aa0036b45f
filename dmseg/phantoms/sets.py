"""The registry: how each data set's images are drawn and in which layout they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from dmseg.phantoms import (
    brain,
    breast,
    chest,
    ct,
    dental,
    dermoscopy,
    endoscopy,
    layouts_archive,
    layouts_colour,
    layouts_photo,
    layouts_text,
    layouts_ultrasound,
    layouts_volume,
    microscopy,
    mr,
    muscle,
    nerve,
    ovary,
    scenes,
    thyroid,
    upper_abdomen,
    xray,
)
from dmseg.phantoms.drawing import Drawing, Stack
from dmseg.phantoms.folder import DrawnItem, PhantomFolder
from dmseg.rng import Stream

IMAGES_PER_CASE = 2


@dataclass(frozen=True, slots=True)
class PhantomSet:
    """One data set.

    Attributes:
        draw: (case key, image key, number of the image or of the case) -> a Drawing, or a Stack of one patient.
        write: puts the items into the original layout, with the original's traps.
        stacks: True where one item is a patient's slices, of which IMAGES_PER_CASE carry annotated organs.
    """

    draw: Callable[[str, str, int], Drawing | Stack]
    write: Callable[[PhantomFolder, Iterable[DrawnItem]], None]
    stacks: bool = False


def _size(key: str, widths: tuple[int, int], heights: tuple[int, int]) -> tuple[int, int]:
    """Return a keyed height and width in px."""
    stream = Stream(key, "size")
    width = stream.integer(*widths)
    return stream.integer(*heights), width


def _busi(case: str, key: str, number: int) -> Drawing:
    kind = "malignant" if number % 3 == 1 else "benign"
    two = kind == "benign" and number % 4 == 0
    return breast.breast(Stream(key, "breast"), _size(key, (330, 384), (270, 320)), kind, lesions=2 if two else 1)


def _kvasir(case: str, key: str, number: int) -> Drawing:
    shape = _size(key, (350, 384), (300, 320))
    return endoscopy.colon(
        Stream(key, "anatomy"), Stream(key, "view"), shape, inset=Stream(key, "inset").uniform() < 0.5
    )


def _bbbc038(case: str, key: str, number: int) -> Drawing:
    return microscopy.nuclei(Stream(key, "specimen"), Stream(key, "view"))


def _flare(case: str, key: str, number: int) -> Stack:
    return ct.abdomen(case, 192)


def _chaos(case: str, key: str, number: int) -> Stack:
    return mr.abdomen(case, 192) if number % 2 else ct.abdomen(case, 208, "sharp")


def _abdominal(case: str, key: str, number: int) -> Drawing:
    return upper_abdomen.upper_abdomen(Stream(key), (288, 384), upper_abdomen.VIEWS[number % 3])


def _ddti(case: str, key: str, number: int) -> Drawing:
    return thyroid.thyroid(Stream(case, "anatomy"), Stream(key), (258, 384))


def _nerve(case: str, key: str, number: int) -> Drawing:
    return nerve.plexus(Stream(case, "anatomy"), Stream(key), (278, 384))


def _muscle(case: str, key: str, number: int) -> Drawing:
    return muscle.muscle(Stream(key, "anatomy"), Stream(key), (320, 384), muscle.MUSCLES[number % 3])


def _mmotu(case: str, key: str, number: int) -> Drawing:
    return ovary.ovary(Stream(key), _size(key, (350, 384), (260, 290)), number % len(ovary.CLASSES))


def _brats(case: str, key: str, number: int) -> Stack:
    return brain.brats_volume(case)


def _tooth(case: str, key: str, number: int) -> Drawing:
    return dental.panoramic(Stream(key), (216, 384))


def _isic(case: str, key: str, number: int) -> Drawing:
    return dermoscopy.skin_lesion(Stream(key), _size(key, (360, 384), (270, 288)))


def _paxray(case: str, key: str, number: int) -> Drawing:
    return xray.chest_film(Stream(case, "anatomy"), Stream(key), 384, xray.VIEWS[number % 2])


def _cvc(case: str, key: str, number: int) -> Drawing:
    return endoscopy.colon(Stream(case, "anatomy"), Stream(key), (288, 384))


def _lgg(case: str, key: str, number: int) -> Stack:
    return brain.lgg_slices(case)


def _lung_rads(case: str, key: str, number: int) -> Drawing:
    return chest.chest(Stream(key), 320, chest.CATEGORIES[number % len(chest.CATEGORIES)])


def _thin(case: str, key: str, number: int) -> Drawing:
    return scenes.draw_thin(key)


def _salient(case: str, key: str, number: int) -> Drawing:
    return scenes.draw_salient(key)


def _weather(case: str, key: str, number: int) -> Drawing:
    return scenes.add_weather(scenes.draw_salient(key), key)


def _lvis(case: str, key: str, number: int) -> Drawing:
    return scenes.draw_many(key, layouts_photo.LVIS_NAMES)


def _coco(case: str, key: str, number: int) -> Drawing:
    return scenes.draw_many(key, layouts_photo.COCO_NAMES)


def _lis(case: str, key: str, number: int) -> Drawing:
    return scenes.draw_many(key, layouts_photo.LIS_NAMES)


def _refer(case: str, key: str, number: int) -> Drawing:
    return scenes.draw_many(key, layouts_photo.COCO_NAMES)


def _seaclear(case: str, key: str, number: int) -> Drawing:
    return scenes.sink(scenes.draw_many(key, layouts_photo.SEACLEAR_NAMES), key)


# In the order of the paper's table of data sets.
SETS: dict[str, PhantomSet] = {
    "abdominalUS": PhantomSet(_abdominal, layouts_ultrasound.abdominal),
    "BUSI": PhantomSet(_busi, layouts_ultrasound.busi),
    "DDTI": PhantomSet(_ddti, layouts_ultrasound.ddti),
    "NerveUS": PhantomSet(_nerve, layouts_ultrasound.nerve_us),
    "MuscleUS": PhantomSet(_muscle, layouts_ultrasound.muscle_us),
    "MMOTU": PhantomSet(_mmotu, layouts_ultrasound.mmotu),
    "BraTS": PhantomSet(_brats, layouts_volume.brats, stacks=True),
    "FLARE": PhantomSet(_flare, layouts_volume.flare, stacks=True),
    "ToothSeg": PhantomSet(_tooth, layouts_colour.tooth),
    "ISIC": PhantomSet(_isic, layouts_colour.isic),
    "PAXRay": PhantomSet(_paxray, layouts_archive.paxray),
    "BBBC038": PhantomSet(_bbbc038, layouts_colour.bbbc038),
    "CHAOS": PhantomSet(_chaos, layouts_volume.chaos, stacks=True),
    "Kvasir-SEG": PhantomSet(_kvasir, layouts_colour.kvasir),
    "CVC-ClinicDB": PhantomSet(_cvc, layouts_colour.cvc),
    "LGG": PhantomSet(_lgg, layouts_volume.lgg, stacks=True),
    "LungRads": PhantomSet(_lung_rads, layouts_archive.lung_rads),
}

# The sets of the natural tracks.
PHOTO_SETS: dict[str, PhantomSet] = {
    "ThinObject-5K": PhantomSet(_thin, layouts_photo.thin_object),
    "LVIS": PhantomSet(_lvis, layouts_photo.lvis),
    "ECSSD": PhantomSet(_salient, layouts_photo.ecssd),
    "COCO": PhantomSet(_coco, layouts_photo.coco_val),
    "MSRA-10K": PhantomSet(_salient, layouts_photo.msra),
    "LIS": PhantomSet(_lis, layouts_photo.lis),
    "WXSOD": PhantomSet(_weather, layouts_photo.weather),
    "SeaClear": PhantomSet(_seaclear, layouts_photo.seaclear),
    "RefCOCO": PhantomSet(_refer, layouts_text.refcoco),
    "RefCOCOplus": PhantomSet(_refer, layouts_text.refcoco_plus),
    "RefCOCOg": PhantomSet(_refer, layouts_text.refcocog),
}
ALL_SETS: dict[str, PhantomSet] = SETS | PHOTO_SETS


def tasks(name: str, per_dataset: int, seed: int) -> list[tuple[str, int, int, int, str, str]]:
    """Return what is to be drawn: (name, number, case, view, case key, image key), first images first."""
    if ALL_SETS[name].stacks:
        cases = -(-per_dataset // IMAGES_PER_CASE)
        return [
            (name, case, case, 0, f"{name}/{seed}/case{case}", f"{name}/{seed}/case{case}") for case in range(cases)
        ]
    planned = []
    for number in range(per_dataset):
        case, view = divmod(number, IMAGES_PER_CASE)
        key = f"{name}/{seed}/case{case}"
        planned.append((name, number, case, view, key, f"{key}/{view}"))
    return planned


def draw_item(task: tuple[str, int, int, int, str, str]) -> DrawnItem:
    """Draw one item; a pure function of the task, safe in any process."""
    name, number, case, view, case_key, key = task
    content: Any = ALL_SETS[name].draw(case_key, key, number)
    return DrawnItem(number, case, view, key, content)
