"""The published phantom edition is what this code builds: same sources, plans, masks, splits."""

from __future__ import annotations

import pytest

from dmseg.build import build, open_benchmark, phantom_raw, verify
from dmseg.manifests import diff, find_published, list_published


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in list_published() if name.startswith("dm-seg-phantom-")])
def test_the_phantom_edition_is_rebuilt_with_the_same_digest(name, tmp_path):
    manifest = find_published(name)
    summary = build(phantom_raw(jobs=2), tmp_path / "b", jobs=2, storage="recipe", seed=manifest.info["seed"])
    bench = open_benchmark(tmp_path / "b")
    assert [(item.file, item.row, item.what) for item in diff(manifest, bench.manifest)[:10]] == []
    assert f"{summary.edition}-{summary.version}" == name
    assert verify(bench, sample=0.05) == []


def test_the_phantom_edition_has_every_dataset_with_24_images():
    for name in list_published():
        if name.startswith("dm-seg-phantom-"):
            counts = find_published(name).info["counts"]["datasets"]
            assert len(counts) == 17
            assert {entry["images"] for entry in counts.values()} == {24}
