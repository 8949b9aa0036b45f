"""The embedded edition: made once in the user's cache, reused after."""

from __future__ import annotations

import pytest

from dmseg import datasets, phantoms
from dmseg.build import open_benchmark, phantom_benchmark, phantom_raw


@pytest.fixture
def one_set(monkeypatch, tmp_path):
    monkeypatch.setenv("DMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "RECIPES", ("BUSI",))
    return tmp_path / "cache"


def test_the_edition_is_built_once_and_reused(one_set, monkeypatch, tree):
    folder = phantom_benchmark(limit=1)
    assert one_set in folder.parents
    assert len(open_benchmark(folder).images) == 1
    assert open_benchmark(folder).info["synthetic"] == ["BUSI"]
    before = tree(folder / "images")
    monkeypatch.setattr(phantoms, "write_phantoms", lambda *a, **k: pytest.fail("phantoms were written again"))
    assert phantom_benchmark(limit=1) == folder
    assert tree(folder / "images") == before


def test_phantoms_that_were_not_finished_are_completed(one_set, monkeypatch):
    raw = phantom_raw(1)
    monkeypatch.setattr(datasets, "RECIPES", ("BUSI",))
    (raw / "phantom.json").unlink()
    import shutil

    shutil.rmtree(raw / "BUSI")
    assert phantom_raw(1) == raw
    assert (raw / "BUSI").is_dir()
