"""Manifests on disk: what is written is read back; whatever is wrong is said by name."""

from __future__ import annotations

import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dmseg.errors import DataError, UsageError
from dmseg.manifests import (
    TABLES,
    arrow_schema,
    edition_of,
    find_published,
    list_published,
    manifest_digest,
    read_manifest,
    write_manifest,
)


@pytest.mark.parametrize("name", ["folder", "manifest.zip"])
def test_what_is_written_is_read_back(make, tmp_path, name):
    manifest = make()
    write_manifest(tmp_path / name, manifest)
    again = read_manifest(tmp_path / name)
    assert again.info == manifest.info
    for table in TABLES:
        assert again.tables[table].equals(manifest.tables[table])
        assert again.tables[table].schema.metadata[b"dmseg_schema_version"] == b"1"


def test_two_zips_of_one_manifest_are_equal_byte_for_byte(make, tmp_path):
    for name in ("a.zip", "b.zip"):
        write_manifest(tmp_path / name, make())
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_nothing_temporary_is_left(make, tmp_path):
    write_manifest(tmp_path / "m", make())
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "benchmark.json",
        "degradations.parquet",
        "images.parquet",
        "masks.parquet",
    ]


def test_an_unknown_schema_version_is_refused_by_name(make, tmp_path):
    write_manifest(tmp_path / "m", make(schema_version=7))
    with pytest.raises(DataError, match=r"schema_version 7 is unknown.*reads 1"):
        read_manifest(tmp_path / "m")


def test_an_unknown_schema_version_of_a_table_is_refused(make, tmp_path):
    manifest = make()
    write_manifest(tmp_path / "m", manifest)
    table = manifest.images.replace_schema_metadata({"dmseg_schema_version": "9"})
    pq.write_table(table, tmp_path / "m" / "images.parquet")
    with pytest.raises(DataError, match=r"images\.parquet.*'9' is unknown"):
        read_manifest(tmp_path / "m")


def test_a_table_without_a_version_is_no_error(make, tmp_path):
    write_manifest(tmp_path / "m", make())
    pq.write_table(make().images.replace_schema_metadata({}), tmp_path / "m" / "images.parquet")
    assert read_manifest(tmp_path / "m").images.num_rows == 3


@pytest.mark.parametrize("table", list(TABLES))
def test_missing_columns_are_named(make, tmp_path, table):
    manifest = make()
    write_manifest(tmp_path / "m", manifest)
    gone = [column.name for column in TABLES[table] if not column.sparse][-2:]
    pq.write_table(manifest.tables[table].drop_columns(gone), tmp_path / "m" / f"{table}.parquet")
    with pytest.raises(DataError, match=rf"{table}\.parquet: missing column\(s\): {', '.join(gone)}"):
        read_manifest(tmp_path / "m")


def test_further_columns_are_ignored(make, tmp_path):
    manifest = make()
    write_manifest(tmp_path / "m", manifest)
    wider = manifest.images.append_column("later", pa.array([1, 2, 3]))
    pq.write_table(wider, tmp_path / "m" / "images.parquet")
    assert read_manifest(tmp_path / "m").images.schema.names == arrow_schema("images").names


def test_a_column_of_another_type_is_refused(make, tmp_path):
    manifest = make()
    write_manifest(tmp_path / "m", manifest)
    position = manifest.images.column_names.index("height")
    wrong = manifest.images.set_column(position, "height", pa.array(["a", "b", "c"]))
    pq.write_table(wrong, tmp_path / "m" / "images.parquet")
    with pytest.raises(DataError, match="another type"):
        read_manifest(tmp_path / "m")


@pytest.mark.parametrize("key", ["manifest_digest", "levels", "recipes"])
def test_missing_keys_of_the_header_are_named(make, tmp_path, key):
    write_manifest(tmp_path / "m", make())
    path = tmp_path / "m" / "benchmark.json"
    info = json.loads(path.read_text())
    del info[key]
    path.write_text(json.dumps(info))
    with pytest.raises(DataError, match=f"missing key.*{key}"):
        read_manifest(tmp_path / "m")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"a": 1}'])
def test_a_damaged_header_is_one_clear_error(make, tmp_path, content):
    write_manifest(tmp_path / "m", make())
    (tmp_path / "m" / "benchmark.json").write_bytes(content)
    with pytest.raises(DataError, match=r"benchmark\.json"):
        read_manifest(tmp_path / "m")


def test_a_truncated_table_is_one_clear_error(make, tmp_path):
    write_manifest(tmp_path / "m", make())
    path = tmp_path / "m" / "masks.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"masks\.parquet: not a readable Parquet file"):
        read_manifest(tmp_path / "m")


def test_a_folder_without_a_header_is_not_finished(tmp_path):
    with pytest.raises(DataError, match=r"benchmark\.json is missing.*dmseg build"):
        read_manifest(tmp_path)


def test_a_missing_path_and_a_file_that_is_no_zip(tmp_path):
    with pytest.raises(DataError, match="no such folder or file"):
        read_manifest(tmp_path / "nowhere")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(DataError, match="not a manifest"):
        read_manifest(tmp_path / "text.zip")


def test_a_zip_without_a_table_and_a_damaged_zip(make, tmp_path):
    with zipfile.ZipFile(tmp_path / "part.zip", "w") as archive:
        archive.writestr("benchmark.json", json.dumps(dict(make().info)))
    with pytest.raises(DataError, match=r"images\.parquet is missing"):
        read_manifest(tmp_path / "part.zip")
    write_manifest(tmp_path / "m.zip", make())
    content = bytearray((tmp_path / "m.zip").read_bytes())
    content[200:240] = bytes(40)
    (tmp_path / "m.zip").write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_manifest(tmp_path / "m.zip")


def test_a_digest_nobody_published_is_local():
    assert edition_of("0123456789abcdef" * 4) == ("local", "0+01234567")


def test_an_unknown_published_manifest_is_refused():
    with pytest.raises(UsageError, match="unknown published manifest"):
        find_published("dm-seg-99")


@pytest.mark.parametrize("name", list_published())
def test_published_manifests_are_what_they_say(name):
    manifest = find_published(name)
    assert manifest_digest(manifest.info, manifest.tables) == manifest.digest
    assert name == f"{manifest.info['edition']}-{manifest.info['version']}"
    assert edition_of(manifest.digest) == (manifest.info["edition"], manifest.info["version"])
    assert manifest.degradations["pixel_sha256"].null_count == manifest.degradations.num_rows
