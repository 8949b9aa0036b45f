"""DDTI: thyroid ultrasound with polygons in XML, or the pre-processed bundle with mask files.

The XML comes from strangers: it is parsed without a document type, so entities can neither expand nor fetch anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from dmseg.datasets import shapes, tree
from dmseg.datasets.readers.pairs import PairReader, pair_by_stem
from dmseg.datasets.sources import LeftOut, Scan, Source, clean_id
from dmseg.errors import ImageFileError
from dmseg.types import Image, Sample, Structure

_MAX_XML_BYTES = 16_000_000
_JPEG = (".jpg", ".jpeg")


class DdtiReader(PairReader):
    """``<case>.xml`` and ``<case>_<k>.jpg`` in one folder, or ``p_image/*.PNG`` and ``p_mask/*.PNG``."""

    def is_root(self, folder: Path) -> bool:
        return _is_bundle(folder) or bool(tree.files(folder, (".xml",)) and tree.files(folder, _JPEG))

    def scan(self, root: Path) -> Scan:
        if _is_bundle(root):
            images, masks = tree.child(root, "p_image"), tree.child(root, "p_mask")
            files = tree.files(images) if images else []
            cases = {file.stem: file.stem.rpartition("_")[0] or file.stem for file in files}
            return pair_by_stem(root, files, tree.by_stem(tree.files(masks)) if masks else {}, cases)
        records = tree.by_stem(tree.files(root, (".xml",)))
        sources: list[Source] = []
        left_out: list[LeftOut] = []
        for image in tree.files(root, _JPEG):
            case, _, number = image.stem.rpartition("_")
            record = records.get(case.lower())
            name = image.relative_to(root)
            if record is None:
                left_out.append(LeftOut(name.as_posix(), "annotation file missing"))
                continue
            files_of = (name, record.relative_to(root))
            sources.append(Source(clean_id(image.stem), clean_id(case), files_of, number))
        return Scan(sources, left_out)

    def read(self, root: Path, source: Source) -> Iterator[Sample | LeftOut]:
        """Yield the one sample of the source, or why the annotation of this image cannot be used."""
        if source.detail:
            try:
                polygons = _polygons(root / source.files[1], source.detail)
            except ValueError as error:
                yield LeftOut(source.files[0].as_posix(), str(error))
                return
            if not polygons:
                yield LeftOut(source.files[0].as_posix(), "no object: the annotation file has no polygon for it")
                return
        yield from super().read(root, source)

    def structures(self, root: Path, source: Source, pixels: Image) -> Iterator[Structure]:
        """Yield one object per polygon, or per mask file of the bundle."""
        if not source.detail:
            yield from super().structures(root, source, pixels)
            return
        for polygon in _polygons(root / source.files[1], source.detail):
            yield Structure(self.recipe.structures[0], shapes.polygon_mask(polygon, pixels.shape[:2]))


def _is_bundle(folder: Path) -> bool:
    return tree.child(folder, "p_image") is not None and tree.child(folder, "p_mask") is not None


def _polygons(record: Path, number: str) -> list[list[tuple[float, float]]]:
    """Return the polygons of image ``number`` in a case's XML.

    Raises:
        ImageFileError: the file is no XML, too large, or has a document type.
        ValueError: a polygon text is not JSON of the known form; the message says so.
    """
    found: list[list[tuple[float, float]]] = []
    for image, text in marks(record):
        if image.lstrip("0") != number.lstrip("0") or not text.strip():
            continue
        try:
            regions = json.loads(text)
            found += [[(float(point["x"]), float(point["y"])) for point in region["points"]] for region in regions]
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, RecursionError):
            raise ValueError(f"the polygons in {record.name} are not readable JSON") from None
    return [polygon for polygon in found if len(polygon) >= 3]


def marks(record: Path) -> list[tuple[str, str]]:
    """Return (image number, svg text) of every ``<mark>`` of a case's XML, in order.

    Raises:
        ImageFileError: the file cannot be read, is no XML, is too large, or declares a document type (and with it
            possibly entities that expand without end).
    """
    collector = _Marks()
    parser = expat.ParserCreate()
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.text
    parser.StartDoctypeDeclHandler = collector.refuse
    try:
        if record.stat().st_size > _MAX_XML_BYTES:
            raise ImageFileError(f"{record}: larger than {_MAX_XML_BYTES // 1_000_000} MB, not a case description")
        parser.Parse(record.read_bytes(), True)
    except _DocumentType:
        raise ImageFileError(
            f"{record}: declares a document type, which the dataset's files never do; refused"
        ) from None
    except (expat.ExpatError, OSError) as error:
        raise ImageFileError(f"{record}: not a readable XML file ({error})") from None
    return collector.marks


class _DocumentType(Exception):
    """The XML file has a DOCTYPE."""


class _Marks:
    """Collects the two texts of each ``<mark>`` while the parser runs."""

    def __init__(self) -> None:
        self.marks: list[tuple[str, str]] = []
        self._open: dict[str, list[str]] = {}
        self._here = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "mark":
            self._open = {"image": [], "svg": []}
        self._here = name

    def text(self, data: str) -> None:
        if self._here in self._open:
            self._open[self._here].append(data)

    def end(self, name: str) -> None:
        if name == "mark":
            self.marks.append(("".join(self._open.get("image", [])).strip(), "".join(self._open.get("svg", []))))
            self._open = {}
        self._here = ""

    def refuse(self, *_: Any) -> None:
        raise _DocumentType
