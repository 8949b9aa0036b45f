"""Runs of a network: the same digest however they are divided and interrupted, and what another chunk size changes.

SAM ViT-B's network on a small input, weights regenerated from key names.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import fill  # noqa: E402

from dmseg import harness  # noqa: E402
from dmseg.baselines.loading import Family, random_network  # noqa: E402
from dmseg.baselines.networks.sam import build_sam  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.rng import Stream  # noqa: E402


@pytest.fixture(scope="module")
def model() -> Any:
    return fill(SamAdapter("sam-small", random_network(Family(SamAdapter, partial(build_sam, "vit_b", 64), "small"))))


@pytest.fixture(scope="module")
def whole(model: Any, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return harness.evaluate(model, tiny, tmp_path_factory.mktemp("network") / "whole").path


@pytest.mark.slow
def test_interrupted_and_finished_with_other_shards_it_is_the_same_run(
    model: Any, tiny: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    harness.evaluate(model, tiny, out, shard=(2, 3))
    for path in Stream("test-network-parts").sample(sorted(out.glob("parts/block-*")), 3):
        path.unlink()
    for i in (1, 2):
        harness.evaluate(model, tiny, out, shard=(i, 2))
    assert harness.run_digest(out) == harness.run_digest(whole)


@pytest.mark.slow
def test_another_chunk_moves_no_level_by_more_than_a_thousandth_of_dice(
    model: Any, tiny: Path, whole: Path, tmp_path: Path, record_property: Any
) -> None:
    out = harness.evaluate(model, tiny, tmp_path / "run", chunk=1).path
    one, other = (harness.open_run(path).steps for path in (whole, out))
    assert one["dice"].between(0.01, 0.99).mean() > 0.5  # there is something to differ in
    means = [rows.groupby("level")["dice"].mean() for rows in (one, other)]
    assert float((means[0] - means[1]).abs().max()) < 1e-3
    differing = int((one["pred_digest"] != other["pred_digest"]).sum())
    record_property("differing_rows", differing)
    print(f"{differing} of {len(one)} rows differ")
