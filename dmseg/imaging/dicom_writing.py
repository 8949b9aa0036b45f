"""A derived DICOM image: the same geometry, new pixels, new identifiers, without the patient."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.filebase
import pydicom.filewriter
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from dmseg.errors import ImageFileError, UsageError
from dmseg.files import write_bytes
from dmseg.imaging import dicom
from dmseg.imaging.formats import DICOM, catch_decoder_errors
from dmseg.imaging.stored import Derivation, StoredImage
from dmseg.version import __version__

_PATIENT_GROUP = 0x0010
_CURVES = 0x50  # first byte of the retired curve groups 5000 to 501E
_PIXELS = 0x7FE0
_PIXEL_NAMES = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_NEEDED = tuple(map(pydicom.tag.Tag, ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation")))
_SEGMENTATIONS = (
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation Storage
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation Storage
)
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


def open_dicom(path: Path) -> StoredImage:
    """Open a DICOM image of one or several frames to be changed.

    Raises:
        ImageFileError: as :func:`dmseg.imaging.dicom.load`; or a segmentation, whose pixels are labels.
    """
    image = dicom.load(path, several=True)
    with catch_decoder_errors(path, DICOM):
        if str(image.dataset.get("SOPClassUID", "")) in _SEGMENTATIONS:
            raise ImageFileError(
                f"{path}: a DICOM segmentation: its pixels are labels, not an image; leave it out (--exclude)"
            )
        values, padding, stack = image.values(), image.padding(), len(image.stored) > 1
        spacing = dicom.pixel_spacing(image.dataset)

    def write(out: Path, new: NDArray[Any], derivation: Derivation) -> None:
        frames = new if stack else new[None]
        if frames.shape != values.shape:
            raise UsageError(f"{path} is {values.shape}, the new pixels are {new.shape}")
        write_bytes(
            out,
            derive_dataset(path, dicom.load(path, several=True), _restore_stored(image, values, frames), derivation),
        )

    return StoredImage(
        DICOM,
        values if stack else values[0],
        write,
        stack,
        "frames" if stack else "image",
        spacing,
        image.windows(),
        image.dataset.get("Modality"),
        None if padding is None or not padding.any() else (padding if stack else padding[0]),
        int(image.dataset.BitsStored) if values.ndim == 3 and values.dtype.kind == "u" else None,
    )


def _restore_stored(image: dicom.DicomImage, before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    """Return stored numbers for ``after``; where nothing changed, exactly those that were read."""
    same = before == after
    return np.where(same, image.stored, image.to_stored(after)).astype(image.stored.dtype)


def open_series(files: Sequence[Path]) -> StoredImage:
    """Open the single-frame files of one DICOM series as the volume it is, slices in order of their position.

    ``write`` takes the folder to write to; files keep their names.

    Raises:
        DataError: the files are no volume, see :func:`dmseg.imaging.read_dicom_series`.
        ImageFileError: one file cannot be decoded.
    """
    with catch_decoder_errors(files[0], DICOM):
        ordered, image, spacing = dicom.load_series(files)
        values, padding = image.values(), image.padding()

    def write(folder: Path, new: NDArray[Any], derivation: Derivation) -> None:
        for number, path in enumerate(ordered):
            single = dicom.load(path)
            stored = _restore_stored(single, single.values(), new[number : number + 1].astype(single.values().dtype))
            write_bytes(folder / path.name, derive_dataset(path, single, stored, derivation))

    return StoredImage(
        DICOM,
        values,
        write,
        True,
        "slices",
        spacing,
        image.windows(),
        image.dataset.get("Modality"),
        None if padding is None or not padding.any() else padding,
        int(image.dataset.BitsStored) if values.dtype.kind == "u" else None,
        files=tuple(ordered),
    )


def derive_dataset(source: Path, image: dicom.DicomImage, stored: NDArray[Any], derivation: Derivation) -> bytes:
    """Return the file of the derived image; see :func:`dmseg.imaging.write_like` for the rules.

    It is uncompressed, explicit little endian, with an empty preamble (the old one may hold a TIFF header). Retired
    curves go, and so does any other tag that cannot be written again.

    Args:
        source: the file that was read, for messages.
        image: what was read; its dataset is changed.
        stored: (N, H, W) or (N, H, W, 3), the new stored numbers.
        derivation: what was done.

    Raises:
        ImageFileError: the dataset cannot be written.
    """
    dataset = image.dataset
    with catch_decoder_errors(source, DICOM):
        _drop_unwritable(dataset)
        dataset.decode()
        _set_pixels(dataset, stored, table=image.table)
        _set_identity(dataset, derivation)
        dataset.remove_private_tags()
        if not derivation.keep_patient:
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


def _drop_unwritable(dataset: FileDataset) -> None:
    """Remove retired curves (groups 50xx) and further elements that pydicom reads but cannot write."""
    for tag in list(dataset.keys()):
        if tag.group >> 8 == _CURVES and tag.group % 2 == 0:
            del dataset[tag]
    little = dataset.original_encoding[1] is not False
    characters = dataset.get("SpecificCharacterSet") or "ISO_IR 6"
    for tag in list(dataset.keys()):
        if tag.group == _PIXELS:
            continue
        single, scratch = Dataset(), pydicom.filebase.DicomBytesIO()
        scratch.is_little_endian, scratch.is_implicit_VR = True, False
        try:
            single[tag] = dataset[tag]
            pydicom.filewriter.correct_ambiguous_vr(single, little, [dataset])
            pydicom.filewriter.write_dataset(scratch, single, characters)
        except Exception:  # whatever a broken element raises: it alone is left out
            if tag in _NEEDED:
                raise
            del dataset[tag]


def _set_pixels(dataset: FileDataset, stored: NDArray[Any], *, table: bool) -> None:
    lossy = dataset.file_meta.TransferSyntaxUID.name
    if "Lossless" not in lossy and lossy.startswith(_LOSSY_SYNTAXES) and "LossyImageCompression" not in dataset:
        dataset.LossyImageCompression = "01"
    colour = stored.ndim == 4
    content = np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("<")).tobytes()
    bits = 8 * stored.itemsize
    if stored.dtype.kind == "f":
        name = "FloatPixelData" if stored.itemsize == 4 else "DoubleFloatPixelData"
        dataset[name].value = content
    else:
        dataset.pop("PixelData", None)
        dataset.add_new("PixelData", "OB" if bits == 8 else "OW", content + b"\0" * (len(content) % 2))
        if int(dataset.BitsAllocated) == 1:
            dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 7, 0
        dataset.SamplesPerPixel = 3 if colour else 1
        dataset.BitsAllocated = bits
    if colour:
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 7, 0
        for name in _PALETTE:
            for keyword in (f"{name}PaletteColorLookupTableDescriptor", f"{name}PaletteColorLookupTableData"):
                _delete(dataset, keyword)
            _delete(dataset, f"Segmented{name}PaletteColorLookupTableData")
    if table:  # the values went through it
        del dataset.ModalityLUTSequence
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.RescaleType = "US"
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 0
    for name in _DESCRIBES_OLD_PIXELS:
        _delete(dataset, name)


def _delete(dataset: Dataset, keyword: str) -> None:
    if keyword in dataset:
        delattr(dataset, keyword)


def _set_identity(dataset: FileDataset, derivation: Derivation) -> None:
    old_image, old_series = str(dataset.get("SOPInstanceUID", "")), str(dataset.get("SeriesInstanceUID", ""))
    pixels = next(dataset[name].value for name in _PIXEL_NAMES if name in dataset)
    what = derivation.description or hashlib.sha256(pixels).hexdigest()
    if "SOPClassUID" not in dataset:
        dataset.SOPClassUID = SecondaryCaptureImageStorage
    if not (derivation.keep_references and old_image and old_series):
        if old_image:
            reference = Dataset()
            reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, old_image
            dataset.SourceImageSequence = [reference]
        dataset.SOPInstanceUID = derive_uid("picture", old_image, what)
        dataset.SeriesInstanceUID = derive_uid("series", old_series, derivation.series or what)
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
