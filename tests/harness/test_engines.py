"""One digest on every engine; many that start at once; what the machine does wrong is no row."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time

import pytest
from commands import Command, run_at_once
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness
from dmseg.errors import MachineError
from dmseg.harness.workers import open_ledger, run_blocks
from dmseg.jobs import write_json
from dmseg.rng import Stream


@pytest.fixture(scope="module")
def digest(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    harness.evaluate("watershed", tiny, folder)
    return harness.run_digest(folder)


def command(tiny, out, *more):
    return ("evaluate", "--model", "watershed", "--data", tiny, "--out", out, *more)


@pytest.mark.slow
def test_two_processes_of_torchrun_that_start_at_once_make_one_run(tiny, tmp_path, digest):
    out = tmp_path / "run"
    ranks = [Command(*command(tiny, out), RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2) for rank in (0, 1)]
    ended = [rank.wait() for rank in ranks]
    assert [code for code, _ in ended] == [0, 0], ended
    assert harness.run_digest(out) == digest
    assert not (out / "parts").exists()


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [None, 600])
def test_a_dask_cluster_gives_the_same_rows(tiny, tmp_path, digest, timeout):
    pytest.importorskip("distributed", reason="dask is not installed")
    harness.evaluate("watershed", tiny, tmp_path / "run", jobs=2, engine="dask", timeout=timeout)
    assert harness.run_digest(tmp_path / "run") == digest


def start_at_once(tiny, out, options):
    return run_at_once(*(command(tiny, out, *more) for more in options))


def test_starts_with_other_options_at_once_are_one_run_and_refusals(tiny, tmp_path):
    codes, said = start_at_once(tiny, tmp_path / "run", [("--seed", str(seed)) for seed in range(4)])
    assert sorted(codes) == [0, 2, 2, 2], said
    winner = codes.index(0)
    assert harness.open_run(tmp_path / "run").info["protocol"]["seed"] == winner
    assert all("holds another run" in text for code, text in zip(codes, said, strict=True) if code)


@pytest.mark.slow
def test_sixty_starts_at_once(tiny, tmp_path, digest):
    for turn in range(5):
        codes, said = start_at_once(tiny, tmp_path / f"same{turn}", [()] * 6)
        assert codes == [0] * 6, said
        assert harness.run_digest(tmp_path / f"same{turn}") == digest
        assert not (tmp_path / f"same{turn}" / "parts").exists()
        codes, said = start_at_once(tiny, tmp_path / f"other{turn}", [("--seed", str(seed)) for seed in range(6)])
        assert sorted(codes) == [0, 2, 2, 2, 2, 2], said
        assert harness.open_run(tmp_path / f"other{turn}").info["protocol"]["seed"] == codes.index(0)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ten_kills_of_the_parent_alone_leave_nothing_and_change_no_row(tiny, tmp_path, digest, jobs):
    """Its workers are left to themselves, and must not write into what the next command does."""
    draw, out, killed = Stream("parent kills", jobs), tmp_path / "run", 0
    while killed < 10:
        process = Command(*command(tiny, out, "--jobs", jobs, "--shard", f"{1 + killed % 2}/2"))
        time.sleep(draw.uniform(0.0, 3.0))
        killed += process.kill(group=False)
        assert not list(out.glob("run.json*")) or harness.run_digest(out) == digest
    harness.evaluate("watershed", tiny, out)
    assert harness.run_digest(out) == digest
    tables = {f"{name}.parquet" for name in ("steps", "prompts", "inputs", "timing")}
    assert {path.name for path in out.iterdir()} == {
        "run.json",
        "environment.json",
        "audit.jsonl.gz",
        "shown.jsonl.gz",
        *tables,
    }


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_image_that_vanishes_stops_the_run_and_is_tried_again(tmp_path, jobs):
    bench = write_tiny_benchmark(tmp_path / "bench", levels=("clear",))
    harness.evaluate("disk", bench, tmp_path / "whole")
    picture = next(bench.rglob("alpha__a2.png"))
    content = picture.read_bytes()
    picture.unlink()
    with pytest.raises(MachineError, match=r"alpha__a2\.png: was built, and is gone.*same command goes on") as error:
        harness.evaluate("disk", bench, tmp_path / "run", jobs=jobs)
    assert error.value.exit_code == 2
    picture.write_bytes(content)
    assert harness.evaluate("disk", bench, tmp_path / "run", jobs=jobs).n_errors == 0
    assert harness.run_digest(tmp_path / "run") == harness.run_digest(tmp_path / "whole")


def test_workers_need_no_index(tiny, tmp_path, monkeypatch):
    """What they are sent holds all that they need: the tables may be away while they work."""
    plan = harness.prepare("disk", tiny, tmp_path / "run")
    sent = pickle.dumps(list(plan.blocks))
    for name in ("read_table", "read_header", "check_tables"):
        monkeypatch.setattr(f"dmseg.build.benchmark.{name}", None)
    with run_blocks(plan.setup, plan.model, pickle.loads(sent), plan.backend) as done:
        assert len(list(done)) == len(plan.blocks)


MERGE = """
import sys
from pathlib import Path
from dmseg import harness
from dmseg.harness.merging import merge
from dmseg.harness.workers import open_ledger, run_blocks
from dmseg.harness.selection import block_name

def memory(field):
    return int(next(line for line in open("/proc/self/status") if line.startswith(field)).split()[1])

plan = harness.prepare("disk", sys.argv[1], sys.argv[2])
names = [block_name(number) for number in range(int(sys.argv[3]))]
before = memory("VmRSS")
merge(plan.setup.out, open_ledger(plan.setup), plan.info, names)
print(memory("VmHWM") - before)
"""


def measure_merge(tiny, out, n_rows):
    """Return by how much a process that merges so many rows grows, in MB; read from VmHWM of that process itself."""
    harness.evaluate("watershed", tiny, out, shard=(1, 2))
    ledger = open_ledger(harness.prepare("watershed", tiny, out).setup)
    part = ledger.read(next(path.name for path in sorted(ledger.folder.glob("block-*"))))
    many = 2000
    for name, rows in part["tables"].items():
        part["tables"][name] = [
            dict(rows[place % len(rows)]) for place in range(many if name == "steps" else many // 5)
        ]
    n_parts = n_rows // many
    for number in range(n_parts):
        for place, row in enumerate(part["tables"]["steps"]):
            row["mask_id"] = f"alpha__{number}__disc__{place // 25}"
        ledger.write(f"block-{number:07d}.json.gz", part, sync=False)
    write_json(ledger.folder / "run.json", {})
    arguments = [sys.executable, "-c", MERGE, str(tiny), str(out), str(n_parts)]
    return int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout) / 1024


@pytest.mark.slow
def test_merging_holds_few_rows_at_a_time(tiny, tmp_path):
    small, large = (measure_merge(tiny, tmp_path / str(n), n) for n in (40_000, 160_000))
    assert large < small + 60, "120,000 rows more, which took 4.2 kB each"


@pytest.mark.slow
def test_a_million_rows_are_merged_in_less_than_500_mb(tiny, tmp_path):
    grown = measure_merge(tiny, tmp_path / "run", 1_000_000)
    print(f"a million rows: {grown:.0f} MB above the start")
    assert grown < 500
