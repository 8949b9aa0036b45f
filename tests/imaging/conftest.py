"""Files to read: an asymmetric body as a volume, DICOM written tag by tag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian


def _body() -> np.ndarray:
    """(Z, Y, X) = (9, 14, 20) in radiological axial order; every corner region has its own value."""
    body = np.zeros((9, 14, 20), np.int16)
    body[0] = 10  # feet
    body[-1] = 20  # head
    body[:, 0, :] += 100  # front (top of the image)
    body[:, :, 0] += 1000  # patient's right (left of the image)
    body[2:4, 3:6, 4:9] = 3000  # an organ on the right, in front, low
    return body


@pytest.fixture
def body() -> np.ndarray:
    return _body()


@pytest.fixture
def make_dicom(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer: stored pixels and tags in, path of an uncompressed DICOM file out."""

    def write(stored: np.ndarray, name: str = "a.dcm", **tags: Any) -> Path:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        uid = tags.pop("SOPInstanceUID", "1.2.826.0.1.3680043.9.1")
        meta.MediaStorageSOPInstanceUID = uid
        path = tmp_path / name
        dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, uid
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.826.0.1.3680043.9.2", "1.2.826.0.1.3680043.9.3"
        dataset.Modality = "CT"
        dataset.Rows, dataset.Columns = stored.shape[:2]
        dataset.BitsAllocated = 8 * stored.itemsize
        dataset.BitsStored = dataset.BitsAllocated
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.SamplesPerPixel = 3 if stored.ndim == 3 else 1
        dataset.PhotometricInterpretation = "RGB" if stored.ndim == 3 else "MONOCHROME2"
        if stored.ndim == 3:
            dataset.PlanarConfiguration = 0
        dataset.PixelData = stored.tobytes()
        for key, value in tags.items():
            setattr(dataset, key, value)
        dataset.HighBit = dataset.BitsStored - 1
        path.parent.mkdir(parents=True, exist_ok=True)
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
        return path

    return write
