"""Shards in one folder, merged, are the benchmark that one build gives."""

from __future__ import annotations

import pytest

from dmseg.build import build, build_shard, merge, open_benchmark, verify
from dmseg.errors import DataError, UsageError


@pytest.mark.parametrize("n", [2, 3])
def test_shards_in_any_order_give_the_same_files(raw, tmp_path, tree, n):
    (raw / "Toy" / "lonely.png").touch()
    whole = build(raw, tmp_path / "whole")
    done = [build_shard(raw, tmp_path / "b", (i, n)) for i in range(n, 0, -1)]
    assert sum(images for images, _ in done) == 10
    assert min(images for images, _ in done) < 10, "the work is divided"
    assert merge(tmp_path / "b") == whole
    one, other = ({n: c for n, (c, _) in tree(tmp_path / f).items() if n[0] != "."} for f in ("whole", "b"))
    assert one == other
    assert verify(open_benchmark(tmp_path / "b")) == []


def test_merging_before_all_shards_are_done_says_what_is_missing(raw, tmp_path):
    build_shard(raw, tmp_path / "b", (1, 2), levels=["clear"])
    with pytest.raises(DataError, match="is not done yet"):
        merge(tmp_path / "b")
    assert not (tmp_path / "b" / "benchmark.json").exists()


def test_failures_of_a_shard_are_reported_by_the_merge(raw, tmp_path):
    (raw / "Toy" / "case1.npz").write_bytes(b"PK")
    failures = sum(build_shard(raw, tmp_path / "b", (i, 2), levels=["clear"])[1] for i in (1, 2))
    assert failures == 1
    assert merge(tmp_path / "b").exit_code == 1


def test_shards_with_other_options_are_refused(raw, tmp_path):
    build_shard(raw, tmp_path / "b", (1, 2), levels=["clear"])
    with pytest.raises(UsageError, match="was begun with seed 0"):
        build_shard(raw, tmp_path / "b", (2, 2), levels=["clear"], seed=1)


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_a_shard_that_does_not_exist(raw, tmp_path, shard):
    with pytest.raises(UsageError, match="give i/n"):
        build_shard(raw, tmp_path / "b", shard)


def test_merging_what_was_never_begun(raw, tmp_path):
    with pytest.raises(DataError, match="no build was begun there"):
        merge(tmp_path / "nowhere")
    build(raw, tmp_path / "b", levels=["clear"])
    with pytest.raises(DataError, match="no shards of a build"):
        merge(tmp_path / "b")
