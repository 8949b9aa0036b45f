"""One digest for any jobs, shards, order, batch, or interruption; and a folder never mixes two runs."""

from __future__ import annotations

import json
import threading
import time

import pytest
from commands import Command
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness
from dmseg.errors import DataError, UsageError
from dmseg.harness.selection import block_name
from dmseg.harness.workers import open_ledger
from dmseg.rng import Stream

# A model that takes its time, so that a run can be killed half-way.
SLOW = """
import time
from dmseg.baselines import load_model

class Slow:
    name = "slow-disk"
    capabilities = frozenset({"points", "negative_points", "box", "batched_prompts"})

    def __init__(self, seconds=0.0):
        self._disk, self._seconds = load_model("disk"), seconds

    def encode(self, images):
        time.sleep(self._seconds)
        return self._disk.encode(images)

    def predict(self, *given):
        return self._disk.predict(*given)
"""


@pytest.fixture(scope="module")
def digest(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    harness.evaluate("watershed", tiny, folder)
    return harness.run_digest(folder)


def test_worker_processes_give_the_same_rows(tiny, tmp_path, digest):
    summary = harness.evaluate("watershed", tiny, tmp_path / "run", jobs=2)
    assert summary.finished and harness.run_digest(tmp_path / "run") == digest


@pytest.mark.parametrize("options", [{"batch_images": 3}, {"batch_images": 100, "chunk": 1}, {"chunk": 32}])
def test_batch_and_chunk_do_not_matter_to_a_model_without_weights(tiny, tmp_path, digest, options):
    harness.evaluate("watershed", tiny, tmp_path / "run", **options)
    assert harness.run_digest(tmp_path / "run") == digest


def test_the_order_of_the_benchmark_s_rows_does_not_matter(tiny, tmp_path, digest):
    other = write_tiny_benchmark(tmp_path / "bench", reverse=True)
    harness.evaluate("watershed", other, tmp_path / "run")
    assert harness.run_digest(tmp_path / "run") == digest


def test_shards_in_any_order_make_the_whole(tiny, tmp_path, digest):
    summaries = [harness.evaluate("watershed", tiny, tmp_path / "run", shard=(i, 3)) for i in (3, 1, 2)]
    assert [summary.finished for summary in summaries] == [False, False, True]
    assert [summary.blocks_left for summary in summaries] == [17, 8, 0]
    assert harness.run_digest(tmp_path / "run") == digest


def test_a_run_begun_as_shards_is_finished_without(tiny, tmp_path, digest):
    harness.evaluate("watershed", tiny, tmp_path / "run", shard=(2, 4))
    with pytest.raises(DataError, match="not finished; run the same dmseg evaluate command"):
        harness.open_run(tmp_path / "run")
    harness.evaluate("watershed", tiny, tmp_path / "run", shard=(1, 2))
    harness.evaluate("watershed", tiny, tmp_path / "run")
    assert harness.run_digest(tmp_path / "run") == digest
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert [session["shard"] for session in environment["sessions"]] == ["2/4", "1/2", "1/1"]


def test_torchrun_s_variables_are_a_shard(tiny, tmp_path, digest, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        harness.evaluate("watershed", tiny, tmp_path / "run")
    assert harness.run_digest(tmp_path / "run") == digest
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(UsageError, match="RANK=first"):
        harness.evaluate("watershed", tiny, tmp_path / "other")


@pytest.mark.parametrize("seed", range(3))
def test_parts_lost_at_random_are_done_again(tiny, tmp_path, digest, seed):
    plan = harness.prepare("watershed", tiny, tmp_path / "run")
    ledger = open_ledger(plan.setup)
    harness.evaluate("watershed", tiny, tmp_path / "run", shard=(2, 2))
    kept = sorted(ledger.folder.glob("block-*"))
    for path in Stream("test-lost-parts", seed).sample(kept, 5):
        path.unlink()
    assert len(ledger.find_missing(map(block_name, range(len(plan.blocks))))) == 13 + 5
    harness.evaluate("watershed", tiny, tmp_path / "run")
    assert harness.run_digest(tmp_path / "run") == digest


def test_a_damaged_part_is_named_and_done_again(tiny, tmp_path, digest):
    harness.evaluate("watershed", tiny, tmp_path / "run", shard=(1, 2))
    part = sorted((tmp_path / "run" / "parts").glob("block-*"))[3]
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(DataError, match=r"block-0000006\.json\.gz was damaged.*run the same command again"):
        harness.evaluate("watershed", tiny, tmp_path / "run")
    harness.evaluate("watershed", tiny, tmp_path / "run")
    assert harness.run_digest(tmp_path / "run") == digest


def start(tiny, model, out, *more, seconds=0.03):
    named = ("--model", f"{model}:Slow", "--model-arg", f"seconds={seconds}", "--data", tiny, "--out", out)
    return Command("evaluate", *named, *more)


def kill_after(process, out, n_parts):
    """Send SIGKILL to the process and its workers once so many parts are there."""
    end = time.monotonic() + 60
    while len(list(out.glob("parts/block-*"))) < n_parts and process.is_running and time.monotonic() < end:
        time.sleep(0.005)
    assert process.kill(), "the run was over before it could be killed"


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.slow
def test_killed_half_way_and_started_again(tiny, tmp_path, jobs):
    model = tmp_path / "slow.py"
    model.write_text(SLOW)
    arguments = {"arguments": {"seconds": 0.03}}
    harness.evaluate(f"{model}:Slow", tiny, tmp_path / "whole", **arguments)
    out = tmp_path / "killed"
    kill_after(start(tiny, model, out, "--jobs", str(jobs)), out, 4)
    done = len(list(out.glob("parts/block-*")))
    assert 4 <= done < 25
    harness.evaluate(f"{model}:Slow", tiny, out, **arguments)
    assert harness.run_digest(out) == harness.run_digest(tmp_path / "whole")
    assert not list(out.glob("**/.dmseg-tmp-*")) and not (out / "parts").exists()


@pytest.mark.slow
def test_killed_twenty_times_and_finished_with_another_number_of_shards(tiny, tmp_path):
    model = tmp_path / "slow.py"
    model.write_text(SLOW)
    arguments = {"arguments": {"seconds": 0.1}}
    harness.evaluate(f"{model}:Slow", tiny, tmp_path / "whole", **arguments)
    out, draw, killed = tmp_path / "killed", Stream("test-kill"), 0
    while killed < 20:
        n = draw.integer(1, 3)
        process = start(tiny, model, out, "--shard", f"{draw.integer(1, n)}/{n}", seconds=0.1)
        if killed % 2:  # while it starts, or at its first work units
            time.sleep(draw.uniform(0.0, 1.2))
        else:  # right after a part was written, or a little later
            wanted = len(list(out.glob("parts/block-*"))) + 1
            while len(list(out.glob("parts/block-*"))) < wanted and process.is_running:
                time.sleep(0.002)
            time.sleep(draw.uniform(0.0, 0.05))
        killed += process.kill()
        assert not (out / "run.json").exists(), "the run was over before it was killed so often"
    for i in (1, 2, 3, 4):
        harness.evaluate(f"{model}:Slow", tiny, out, shard=(i, 4), **arguments)
    assert harness.run_digest(out) == harness.run_digest(tmp_path / "whole")


@pytest.mark.parametrize(
    ("choices", "difference"),
    [
        ({"seed": 1}, "protocol.seed: 0 there, 1 here"),
        ({"preset": "box"}, "protocol.preset: dmseg there, box here"),
        ({"corrective": "random"}, "protocol.corrective: center there, random here"),
        ({"levels": ("clear",)}, "benchmark.levels"),
        ({"splits": ("seen",)}, "benchmark.split"),
        ({"limit": 1}, "benchmark.limit: None there, 1 here"),
        ({"chunk": 7}, "chunk: 4 there, 7 here"),
        ({"batch_images": 2}, "batch_images: 1 there, 2 here"),
        ({"grid": 128}, "metrics.grid: native there, 128 here"),
        ({"arguments": {"radius": 0.2}}, "model.arguments.radius: 0.09 there, 0.2 here"),
        ({"model": "watershed"}, r"\(model.name: disk there, watershed here\)"),
    ],
)
def test_another_run_is_not_mixed_in_and_the_message_says_what_differs(tiny, tmp_path, choices, difference):
    harness.evaluate("disk", tiny, tmp_path / "run", shard=(1, 9))
    before = sorted((tmp_path / "run").rglob("*"))
    model = choices.pop("model", "disk")
    with pytest.raises(UsageError, match=rf"holds another run.*{difference}.*--out"):
        harness.evaluate(model, tiny, tmp_path / "run", **choices)
    assert sorted((tmp_path / "run").rglob("*")) == before


def test_another_benchmark_is_not_mixed_in(tiny, tmp_path):
    harness.evaluate("disk", tiny, tmp_path / "run", shard=(1, 9))
    other = write_tiny_benchmark(tmp_path / "bench", levels=("clear",))
    with pytest.raises(UsageError, match=r"benchmark\.manifest_digest"):
        harness.evaluate("disk", other, tmp_path / "run")


def test_a_changed_model_file_is_another_model(tiny, tmp_path):
    model = tmp_path / "mine.py"
    model.write_text(SLOW)
    harness.evaluate(f"{model}:Slow", tiny, tmp_path / "run", shard=(1, 9))
    changed = tmp_path / "changed.py"
    changed.write_text(SLOW + "# improved\n")
    with pytest.raises(UsageError, match=r"model\.version"):
        harness.evaluate(f"{changed}:Slow", tiny, tmp_path / "run")


def test_finished_runs_are_guarded_too(tiny, tmp_path):
    harness.evaluate("disk", tiny, tmp_path / "run", limit=1)
    with pytest.raises(UsageError, match="holds another run"):
        harness.evaluate("disk", tiny, tmp_path / "run")


def test_a_folder_of_something_else_is_left_alone(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="not empty and holds no run"):
        harness.evaluate("disk", tiny, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_process_left_that_ended_while_merging(tiny, tmp_path):
    """Tables are there but run.json is not: the parts decide, and the temporary files go."""
    harness.evaluate("disk", tiny, tmp_path / "whole")
    out = tmp_path / "run"
    harness.evaluate("disk", tiny, out, shard=(1, 1000))
    (out / "steps.parquet").write_bytes(b"half")
    (out / ".dmseg-tmp-0011.parquet").write_bytes(b"PAR1")
    harness.evaluate("disk", tiny, out)
    assert harness.run_digest(out) == harness.run_digest(tmp_path / "whole")
    assert not list(out.glob(".dmseg-tmp-*"))


def test_processes_that_end_at_the_same_time_leave_one_finished_run(tiny, tmp_path, digest):
    """Each of them may find all work units done: one writes the tables, the others find the run finished."""
    wrong = []

    def evaluate():
        try:
            assert harness.evaluate("watershed", tiny, tmp_path / "run").finished
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=evaluate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and harness.run_digest(tmp_path / "run") == digest
    assert not (tmp_path / "run" / "parts").exists() and not list(tmp_path.rglob(".dmseg-tmp-*"))
