"""Builds in other processes: number of workers, SIGKILL at any moment, file size limits. Real reader, real files."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from commands import Command, run_at_once

from dmseg.build import build, open_benchmark, verify
from dmseg.errors import MissingDependencyError
from dmseg.rng import Stream

BUILD = "import sys; from dmseg.build import build; sys.exit(build(sys.argv[1], sys.argv[2]).exit_code)"


def command(kvasir, out, *more):
    return ("build", "--raw", kvasir, "--out", out, *more)


@pytest.fixture
def reference(kvasir, tmp_path):
    return build(kvasir, tmp_path / "reference").manifest_digest


def test_two_workers_give_the_same_files_as_one(kvasir, tmp_path, tree, reference):
    assert build(kvasir, tmp_path / "b", jobs=2).manifest_digest == reference
    one, two = ({n: c for n, (c, _) in tree(tmp_path / name).items()} for name in ("reference", "b"))
    assert set(one) == set(two)
    assert [name for name in one if one[name] != two[name] and not name.startswith(".build")] == []
    assert verify(open_benchmark(tmp_path / "b"), jobs=2) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_build_that_is_killed_goes_on_and_gives_the_same_benchmark(kvasir, tmp_path, reference, jobs):
    out = tmp_path / "b"
    stream = Stream("kills", jobs)
    killed = 0
    for _ in range(3):
        process = Command(*command(kvasir, out, "--jobs", jobs))
        time.sleep(stream.uniform(0.02, 0.5 if jobs == 1 else 2.5))
        killed += process.kill()
    assert killed, "no build was caught while it ran; the test measures nothing"
    assert build(kvasir, out).manifest_digest == reference
    assert verify(open_benchmark(out)) == []
    assert not list(out.rglob(".dmseg-tmp-*"))


def test_a_file_size_limit_is_reported_and_the_build_can_be_finished(kvasir, tmp_path, reference):
    import resource

    out = tmp_path / "b"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4000, {resource.RLIM_INFINITY}));"
    caught = f"try:\n    exec({limited + BUILD!r})\nexcept DataError as error:\n    print(error)\n    sys.exit(2)"
    code = f"import sys\nfrom dmseg.errors import DataError\n{caught}"
    process = subprocess.run([sys.executable, "-c", code, str(kvasir), str(out)], capture_output=True, text=True)
    assert process.returncode == 2, process.stderr
    assert "Traceback" not in process.stderr
    assert "File too large" in process.stdout and not (out / "build_report.csv").exists()
    assert build(kvasir, out).manifest_digest == reference


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_benchmark(kvasir, tmp_path, reference):
    pytest.importorskip("distributed", reason="dask is not installed")
    assert build(kvasir, tmp_path / "b", jobs=2, engine="dask").manifest_digest == reference


def test_dask_that_is_not_installed_is_named_with_its_extra(kvasir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"dmseg-bench\[dask\]"):
        build(kvasir, tmp_path / "b", engine="dask")


@pytest.mark.slow
def test_twenty_kills_at_random_moments(kvasir, tmp_path, reference):
    out = tmp_path / "b"
    stream = Stream("twenty kills")
    for _ in range(20):
        process = Command(*command(kvasir, out, "--jobs", "2"))
        time.sleep(stream.uniform(0.0, 3.0))
        process.kill()
        if (out / "benchmark.json").exists():
            assert verify(open_benchmark(out)) == [], "where benchmark.json is, the benchmark is complete"
    assert build(kvasir, out).manifest_digest == reference
    info = json.loads((out / "benchmark.json").read_text())
    assert info["counts"]["images"] == 8


def start_at_once(kvasir, out, options):
    """Run builds that begin at the same moment; return exit code and message of each."""
    return run_at_once(*(command(kvasir, out, "--levels", "clear,lq1", *more) for more in options))


def test_builds_with_other_options_at_once_are_one_benchmark_and_refusals(kvasir, tmp_path):
    out = tmp_path / "b"
    codes, said = start_at_once(kvasir, out, [("--seed", str(seed)) for seed in range(4)])
    assert sorted(codes) == [0, 2, 2, 2], said
    assert json.loads((out / "benchmark.json").read_text())["seed"] == codes.index(0)
    assert all("was begun with seed" in text for code, text in zip(codes, said, strict=True) if code)
    assert verify(open_benchmark(out)) == []


@pytest.mark.slow
def test_sixty_builds_at_once(kvasir, tmp_path):
    expected = build(kvasir, tmp_path / "whole", levels=["clear", "lq1"]).manifest_digest
    for turn in range(5):
        codes, said = start_at_once(kvasir, tmp_path / f"same{turn}", [()] * 6)
        assert codes == [0] * 6, said
        assert open_benchmark(tmp_path / f"same{turn}").digest == expected
        assert not list((tmp_path / f"same{turn}").rglob(".dmseg-tmp-*"))
        limits = [("--limit", str(limit)) for limit in (1, 3, 5)] + [("--seed", str(seed)) for seed in (1, 2, 3)]
        codes, said = start_at_once(kvasir, tmp_path / f"other{turn}", limits)
        assert codes.count(0) >= 1 and set(codes) <= {0, 2}, said
        bench = open_benchmark(tmp_path / f"other{turn}")
        assert verify(bench) == []


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ten_kills_of_the_parent_alone_leave_nothing_and_change_no_byte(kvasir, tmp_path, tree, reference, jobs):
    """Its workers are left to themselves, and must not write into what the next command does."""
    draw, out, killed = Stream("parent kills", jobs), tmp_path / "b", 0
    for _ in range(10):
        process = Command(*command(kvasir, out, "--jobs", jobs))
        time.sleep(draw.uniform(0.0, 3.0))
        killed += process.kill(group=False)
    assert killed
    assert build(kvasir, out).manifest_digest == reference
    one, two = ({n: c for n, (c, _) in tree(tmp_path / name).items()} for name in ("reference", "b"))
    differ = [name for name in {*one, *two} if one.get(name) != two.get(name) and not name.startswith(".build")]
    assert differ == []
