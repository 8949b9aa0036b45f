"""One reader per original layout, in an explicit registry: the recipe's ``reader`` key -> class."""

from __future__ import annotations

from dmseg.datasets.readers.chaos import ChaosReader
from dmseg.datasets.readers.ddti import DdtiReader
from dmseg.datasets.readers.dental import ToothReader
from dmseg.datasets.readers.lungrads import LungReader
from dmseg.datasets.readers.nuclei import NucleiReader
from dmseg.datasets.readers.objects import CocoValReader, LisReader, LvisReader, SeaClearReader
from dmseg.datasets.readers.own import OwnAnnotationReader, OwnDicomReader, OwnImageReader, OwnVolumeReader
from dmseg.datasets.readers.pairs import CvcReader, IsicReader, KvasirReader, LggReader
from dmseg.datasets.readers.paxray import PaxrayReader
from dmseg.datasets.readers.refcoco import RefCocoReader
from dmseg.datasets.readers.salient import SalientReader, ThinObjectReader, WeatherReader
from dmseg.datasets.readers.ultrasound import AbdominalReader, BusiReader, MmotuReader, MuscleReader, NerveReader
from dmseg.datasets.readers.volumes import BratsReader, FlareReader
from dmseg.datasets.recipes import Recipe, recipe
from dmseg.datasets.sources import Reader
from dmseg.errors import unknown_name

READERS: dict[str, type[Reader]] = {
    "abdominal_us": AbdominalReader,
    "bbbc038": NucleiReader,
    "brats": BratsReader,
    "busi": BusiReader,
    "chaos": ChaosReader,
    "coco_val": CocoValReader,
    "cvc": CvcReader,
    "ddti": DdtiReader,
    "flare": FlareReader,
    "isic": IsicReader,
    "kvasir": KvasirReader,
    "lgg": LggReader,
    "lis": LisReader,
    "lungrads": LungReader,
    "lvis": LvisReader,
    "mmotu": MmotuReader,
    "muscle_us": MuscleReader,
    "nerve_us": NerveReader,
    "own_annotations": OwnAnnotationReader,
    "own_dicom": OwnDicomReader,
    "own_images": OwnImageReader,
    "own_volumes": OwnVolumeReader,
    "paxray": PaxrayReader,
    "refcoco": RefCocoReader,
    "salient": SalientReader,
    "seaclear": SeaClearReader,
    "thin_object": ThinObjectReader,
    "tooth": ToothReader,
    "weather": WeatherReader,
}


def reader_of(rules: Recipe) -> Reader:
    """Return the reader that a recipe names.

    Raises:
        UsageError: there is no reader of that name.
    """
    if rules.reader not in READERS:
        raise unknown_name(f"reader in recipe {rules.id}", rules.reader, READERS)
    return READERS[rules.reader](rules)


def reader(name: str) -> Reader:
    """Return the reader of a shipped dataset, by its name."""
    return reader_of(recipe(name))
