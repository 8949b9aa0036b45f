"""The commands summary, compare, selfcheck and presets."""

from __future__ import annotations

import csv

import pytest
from synthetic_runs import write_run
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness, protocol
from dmseg.imaging import image_header


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return write_run(folder / "a", "alpha", quality=0.8, failed=1), write_run(folder / "b", "beta", quality=0.9)


def test_summary_prints_markdown_and_says_that_rows_failed(run, runs):
    code, out, err = run("summary", runs[0])
    assert code == 0 and "| Dice lost" in out and "alpha, unseen" in out and len(out.splitlines()) <= 32
    full = run("summary", runs[0], "--full")[1]
    assert "| Method" in full and "NoC@80" in full and "**unseen" in full
    assert "3 rows have errors" in err and "next: dmseg report" in err


@pytest.mark.parametrize(("form", "first"), [("latex", r"\begin{table}"), ("csv", "model,split,over")])
def test_summary_writes_a_file(run, runs, tmp_path, form, first):
    code, out, _ = run("summary", runs[1], "--format", form, "-o", tmp_path / "t")
    assert code == 0 and out == f"wrote {tmp_path / 't'}\n"
    assert (tmp_path / "t").read_text().startswith(first)


def test_summary_draws_the_worst_cases(run, tmp_path):
    bench = write_tiny_benchmark(tmp_path / "bench", levels=("clear", "lq3"))
    harness.evaluate("disk", bench, tmp_path / "run")
    code, out, err = run("summary", tmp_path / "run", "--worst", tmp_path / "w.png", "--data", bench)
    assert code == 0 and "| Dice" in out and f"wrote {tmp_path / 'w.png'}" in err
    assert image_header(tmp_path / "w.png")[1] > 2 * 240
    bench.rename(tmp_path / "elsewhere")
    code, _, err = run("summary", tmp_path / "run", "--worst", tmp_path / "x.png")
    assert code == 2 and "--data BENCH" in err and not (tmp_path / "x.png").exists()


def test_summary_and_report_take_several_runs(run, runs, tmp_path):
    code, out, _ = run("summary", *runs)
    assert code == 0 and "alpha" in out and "beta" in out and "drop" in out
    code, out, _ = run("summary", *runs, "--by", "size")
    assert code == 0 and "by size" in out and "alpha" in out.splitlines()[2]
    code, out, _ = run("report", *runs, "--out", tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text()
    assert code == 0 and "2 models" in page and "dmseg evaluate --model" in page and "<svg" in page
    code, _, err = run("summary", *runs, "--worst", tmp_path / "w.png")
    assert code == 2 and "one run" in err


def test_summary_by_what_is_not_known_is_refused(run, runs):
    code, _, err = run("summary", runs[0], "--by", "operation")
    assert code == 2 and "--data BENCH" in err
    code, _, err = run("summary", runs[0], "--by", "modalty")
    assert code == 2 and 'did you mean "modality"' in err


def test_compare_prints_and_writes_differences(run, runs, tmp_path):
    code, out, _ = run("compare", *runs, "-o", tmp_path / "d.csv")
    assert code == 0 and "beta" in out.splitlines()[0] and "minus alpha" in out.splitlines()[0]
    with (tmp_path / "d.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(out.splitlines()) - 3
    assert {row["verdict"] for row in rows if row["by"] == "level"} == {"+"}


def test_runs_that_are_none_are_one_message(run, runs, tmp_path):
    for command in (("summary", tmp_path), ("compare", tmp_path, runs[0])):
        code, _, err = run(*command)
        assert code == 2 and "no run.json there" in err
    code, _, err = run("compare", *runs, "--metric", "dise")
    assert code == 2 and 'did you mean "dice"' in err


def test_selfcheck_has_one_verdict_per_line(run, tmp_path):
    code, out, _ = run("selfcheck", "--model", "disk", "--model-arg", "radius=0.2")
    assert code == 0 and "ok       determinism" in out and "next: dmseg evaluate --model disk" in out
    (tmp_path / "m.py").write_text("import numpy as np\ndef deaf(image, *rest):\n    return image[..., 0] - 100.0\n")
    code, out, _ = run("selfcheck", "--model", f"{tmp_path}/m.py:deaf")
    assert code == 1 and "failed   uses points" in out


def test_presets_are_listed_with_their_needs(run):
    code, out, _ = run("presets")
    assert code == 0
    for preset in protocol.PRESETS.values():
        assert f"{preset.id:<13}{preset.steps:>5}" in out
    assert protocol.PROTOCOL_ID in out
