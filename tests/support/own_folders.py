"""Folders in the layouts that people have, written by the tests: each image has a bright disc where its object is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from dmseg import datasets
from dmseg.datasets import LeftOut, own
from dmseg.types import Sample

SHAPE = (48, 60)


def disc(x: float, y: float, radius: float = 8, shape: tuple[int, int] = SHAPE) -> NDArray[np.bool_]:
    """A bool (H, W) disc."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def scene(mask: NDArray[np.bool_], seed: int = 0) -> NDArray[np.uint8]:
    """A dark noisy image that is bright where the mask is."""
    noise = np.random.default_rng(seed).integers(20, 60, mask.shape)
    return (noise + 150 * mask).astype(np.uint8)


class Writer:
    """Writes files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, name: str, pixels: NDArray[Any], **options: Any) -> None:
        Image.fromarray(pixels).save(self.path(name), **options)

    def json(self, name: str, content: Any) -> None:
        self.path(name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def volume(self, name: str, values: NDArray[Any], affine: NDArray[Any] | None = None) -> None:
        nib.save(
            nib.Nifti1Image(values, np.diag([-1.0, -1.0, 3.0, 1.0]) if affine is None else affine), self.path(name)
        )


class Read:
    """What init-recipe guesses of a folder, and what the recipe then reads."""

    def __init__(self, folder: Path, modality: str, recipe: Path, **options: Any) -> None:
        self.guess = own.guess(folder, modality=modality, domain=["speckle"], **options)
        recipe.write_text(self.guess.text, encoding="utf-8")
        self.recipe = datasets.from_file(recipe)
        assert self.recipe == self.guess.recipe
        self.reader = datasets.reader_of(self.recipe)
        root = self.reader.find(folder)
        self.root = root or folder
        self.sources = self.reader.sources(root) if root else []
        items = [item for source in self.sources for item in self.reader.read(self.root, source)]
        self.samples = [item for item in items if isinstance(item, Sample)]
        self.reports = [item for item in items if isinstance(item, LeftOut)] + self.reader.problems(self.root)

    def names(self) -> list[str]:
        return sorted({each.name for sample in self.samples for each in sample.structures})

    def check_objects(self) -> None:
        """Every mask lies on the bright part of its image, and all of the bright part has a mask."""
        assert self.samples
        for sample in self.samples:
            grey = sample.image if sample.image.ndim == 2 else sample.image.mean(axis=2)
            united = np.any([each.mask for each in sample.structures], axis=0)
            bright = grey > (int(grey.min()) + int(grey.max())) / 2
            overlap = 2 * (united & bright).sum() / (united.sum() + bright.sum())
            assert overlap > 0.9, f"{sample.source}: Dice {overlap:.2f} of the masks with what is bright"


def write_slice(path: Path, stored: NDArray[Any], z: float, series: str) -> Path:
    """Write one axial MR slice as DICOM, 0.7 x 0.8 mm, at ``z`` mm."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"{series}.{int(z) + 1}"
    data.SeriesInstanceUID, data.PatientID, data.Modality, data.InstanceNumber = series, f"P{series}", "MR", int(z) + 1
    data.Rows, data.Columns = stored.shape
    data.PixelSpacing, data.ImagePositionPatient, data.ImageOrientationPatient = (
        [0.7, 0.8],
        [0, 0, z],
        [1, 0, 0, 0, 1, 0],
    )
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelData = stored.astype("<u2").tobytes()
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path
