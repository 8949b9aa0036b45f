"""Manifests on disk: ``benchmark.json`` and three Parquet tables, in a folder or a zip, written whole and checked."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from dmseg.errors import DataError
from dmseg.files import atomic_path, write_text
from dmseg.manifests.columns import SCHEMA_VERSION, TABLES, arrow_schema, drop_empty, fill_absent, list_sparse
from dmseg.manifests.shape import HEADER, check_values
from dmseg.naming import require_id
from dmseg.reading import parse_json, read_regular, require_regular
from dmseg.schemas import require_shape

HEADER_FILE = "benchmark.json"
_HEADER_KEYS = (
    "schema_version",
    "edition",
    "version",
    "seed",
    "levels",
    "recipes",
    "degradation_tables",
    "counts",
    "manifest_digest",
    "plan_digest",
    "created_with",
)
_MAX_ZIP_MEMBER = 4 * 2**30
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Manifest:
    """A manifest in memory: ``info`` is benchmark.json, the tables are Arrow tables with the documented columns."""

    info: Mapping[str, Any]
    images: pa.Table
    masks: pa.Table
    degradations: pa.Table

    @property
    def tables(self) -> dict[str, pa.Table]:
        """The three tables by name."""
        return {"images": self.images, "masks": self.masks, "degradations": self.degradations}

    @property
    def digest(self) -> str:
        """``manifest_digest`` as benchmark.json states it (64 hex digits)."""
        return str(self.info["manifest_digest"])


def write_tables(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write the three Parquet tables into ``folder``, each atomically."""
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.parquet") as temporary:
            pq.write_table(_prepare_for_file(name, table), temporary, compression="zstd")


def _prepare_for_file(name: str, table: pa.Table) -> pa.Table:
    return drop_empty(name, fill_absent(name, table).cast(arrow_schema(name)))


def write_header(folder: Path, info: Mapping[str, Any]) -> None:
    """Write ``benchmark.json`` atomically. It comes last: where it is, the folder is complete."""
    write_text(folder / HEADER_FILE, json.dumps(info, indent=2, ensure_ascii=False) + "\n")


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest to a folder, or to a zip where ``path`` ends in ``.zip`` (same content, same bytes)."""
    if path.suffix.lower() != ".zip":
        (path / HEADER_FILE).unlink(missing_ok=True)  # until the new one is there, the folder is no manifest
        write_tables(path, manifest.tables)
        write_header(path, manifest.info)
        return
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, table in manifest.tables.items():
            buffer = io.BytesIO()
            pq.write_table(_prepare_for_file(name, table), buffer, compression="zstd")
            archive.writestr(zipfile.ZipInfo(f"{name}.parquet", _ZIP_TIME), buffer.getvalue())
        text = json.dumps(manifest.info, indent=2, ensure_ascii=False) + "\n"
        archive.writestr(zipfile.ZipInfo(HEADER_FILE, _ZIP_TIME), text)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest from a folder (also a benchmark folder) or a zip.

    Raises:
        DataError: not there, not a manifest, a schema version this dmseg does not know, or columns that are missing or
            of another type; the message names file and columns.
    """
    if path.is_dir():
        return _read(str(path), lambda name: _folder_member(path, name))
    try:
        require_regular(path)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such folder or file; give a benchmark folder, a manifest folder or a manifest zip"
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(str(path), lambda name: _zip_member(archive, name))
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise DataError(f"{path}: not a manifest: {error}; give a folder or a zip that holds {HEADER_FILE}") from None


def read_header(folder: Path) -> dict[str, Any]:
    """Read and check ``benchmark.json`` of a folder; errors as :func:`read_manifest`."""
    return _header(_folder_member(folder, HEADER_FILE), f"{folder / HEADER_FILE}")


def read_table(folder: Path, name: str, columns: Sequence[str]) -> pa.Table:
    """Read some columns of one table of a manifest folder; errors as :func:`read_manifest`."""
    where = f"{folder}/{name}.parquet"
    with _open(folder, name) as stream:
        return _table(name, stream, where, columns)


def check_tables(folder: Path) -> None:
    """Check that the three tables of a folder are there with their columns; only their footers are read."""
    for name in TABLES:
        with _open(folder, name) as stream:
            _open_parquet(name, stream, f"{folder}/{name}.parquet")


