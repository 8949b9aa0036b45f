"""Croissant 1.1 metadata (MLCommons): the files of a published folder, with their columns as record sets."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dmseg.build.citation import PAPER
from dmseg.build.published import DATA_FOLDER
from dmseg.files import sha256_file
from dmseg.publish.card import PAPER_URL

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_PARQUET = "application/x-parquet"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def describe_tables(out: Path, name: str, creator: str, date: datetime.date, files: Sequence[Path]) -> dict[str, Any]:
    """Return the JSON-LD of a folder whose content is Parquet tables.

    One record set a file. Columns of lists and binary hashes are left out: Croissant has no words for them.

    Args:
        out: the folder; the metadata lies in it, so paths are relative to it.
        files: the tables, below ``out``.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": f"{name}: interactive segmentation of degraded medical images, made with dmseg.",
        "license": "README.md says the licence of each part",
        "url": PAPER_URL,
        "citeAs": PAPER,
        "version": "1.0.0",
        "datePublished": date.isoformat(),
        "creator": {"@type": "sc:Organization", "name": creator},
        "distribution": [_file(out, path) for path in files],
        "recordSet": [_record_set(out, path) for path in files],
    }


def _file(out: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(out).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": _PARQUET,
        "sha256": sha256_file(path),
    }


def _record_set(out: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(out).as_posix()
    short = name.removeprefix(f"{DATA_FOLDER}/").removesuffix(".parquet")
    columns = ((field.name, _kind(field)) for field in pq.read_schema(path))
    return {
        "@type": "cr:RecordSet",
        "@id": short,
        "name": short,
        "field": [_field(short, name, column, kind) for column, kind in columns if kind],
    }


def _field(record_set: str, file: str, column: str, kind: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileObject": {"@id": file}, "extract": {"column": column}}
    if kind == "sc:ImageObject":
        source["transform"] = {"jsonPath": "bytes"}
    identifier = f"{record_set}/{column}"
    return {"@type": "cr:Field", "@id": identifier, "name": identifier, "dataType": kind, "source": source}


def _kind(field: pa.Field) -> str:
    """Return the data type of a column, empty where it is left out."""
    if pa.types.is_struct(field.type):
        return "sc:ImageObject"
    if pa.types.is_string(field.type):
        return "sc:Text"
    if pa.types.is_boolean(field.type):
        return "sc:Boolean"
    if pa.types.is_integer(field.type):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(field.type) else ""
