"""What pages and tables must say: synthetic images, partial runs, what was seen in training, the whole command."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner
from synthetic_runs import write_run
from tiny_benchmark import write_tiny_benchmark

from dmseg import harness, results
from dmseg.cli import group
from dmseg.manifests import find_published
from dmseg.report import find_benchmark
from dmseg.results.again import write_command
from dmseg.results.notices import find_trained, list_notices, list_synthetic


@pytest.fixture
def info(tmp_path):
    return dict(results.open_run(write_run(tmp_path / "r")).info)


def test_a_published_edition_says_what_is_synthetic_whatever_the_run_says(info):
    info["synthetic"] = []
    info["benchmark"] = {**info["benchmark"], "manifest_digest": find_published("dm-seg-phantom-2.0").digest}
    assert "BUSI" in list_synthetic(info)
    assert [notice.title for notice in list_notices(info, ["BUSI", "LGG"])] == ["Synthetic images"]
    info["benchmark"]["manifest_digest"] = "0" * 64
    assert list_synthetic(info) == frozenset()


def test_of_a_local_benchmark_the_run_says_it(info):
    info["synthetic"] = ["busi"]
    (notice,) = list_notices(info, ["busi", "kvasir"])
    assert "images of busi are phantoms" in notice.text
    assert list_notices(info, ["kvasir"]) == []


def test_partial_runs_self_tests_and_replays_are_named(info):
    info["benchmark"] = {**info["benchmark"], "limit": 2, "levels": ["clear", "lq3"]}
    info["model"] = {**info["model"], "mode": "self-test"}
    info["protocol"] = {**info["protocol"], "prompts_sha256": "0" * 64}
    found = {notice.title: notice.text for notice in list_notices(info, ["busi"])}
    assert list(found) == ["Partial run", "Self-test", "Replayed prompts"]
    assert "at most 2 images" in found["Partial run"] and "without LQ-1, LQ-2, LQ-3+" in found["Partial run"]


def test_phantoms_in_training_match_synthetic_datasets_and_nothing_else():
    assert find_trained(["phantoms"], ["BUSI", "LGG"], {"BUSI"}) == ["BUSI"]
    assert find_trained(["BUSI"], ["BUSI"], {"BUSI"}) == []
    assert find_trained(["sam-med 2d", "busi"], ["BUSI"], set()) == ["BUSI"]


def test_the_command_has_every_option(info):
    info["benchmark"] = {**info["benchmark"], "levels": ["clear", "lq3"], "limit": 5}
    info["protocol"] = {**info["protocol"], "corrective": "random", "seed": 7, "prompts_sha256": "0" * 64}
    info["metrics"] = {**info["metrics"], "grid": 256, "boundary": "pixel", "hd95": "pooled"}
    info["model"] = {"name": "disk", "arguments": {"radius": 0.2}, "weights_sha256": "1" * 64}
    info |= {"chunk": 8, "batch_images": 2, "precision": "bf16", "submitter": "A B"}
    words = shlex.split(write_command(info))
    for option, value in {
        "--model": "disk", "--model-arg": "radius=0.2", "--data": "BENCH", "--corrective": "random", "--seed": "7",
        "--prompts": "FILE", "--levels": "clear,lq3", "--limit": "5", "--grid": "256", "--boundary": "pixel",
        "--hd95": "pooled", "--chunk": "8", "--batch-images": "2", "--precision": "bf16", "--submitter": "A B",
        "--weights": "FILE",
    }.items():  # fmt: skip
        assert words[words.index(option) + 1] == value
    info["model"] = {"name": "mine"}
    assert "--model FILE.py:CLASS" in write_command(info)


@pytest.mark.parametrize("value", [["a"], {"a": 1}, 3, "; rm -rf x", None])
def test_what_others_wrote_into_a_record_breaks_no_page_and_is_quoted(info, value):
    info |= {"given_model": value, "synthetic": value, "metrics": value}
    info["model"] = {"name": "disk", "restorer": value, "arguments": value}
    words = shlex.split(write_command(info))
    assert words[words.index("--model") + 1] == (str(value) if value else "disk")
    assert isinstance(list_notices(info, ["busi"]), list)


def test_a_run_remembers_its_benchmark_its_model_and_what_is_synthetic(tmp_path):
    bench = write_tiny_benchmark(tmp_path / "bench", levels=("clear", "lq3"))
    (tmp_path / "mine.py").write_text("import numpy as np\ndef deaf(image, *rest):\n    return image[..., 0] - 100.0\n")
    harness.evaluate(f"{tmp_path}/mine.py:deaf", bench, tmp_path / "run", limit=1)
    assert find_benchmark(tmp_path / "run") == bench.absolute()
    info = results.open_run(tmp_path / "run").info
    assert info["given_model"] == "mine.py:deaf", "the file's name, not where it lies"
    assert "--model mine.py:deaf" in write_command(info) and "--limit 1" in write_command(info)
    assert info["synthetic"] == list(json.loads((bench / "benchmark.json").read_text()).get("synthetic", []))
    said = CliRunner().invoke(group, ["summary", str(tmp_path / "run")]).output
    assert "PARTIAL RUN" in said and "warning W404" in said and "warning W403" in said


def test_where_no_mask_reaches_the_target_there_is_no_number_of_clicks(tmp_path):
    poor = write_run(tmp_path / "poor", quality=0.3)
    said = CliRunner().invoke(group, ["summary", str(poor), "--full"]).output
    assert "NoC@90" not in said