@contextlib.contextmanager
def _open(folder: Path, name: str) -> Iterator[BinaryIO]:
    try:
        require_regular(folder / f"{name}.parquet")
        stream = (folder / f"{name}.parquet").open("rb")
    except OSError as error:
        raise _unreadable(folder, f"{name}.parquet", error) from None
    with stream:
        yield stream


def _read(where: str, member: Callable[[str], bytes]) -> Manifest:
    info = _header(member(HEADER_FILE), f"{where}/{HEADER_FILE}")
    tables = {name: _table(name, io.BytesIO(member(f"{name}.parquet")), f"{where}/{name}.parquet") for name in TABLES}
    return Manifest(info, **tables)


def _folder_member(folder: Path, name: str) -> bytes:
    try:
        return read_regular(folder / name, limit=_MAX_ZIP_MEMBER)
    except OSError as error:
        raise _unreadable(folder, name, error) from None


def _unreadable(folder: Path, name: str, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        reason = "the folder is no finished benchmark and no manifest; run the same `dmseg build` command to finish it"
        return DataError(f"{folder}: {name} is missing: {reason}")
    return DataError(f"{folder / name}: cannot be read: {error.strerror}")


def _zip_member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise DataError(f"{archive.filename}: {name} is missing, so this zip is no manifest") from None
    if entry.file_size > _MAX_ZIP_MEMBER:
        raise DataError(f"{archive.filename}: {name} claims {entry.file_size} bytes; at most {_MAX_ZIP_MEMBER}")
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive.filename}: {name} cannot be unpacked: {error}") from None


def _header(content: bytes, where: str) -> dict[str, Any]:
    info = parse_json(content, where)
    if not isinstance(info, dict) or "schema_version" not in info:
        raise DataError(f'{where}: not a manifest: key "schema_version" is missing')
    if info["schema_version"] != SCHEMA_VERSION:
        raise DataError(
            f"{where}: schema_version {info['schema_version']!r} is unknown to this dmseg, "
            f"which reads {SCHEMA_VERSION}; install the dmseg version that wrote it, or build the benchmark again"
        )
    missing = [key for key in _HEADER_KEYS if key not in info]
    if missing:
        raise DataError(f"{where}: missing key(s): {', '.join(missing)}")
    require_shape(info, HEADER, where)
    for name in info["recipes"]:
        require_id(name, f"{where}: recipes")
    return info


def _table(name: str, stream: BinaryIO, where: str, columns: Sequence[str] | None = None) -> pa.Table:
    file = _open_parquet(name, stream, where)
    schema = arrow_schema(name)
    names = list(columns or schema.names)
    absent = set(list_sparse(name)) - set(file.schema_arrow.names)
    stored = [column for column in names if column not in absent]
    chosen = pa.schema([schema.field(column) for column in stored], metadata=schema.metadata)
    try:
        table = file.read(stored).select(stored).cast(chosen)
        table.validate(full=True)  # text that is no UTF-8
        check_values(table, where)
        return fill_absent(name, table).select(names) if absent & set(names) else table
    except OSError as error:
        raise DataError(f"{where}: not a readable Parquet file: {error}") from None
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{where}: a column has another type than documented: {error}") from None


def _open_parquet(name: str, stream: BinaryIO, where: str) -> pq.ParquetFile:
    """Open one table, and check its schema version and that no column is missing."""
    try:
        file = pq.ParquetFile(stream)
        found = file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{where}: not a readable Parquet file: {error}") from None
    metadata = found.metadata or {}
    version = metadata.get(b"dmseg_schema_version", str(SCHEMA_VERSION).encode()).decode("utf-8", "replace")
    if version != str(SCHEMA_VERSION):
        raise DataError(f"{where}: schema_version {version!r} is unknown to this dmseg, which reads {SCHEMA_VERSION}")
    needed = [column for column in arrow_schema(name).names if column not in list_sparse(name)]
    missing = [column for column in needed if column not in found.names]
    if missing:
        raise DataError(f"{where}: missing column(s): {', '.join(missing)}; it has {', '.join(found.names)}")
    return file
