"""Tiny files in the original layouts: images, volumes and series of a few kilobytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from dmseg import datasets
from dmseg.datasets import LeftOut
from dmseg.types import Sample


class Files:
    """Writes small files below a folder; names are paths with slashes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def picture(self, name: str, pixels: NDArray[Any], **options: Any) -> Path:
        path = self.path(name)
        Image.fromarray(pixels).save(path, **options)
        return path

    def text(self, name: str, content: str) -> Path:
        path = self.path(name)
        path.write_text(content, encoding="utf-8")
        return path

    def volume(
        self, name: str, values: NDArray[Any], axes: str = "RAS", spacing: tuple[float, ...] = (5, 2, 1)
    ) -> Path:
        """Store a radiological (Z, Y, X) array with the axes turned as ``axes`` says; spacing is (z, y, x)."""
        ras = np.ascontiguousarray(values[:, ::-1, ::-1].transpose(2, 1, 0))
        image = nib.Nifti1Image(ras, np.diag([*spacing[::-1], 1.0]))
        wanted = nib.orientations.axcodes2ornt(tuple(axes))
        turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt(("R", "A", "S")), wanted)
        path = self.path(name)
        nib.save(image.as_reoriented(turn), path)
        return path

    def dicom(
        self, name: str, stored: NDArray[np.uint16], z: float, series: str, intercept: float = 0, number: int = 1
    ) -> Path:
        """Store one axial slice; its spacing is 0.7 x 0.8 mm."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.Modality, data.InstanceNumber = series, "CT", number
        data.Rows, data.Columns = stored.shape
        data.PixelSpacing = [0.7, 0.8]
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, z], [1, 0, 0, 0, 1, 0]
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit = 15
        data.RescaleSlope, data.RescaleIntercept = 1, intercept
        data.PixelData = stored.astype("<u2").tobytes()
        path = self.path(name)
        pydicom.dcmwrite(path, data, enforce_file_format=True)
        return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A writer below an empty RAW folder."""
    return Files(tmp_path)


class Result:
    """Everything a reader gives for a RAW folder."""

    def __init__(self, name: str, raw: Path) -> None:
        self.reader = datasets.reader(name)
        root = self.reader.find(raw)
        assert root is not None, f"{name} not found"
        self.root = root
        self.sources = self.reader.sources(root)
        items = [item for source in self.sources for item in self.reader.read(root, source)]
        self.samples: list[Sample] = [item for item in items if isinstance(item, Sample)]
        self.left_out = [item for item in items if isinstance(item, LeftOut)] + self.reader.problems(root)

    @property
    def ids(self) -> list[str]:
        return [sample.source_id for sample in self.samples]

    @property
    def reasons(self) -> dict[str, str]:
        return {item.source: item.reason for item in self.left_out}

    def structures(self, source_id: str) -> dict[str, list[NDArray[np.bool_]]]:
        sample = next(sample for sample in self.samples if sample.source_id == source_id)
        found: dict[str, list[NDArray[np.bool_]]] = {}
        for structure in sample.structures:
            found.setdefault(structure.name, []).append(structure.mask)
        return found


@pytest.fixture
def read_all(files: Files) -> Any:
    """``read_all(name)`` finds, lists and reads a dataset below the RAW folder of ``files``."""
    return lambda name: Result(name, files.root)


@pytest.fixture
def grey() -> Any:
    """``grey(height, width)``: a grey image without equal rows or columns."""
    return lambda height=12, width=16: (np.arange(height * width).reshape(height, width) % 251).astype(np.uint8)


@pytest.fixture
def block() -> Any:
    """``block(height, width, y, x, size, value)``: zeros with one square."""

    def draw(
        height: int = 12, width: int = 16, y: int = 3, x: int = 4, size: int = 5, value: int = 255
    ) -> NDArray[np.uint8]:
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[y : y + size, x : x + size] = value
        return mask

    return draw
