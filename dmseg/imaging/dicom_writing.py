"""A derived DICOM image: the same geometry, new pixels, new identifiers, without the patient."""

from __future__ import annotations

import hashlib
import io
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from dmseg.imaging import dicom
from dmseg.imaging.formats import DICOM, decoding
from dmseg.version import __version__

_PATIENT_GROUP = 0x0010
_OBLIGATORY_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_DESCRIBES_OLD_PIXELS = (
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "IconImageSequence",
    "PixelDataProviderURL",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
)
_PALETTE = ("Red", "Green", "Blue", "Alpha")
_LOSSY_SYNTAXES = ("JPEG Baseline", "JPEG Extended", "Near-lossless", "JPEG 2000 Image Compression")


def derive_uid(*parts: str) -> UID:
    """Return an identifier under the UUID root 2.25 that depends on nothing but the parts."""
    content = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).digest()
    return UID(f"2.25.{uuid.UUID(bytes=content, version=5).int}")


def derive_dataset(source: Path, pixels: NDArray[Any], derivation: str, series: str, *, keep_patient: bool) -> bytes:
    """Return the file of the derived image; see :func:`dmseg.imaging.write_like` for the rules.

    It is uncompressed, explicit little endian, with an empty preamble (the old one may hold a TIFF header).

    Raises:
        ImageFileError: the source cannot be read, or holds tags that cannot be written.
    """
    image = dicom.load(source)
    dataset = image.dataset
    with decoding(source, DICOM):
        dataset.decode()
        _set_pixels(dataset, image.to_stored(pixels))
        _set_identity(dataset, derivation, series)
        dataset.remove_private_tags()
        if not keep_patient:
            _drop_patient(dataset)
        dataset.preamble = b"\0" * 128
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.ImplementationVersionName = f"DMSEG {__version__}"[:16]
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()


def _set_pixels(dataset: FileDataset, stored: NDArray[Any]) -> None:
    lossy = dataset.file_meta.TransferSyntaxUID.name
    if "Lossless" not in lossy and lossy.startswith(_LOSSY_SYNTAXES) and "LossyImageCompression" not in dataset:
        dataset.LossyImageCompression = "01"
    colour = stored.ndim == 3
    content = np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("<")).tobytes()
    bits = 8 * stored.itemsize
    del dataset.PixelData
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", content + b"\0" * (len(content) % 2))
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.BitsAllocated = bits
    if colour:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 7, 0
        for name in _PALETTE:
            for part in ("Descriptor", "Data"):
                _delete(dataset, f"{name}PaletteColorLookupTable{part}")
    for name in _DESCRIBES_OLD_PIXELS:
        _delete(dataset, name)


def _delete(dataset: Dataset, keyword: str) -> None:
    if keyword in dataset:
        delattr(dataset, keyword)


def _set_identity(dataset: FileDataset, derivation: str, series: str) -> None:
    old_image, old_series = str(dataset.get("SOPInstanceUID", "")), str(dataset.get("SeriesInstanceUID", ""))
    what = derivation or hashlib.sha256(dataset.PixelData).hexdigest()
    if "SOPClassUID" not in dataset:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
    if old_image:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, old_image
        dataset.SourceImageSequence = [reference]
    dataset.SOPInstanceUID = derive_uid("picture", old_image, what)
    dataset.SeriesInstanceUID = derive_uid("series", old_series, series or what)
    further = list(dataset.get("ImageType") or [])[2:]
    dataset.ImageType = ["DERIVED", "SECONDARY", *further]
    dataset.DerivationDescription = what


def _drop_patient(dataset: Dataset) -> None:
    """Remove group 0010 everywhere; the elements that the standard requires stay, empty."""

    def remove(part: Dataset, element: pydicom.DataElement) -> None:
        if element.tag.group == _PATIENT_GROUP:
            del part[element.tag]

    dataset.walk(remove)
    for keyword in _OBLIGATORY_PATIENT:
        setattr(dataset, keyword, "")
