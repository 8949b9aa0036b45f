"""The audited masks of a run: which ones, and how their predictions are kept (``audit.jsonl.gz``).

One JSON record per line, ``{"mask_id", "level", "seed", "step", "rle"}``, sorted; the same predictions give the same
bytes. Anyone can recompute scores and clicks of these masks from them.
"""

from __future__ import annotations

import contextlib
import gzip
import tempfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.canonical import canonical_json
from dmseg.errors import DataError
from dmseg.files import TEMPORARY_PREFIX, atomic_path
from dmseg.imaging import decode_rle, encode_rle
from dmseg.imaging.rle import Rle
from dmseg.reading import parse_json, require_regular, show_name
from dmseg.rng import key_words
from dmseg.schemas import Loose, Number, Record, Text, require_shape

AUDIT_FILE = "audit.jsonl.gz"
PREDICTIONS_FILE = "predictions.jsonl.gz"
"""All predictions of a run, where it was asked to keep them; the same records, never part of a submission."""
SHOWN_FILE = "shown.jsonl.gz"
"""Final predictions of the best, median and worst masks of each split, for pictures; never part of a submission."""
AUDITED_SHARE = 0.02
_MAX_LINE = 1 << 24
_MAX_BYTES = 1 << 32
_SHAPE = Record(
    {
        "mask_id": Text(300, shortest=1),
        "level": Text(20),
        "seed": Number(-(2**63), 2**63 - 1),
        "step": Number(1, 1000),
        "rle": Record({"size": Loose(3), "counts": Loose(1 << 22, 1, _MAX_LINE)}),
    }
)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One kept prediction: where it belongs, and its run-length text."""

    mask_id: str
    level: str
    seed: int
    step: int
    rle: Rle

    def mask(self) -> NDArray[np.bool_]:
        """Return the predicted (H, W) mask; damaged run lengths are a :class:`~dmseg.errors.DataError`."""
        return decode_rle(self.rle)


def is_audited(manifest_digest: str, mask_id: str) -> bool:
    """Tell whether a mask of a benchmark is among the 2 % whose predictions every run keeps."""
    return key_words(manifest_digest, mask_id)[0] < AUDITED_SHARE * 2.0**64


def audit_record(mask_id: str, level: str, seed: int, step: int, prediction: NDArray[np.bool_]) -> AuditRecord:
    """Return the record of one prediction, (H, W) bool."""
    return AuditRecord(mask_id, level, seed, step, encode_rle(prediction))


def write_audit(path: Path, records: Iterable[AuditRecord]) -> None:
    """Write the records, sorted by (level, mask_id, seed, step), atomically."""
    with AuditWriter(path) as writer:
        for record in records:
            writer.add(record)


class AuditWriter(contextlib.AbstractContextManager["AuditWriter"]):
    """Writes an audit file from records in any order; they wait on the disk, their order in memory.

    Attributes:
        number: of records that were added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._order: list[tuple[str, str, int, int, int]] = []
        self.number = 0

    def __enter__(self) -> AuditWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._waiting = tempfile.TemporaryFile(dir=self._path.parent, prefix=TEMPORARY_PREFIX)
        return self

    def add(self, record: AuditRecord) -> None:
        """Add a record."""
        self._order.append((record.level, record.mask_id, record.seed, record.step, self._waiting.tell()))
        fields = {name: getattr(record, name) for name in ("mask_id", "level", "seed", "step", "rle")}
        self._waiting.write((canonical_json(fields) + "\n").encode())
        self.number += 1

    def keep_only(self, mask_ids: Collection[str]) -> None:
        """Write the records of these masks alone, and no file if there are none."""
        self._order = [place for place in self._order if place[1] in mask_ids]
        self.number = len(self._order) or -1

    def forget(self) -> None:
        """Write no file after all."""
        self.number = -1

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        with self._waiting:
            if kind is None and self.number >= 0:
                self._write()

    def _write(self) -> None:
        with (
            atomic_path(self._path) as temporary,
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as stream,
        ):
            for *_, place in sorted(self._order):
                self._waiting.seek(place)
                stream.write(self._waiting.readline())


def read_audit(path: Path) -> Iterator[AuditRecord]:
    """Yield the records of an audit file, line by line; an absent file has none.

    Raises:
        DataError: the file is damaged, or a line is not a record; the message gives file and line.
    """
    try:
        require_regular(path)
    except FileNotFoundError:
        return
    number, left = 0, _MAX_BYTES
    try:
        with gzip.open(path, "rb") as stream:
            while line := stream.readline(_MAX_LINE + 1):
                number, left = number + 1, left - len(line)
                if len(line) > _MAX_LINE or left < 0:
                    raise DataError(f"{show_name(path)} line {number}: larger than any prediction")
                yield _record(line, f"{show_name(path)} line {number}: not an audit record")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{show_name(path)} line {number + 1}: not an audit record ({error})") from None


def _record(line: bytes, where: str) -> AuditRecord:
    fields = parse_json(line, where)
    require_shape(fields, _SHAPE, where)
    rle = Rle(size=fields["rle"]["size"], counts=fields["rle"]["counts"])
    return AuditRecord(fields["mask_id"], fields["level"], fields["seed"], fields["step"], rle)
