"""Parts: what the build knows of one source once it is done, one JSON file each, written when its images are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dmseg.build.folder import BenchmarkFolder
from dmseg.build.raw import FileState
from dmseg.manifests import image_id

Row = dict[str, Any]

LEFT_OUT, SMALL_OBJECT, ERROR = "left_out", "small_object", "error"
"""Kinds of rows in build_report.csv."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row of build_report.csv: ``n`` things of a kind (image left out, small objects, source that failed)."""

    dataset: str
    source: str
    kind: str
    n: int
    reason: str


@dataclass(frozen=True, slots=True)
class BuildPart:
    """The result of one source.

    Attributes:
        key: digest of everything that the result depends on; another key means the source is done again.
        files: root-relative path -> state of the source's files.
        images, masks, degradations: rows of the manifest tables, without ``split`` and ``evaluate``.
        report: rows of build_report.csv.
    """

    key: str
    files: Mapping[str, FileState]
    images: list[Row] = field(default_factory=list)
    masks: list[Row] = field(default_factory=list)
    degradations: list[Row] = field(default_factory=list)
    report: list[ReportRow] = field(default_factory=list)

    @property
    def errors(self) -> list[ReportRow]:
        """The rows that say why the source failed; a failed source is tried again by the next build."""
        return [row for row in self.report if row.kind == ERROR]


def part_name(dataset: str, source_id: str) -> str:
    """Return where the ledger of a build keeps the part of one source."""
    return f"parts/{dataset}/{image_id(dataset, source_id)}.json"


def write_part(folder: BenchmarkFolder, name: str, part: BuildPart) -> None:
    """Keep a part. It is not synced: one that a power cut damages does not parse and is done again."""
    folder.ledger.write(name, part, sync=False)


def read_part(folder: BenchmarkFolder, name: str) -> BuildPart | None:
    """Read a part; None where there is none, or where it was written by another version of this format."""
    values = folder.ledger.read(name)
    try:
        values["files"] = {name: FileState(**state) for name, state in values["files"].items()}
        values["report"] = [ReportRow(**row) for row in values["report"]]
        return BuildPart(**values)
    except (TypeError, KeyError, AttributeError):
        return None
