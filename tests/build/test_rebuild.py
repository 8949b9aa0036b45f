"""A manifest gives the same benchmark again, on another machine's files, or the names of what differs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dmseg import simulators
from dmseg.build import build, open_benchmark, rebuild, verify
from dmseg.errors import DataError, UsageError
from dmseg.manifests import read_manifest

from .conftest import write_case


@pytest.fixture
def manifest(raw, tmp_path):
    build(raw, tmp_path / "first", levels=["clear", "lq3"], seed=3)
    return read_manifest(tmp_path / "first")


def test_the_same_sources_give_the_same_benchmark(raw, tmp_path, manifest):
    summary = rebuild(manifest, raw, tmp_path / "b")
    assert summary.manifest_digest == manifest.digest
    assert verify(open_benchmark(tmp_path / "b")) == []
    assert rebuild(manifest, raw, tmp_path / "c", storage="recipe").manifest_digest == manifest.digest


def test_splits_and_subset_are_the_manifest_s_even_where_more_data_is_there(raw, tmp_path, manifest):
    for number in range(20):
        write_case(raw / "Toy", f"more{number}")
    assert rebuild(manifest, raw, tmp_path / "b").manifest_digest == manifest.digest
    assert build(raw, tmp_path / "all", levels=["clear", "lq3"], seed=3).n_images == 50


def test_a_part_of_the_images_is_rebuilt_as_that_part(raw, tmp_path):
    build(raw, tmp_path / "first", levels=["clear"], limit=3)
    manifest = read_manifest(tmp_path / "first")
    assert rebuild(manifest, raw, tmp_path / "b").manifest_digest == manifest.digest


def test_images_with_long_names_are_found(raw, tmp_path):
    write_case(raw / "Toy", "x" * 240)
    write_case(raw / "Toy", "y" * 170)
    build(raw, tmp_path / "first", levels=["clear"])
    manifest = read_manifest(tmp_path / "first")
    assert rebuild(manifest, raw, tmp_path / "b").manifest_digest == manifest.digest


def test_missing_and_changed_sources_are_named_by_their_sha256(raw, tmp_path, manifest):
    shas = {row["source"]: row["source_sha256"] for row in manifest.images.to_pylist()}
    (raw / "Toy" / "case0.npz").unlink()
    content = dict(np.load(raw / "Toy" / "case1.npz"))
    content["image"][0, 0, 0] ^= 1
    np.savez(raw / "Toy" / "case1.npz", **content)
    with pytest.raises(DataError, match="4 sources are missing or differ") as caught:
        rebuild(manifest, raw, tmp_path / "b")
    report = (tmp_path / "b" / "build_report.csv").read_text()
    for text in (str(caught.value), report):
        assert f"missing: the manifest has sha256 {shas['case0.npz#z000']}" in text
        assert f"the manifest has {shas['case1.npz#z001']}" in text
        assert "case2" not in text
    assert not (tmp_path / "b" / "benchmark.json").exists()


def test_a_source_that_cannot_be_read_is_named_with_its_reason(raw, tmp_path, manifest):
    (raw / "Toy" / "case0.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="truncated"):
        rebuild(manifest, raw, tmp_path / "b")


def test_after_the_right_file_is_put_back_the_rebuild_goes_on(raw, tmp_path, manifest):
    path = raw / "Toy" / "case0.npz"
    whole = path.read_bytes()
    path.write_bytes(b"PK")
    with pytest.raises(DataError):
        rebuild(manifest, raw, tmp_path / "b")
    path.write_bytes(whole)
    assert rebuild(manifest, raw, tmp_path / "b").manifest_digest == manifest.digest


def test_other_recipes_and_tables_are_refused_before_anything_is_made(raw, tmp_path, manifest, toy, monkeypatch):
    toy(version=9)
    with pytest.raises(DataError, match=r"made by other rules.*Toy"):
        rebuild(manifest, raw, tmp_path / "b")
    toy()
    monkeypatch.setattr(simulators, "TABLES_VERSION", "99")
    with pytest.raises(DataError, match="degradation tables"):
        rebuild(manifest, raw, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_manifest_that_was_tampered_with_is_not_reproduced(raw, tmp_path, manifest):
    wrong = dataclasses.replace(manifest, info={**manifest.info, "manifest_digest": "0" * 64})
    with pytest.raises(DataError, match="all sources are those of the manifest, yet"):
        rebuild(wrong, raw, tmp_path / "b")


def test_a_folder_of_another_build_is_refused(raw, tmp_path, manifest):
    with pytest.raises(UsageError, match="was begun with manifest"):
        rebuild(manifest, raw, tmp_path / "first")
