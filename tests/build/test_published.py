"""The published phantom edition is what this code builds: same sources, plans, masks, splits."""

from __future__ import annotations

import pytest

from dmseg.build import build, open_benchmark, phantom_raw, track_of, verify
from dmseg.build.tracks import describe_tables
from dmseg.datasets import recipe
from dmseg.manifests import diff, find_published, list_published


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in list_published() if "-phantom-" in name])
def test_the_phantom_edition_is_rebuilt_with_the_same_digest(name, tmp_path):
    manifest = find_published(name)
    track = track_of(manifest.info)
    raw = phantom_raw(jobs=2, track=track)
    summary = build(raw, tmp_path / "b", jobs=2, storage="recipe", seed=manifest.info["seed"], track=track)
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


def test_the_natural_phantom_edition_has_the_sets_and_levels_of_its_track():
    info = find_published("lq-seg-phantom-1.0").info
    assert (info["track"], info["levels"]) == ("natural", ["clear", "lq1", "lq2", "lq3"])
    assert {name: entry["images"] for name, entry in info["counts"]["datasets"].items()} == dict.fromkeys(
        ("COCO", "ECSSD", "LVIS", "MSRA-10K", "ThinObject-5K"), 24
    )
    assert info["recipes"] == {name: recipe(name).digest for name in info["recipes"]}
    assert info["degradation_tables"] == describe_tables("natural")
