"""One's own data, by the layouts that people have: one reader per kind of masks."""

from dmseg.datasets.readers.own.annotations import OwnAnnotationReader
from dmseg.datasets.readers.own.dicom import OwnDicomReader
from dmseg.datasets.readers.own.images import OwnImageReader
from dmseg.datasets.readers.own.volumes import OwnVolumeReader

__all__ = ["OwnAnnotationReader", "OwnDicomReader", "OwnImageReader", "OwnVolumeReader"]
