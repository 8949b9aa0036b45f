"""The commands merge, info, splits, manifest and export, and what build takes beside its common options."""

from __future__ import annotations

import json

import pytest

from dmseg import phantoms
from dmseg.build import open_benchmark
from dmseg.cli import main


def leave(*arguments) -> int:
    """Run the command line and return its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    phantoms.write_phantoms(folder, per_dataset=2, datasets=["BUSI", "Kvasir-SEG"])
    return folder


@pytest.fixture(scope="module")
def bench(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "bench"
    assert leave("build", "--raw", raw, "--out", folder, "--levels", "clear,lq1") == 0
    return folder


def test_export_diff_and_rebuild(raw, bench, tmp_path, capsys):
    assert leave("manifest", "export", bench, "-o", tmp_path / "m.zip", "--edition", "mine", "--version", "2.0") == 0
    assert "mine 2.0" in capsys.readouterr().out
    assert leave("manifest", "diff", bench, tmp_path / "m.zip") == 0
    assert "the same benchmark" in capsys.readouterr().out
    assert leave("build", "--raw", raw, "--out", tmp_path / "again", "--manifest", tmp_path / "m.zip") == 0
    assert open_benchmark(tmp_path / "again").digest == open_benchmark(bench).digest


def test_a_difference_gives_exit_code_1(raw, bench, tmp_path, capsys):
    assert leave("build", "--raw", raw, "--out", tmp_path / "c", "--levels", "clear,lq1", "--seed", 1) == 0
    assert leave("manifest", "diff", bench, tmp_path / "c") == 1
    out = capsys.readouterr().out
    assert "seed: 0 -> 1" in out
    assert "in degradations.parquet" in out


def test_shards_and_merge(raw, bench, tmp_path, capsys):
    for shard in ("1/2", "2/2"):
        assert leave("build", "--raw", raw, "--out", tmp_path / "b", "--levels", "clear,lq1", "--shard", shard) == 0
    assert f"dmseg merge {tmp_path / 'b'}" in capsys.readouterr().out
    assert leave("merge", tmp_path / "b") == 0
    assert open_benchmark(tmp_path / "b").digest == open_benchmark(bench).digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--manifest", "x", "--seed", "1"), "--manifest cannot be combined with --seed"),
        (("--manifest", "x", "--datasets", "BUSI", "--limit", "2"), "cannot be combined with --datasets, --limit"),
        (("--shard", "1/2", "--dry-run"), "--shard cannot be combined with --dry-run"),
        (("--shard", "two"), "--shard two: give i/n"),
        (("--shard", "3/2"), "give i/n with i of 1..n"),
        (("--storage", "jpg"), 'unknown storage "jpg"'),
        (("--engine", "spark"), 'unknown engine "spark"'),
        (("--manifest", "nowhere"), "no published manifest of that name"),
    ],
)
def test_options_that_make_no_sense(raw, tmp_path, capsys, arguments, message):
    assert leave("build", "--raw", raw, "--out", tmp_path / "b", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_info_prints_tables_and_draws_the_histogram(bench, tmp_path, capsys):
    assert leave("info", bench, "--histogram", tmp_path / "h.png") == 0
    out = capsys.readouterr().out
    for text in ("dataset", "modality", "split", "lq1", "endoscopy", "synthetic: BUSI, Kvasir-SEG"):
        assert text in out
    assert (tmp_path / "h.png").stat().st_size > 1000


def test_splits_show_the_paper(bench, capsys):
    assert leave("splits", bench) == 0
    out = capsys.readouterr().out
    assert "36033" in out
    assert "Kvasir-SEG" in out


def test_export_writes_coco(bench, tmp_path, capsys):
    assert leave("export", bench, "-o", tmp_path / "c.json", "--level", "lq1", "--split", "unseen") == 0
    document = json.loads((tmp_path / "c.json").read_text())
    assert {image["dataset"] for image in document["images"]} == {"Kvasir-SEG"}
    assert leave("export", bench, "-o", tmp_path / "c.json", "--level", "lq9") == 2
    assert "did you mean" in capsys.readouterr().err


def test_each_command_has_an_example(capsys):
    for name in ("merge", "info", "splits", "manifest", "export"):
        assert leave(name, "--help") == 0
        assert f"dmseg {name} " in capsys.readouterr().out.split("Example", 1)[1]
