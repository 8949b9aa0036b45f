"""Read and write PNG, JPEG, TIFF, BMP, DICOM, NIfTI, MetaImage, NRRD, MGH, Analyze; windows, orientation, spacing ...

Every failure of a file is an :class:`~dmseg.errors.ImageFileError` that names the file. Sizes are checked in the header
before anything is decoded. Degradations and datasets live above; nothing here knows about them.
"""

from __future__ import annotations

from dmseg.imaging.dicom_rtstruct import read_dicom_regions
from dmseg.imaging.dicom_seg import DicomTags, dicom_tags, highdicom, read_dicom_segments
from dmseg.imaging.formats import EXTENSIONS, FORMATS, MAX_PIXELS, check_size, extension, kind_of, stem
from dmseg.imaging.grey import add_change, apply_window, normalise, percentile_window
from dmseg.imaging.hounsfield import (
    Rescale,
    Scale,
    check_hounsfield,
    check_visible,
    parse_rescale,
    recognise_scale,
    shows_nothing,
)
from dmseg.imaging.like import check_target, write_like
from dmseg.imaging.opening import copy_unchanged, open_series, open_stored
from dmseg.imaging.reading import (
    LoadedImage,
    image_header,
    image_orientation,
    is_dicom_volume,
    read_dicom_series,
    read_grey,
    read_image,
    read_label_volume,
    read_mask,
    read_mask_values,
    read_volume,
)
from dmseg.imaging.resize import compute_stored_size, resize_image, resize_mask
from dmseg.imaging.rle import Rle, decode_rle, encode_rle
from dmseg.imaging.samples import grey_if_colourless, orient
from dmseg.imaging.stored import Derivation, StoredImage, modality_of
from dmseg.imaging.volumes import (
    PLANES,
    Volume,
    acquisition_plane,
    cut,
    cut_spacing,
    describe_difference,
    radiological,
    radiological_affine,
)
from dmseg.imaging.writing import png_bytes, write_mask, write_png

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "MAX_PIXELS",
    "PLANES",
    "Derivation",
    "DicomTags",
    "LoadedImage",
    "Rescale",
    "Rle",
    "Scale",
    "StoredImage",
    "Volume",
    "acquisition_plane",
    "add_change",
    "apply_window",
    "check_hounsfield",
    "check_size",
    "check_target",
    "check_visible",
    "compute_stored_size",
    "copy_unchanged",
    "cut",
    "cut_spacing",
    "decode_rle",
    "describe_difference",
    "dicom_tags",
    "encode_rle",
    "extension",
    "grey_if_colourless",
    "highdicom",
    "image_header",
    "image_orientation",
    "is_dicom_volume",
    "kind_of",
    "modality_of",
    "normalise",
    "open_series",
    "open_stored",
    "orient",
    "parse_rescale",
    "percentile_window",
    "png_bytes",
    "radiological",
    "radiological_affine",
    "read_dicom_regions",
    "read_dicom_segments",
    "read_dicom_series",
    "read_grey",
    "read_image",
    "read_label_volume",
    "read_mask",
    "read_mask_values",
    "read_volume",
    "recognise_scale",
    "resize_image",
    "resize_mask",
    "shows_nothing",
    "stem",
    "write_like",
    "write_mask",
    "write_png",
]
