"""Compiled functions: the code on disk is that of the source and the signature, whoever else writes and whenever."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dmseg.compiled import CodeFiles

SOURCE = """from dmseg.compiled import compile_function

@compile_function
def double(values):
    return values + values
"""


def files(folder: Path, source: str = "a" * 64) -> CodeFiles:
    return CodeFiles(cache_path=str(folder), filename_base="double-3.py311", source_stamp=source)


def test_two_that_save_at_once_never_take_the_code_of_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read the index before either wrote: one entry may be lost, none is wrong."""
    one, other = files(tmp_path), files(tmp_path)
    before = one._load_index()
    other.save("of whole numbers", b"other")
    monkeypatch.setattr(one, "_load_index", lambda: before)
    one.save("of fractions", b"one")
    assert files(tmp_path).load("of fractions") == b"one"
    assert files(tmp_path).load("of whole numbers") in (None, b"other")


@pytest.mark.parametrize("lost", ["_save_data", "_save_index"])
def test_one_that_is_killed_in_between_leaves_nothing_that_is_read(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    files(tmp_path, "a" * 64).save("of fractions", b"old")
    newer = files(tmp_path, "b" * 64)
    monkeypatch.setattr(newer, lost, die)
    with pytest.raises(KeyboardInterrupt):
        newer.save("of fractions", b"new")
    assert files(tmp_path, "b" * 64).load("of fractions") is None


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("doubling", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_code_is_kept_and_another_source_of_the_same_size_and_time_has_its_own(tmp_path: Path) -> None:
    from dmseg import compiled

    path = tmp_path / "doubling.py"
    path.write_text(SOURCE)
    first = _load(path)
    assert first.double(2) == 4 and first.double(np.ones(2)).tolist() == [2, 2]
    again = _load(path)
    assert again.double(3) == 6 and sum(again.double.stats.cache_hits.values()) == 1
    times = path.stat()
    path.write_text(SOURCE.replace("+", "*"))
    import os

    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    compiled._digest_source.cache_clear()
    assert _load(path).double(3) == 9
