"""The embedded edition: made once in the user's cache, reused after."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from dmseg import datasets, imaging, phantoms, simulators
from dmseg.build import open_benchmark, phantom_benchmark, phantom_edition, phantom_raw, run
from dmseg.datasets.synthetic import read_index
from dmseg.errors import DataError


@pytest.fixture
def one_set(monkeypatch, tmp_path):
    monkeypatch.setenv("DMSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "RECIPES", ("BUSI",))
    return tmp_path / "cache"


def test_the_edition_is_built_once_and_not_touched_after(one_set, monkeypatch, tree):
    folder = phantom_benchmark(limit=1)
    assert one_set in folder.parents
    assert len(open_benchmark(folder).images) == 1
    assert open_benchmark(folder).info["synthetic"] == ["BUSI"]
    before = tree(folder)
    monkeypatch.setattr(phantoms, "write_phantoms", lambda *a, **k: pytest.fail("phantoms were written again"))
    assert phantom_benchmark(limit=1) == folder
    assert tree(folder) == before


def test_other_tables_build_another_folder(one_set, monkeypatch):
    folder = phantom_benchmark(limit=1)
    monkeypatch.setattr(simulators, "tables_digest", lambda: "other")
    with pytest.raises(pytest.fail.Exception, match="another one is built"):
        monkeypatch.setattr(run, "build", lambda *a, **k: pytest.fail("another one is built"))
        phantom_benchmark(limit=1)
    assert (folder / "benchmark.json").exists()


def test_an_edition_with_a_failed_image_is_not_kept(one_set, monkeypatch):
    write, written = imaging.write_png, []

    def once(path, image, **named):
        written.append(path)
        if len(written) == 7:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        write(path, image, **named)

    with monkeypatch.context() as patch:
        patch.setattr(imaging, "write_png", once)
        with pytest.raises(DataError, match=r"Input/output error.*the same command goes on"):
            phantom_benchmark(limit=2)
    assert len(open_benchmark(phantom_benchmark(limit=2)).images) == 2


FILL = """
import sys
from dmseg import datasets
datasets.RECIPES = ("BUSI",)
from dmseg.build import open_benchmark, phantom_benchmark, verify
print("ready", flush=True)
sys.stdin.readline()
bench = open_benchmark(phantom_benchmark(limit=2))
print(bench.digest, len(bench.images), verify(bench))
"""


def test_two_processes_fill_a_fresh_cache_at_once(tmp_path):
    environment = os.environ | {"DMSEG_CACHE": str(tmp_path / "cache")}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    both = [subprocess.Popen([sys.executable, "-c", FILL], env=environment, text=True, **pipes) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    answers = [out.split(maxsplit=2) for out, _ in results]
    assert answers[0] == answers[1] and answers[0][1:] == ["2", "[]\n"]
    assert sum(err.count("writing the phantom raw data") for _, err in results) == 1
    assert sum(err.count("build: ") > 0 for _, err in results) == 1
    left = [path.name for path in (tmp_path / "cache").rglob(".dmseg-tmp-*")]
    assert left == []


def test_a_cache_that_cannot_be_locked_is_named(one_set, monkeypatch):
    def refuse(path):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(phantom_edition, "lock", refuse)
    with pytest.raises(DataError, match=r"No locks available.*DMSEG_CACHE"):
        phantom_raw(1)


def test_a_set_that_was_left_without_its_index_is_made_again(one_set):
    (one_set / "phantoms").mkdir(parents=True)
    raw = phantom_raw(1)
    (raw / "phantom.json").unlink()
    assert phantom_raw(1) == raw
    assert any(file.startswith("BUSI/") for file in read_index(raw))


def test_phantoms_that_were_not_finished_are_completed(one_set, monkeypatch):
    raw = phantom_raw(1)
    monkeypatch.setattr(datasets, "RECIPES", ("BUSI",))
    (raw / "phantom.json").unlink()
    import shutil

    shutil.rmtree(raw / "BUSI")
    assert phantom_raw(1) == raw
    assert (raw / "BUSI").is_dir()
