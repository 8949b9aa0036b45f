"""A published benchmark: the same pixels, masks and digest, by our reader and by those of others."""

from __future__ import annotations

import datetime
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from dmseg import build, phantoms
from dmseg.cli import main
from dmseg.cli.publish import command
from dmseg.errors import DataError, DmsegError, UsageError
from dmseg.manifests import pixel_sha256
from dmseg.publish import publish_benchmark

DAY = datetime.date(2026, 11, 28)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> build.Benchmark:
    folder = tmp_path_factory.mktemp("publish")
    phantoms.write_phantoms(folder / "raw", per_dataset=2, datasets=["BUSI", "Kvasir-SEG"])
    build.build(folder / "raw", folder / "bench", levels=["clear", "lq3"])
    return build.open_benchmark(folder / "bench")


@pytest.fixture(name="published", scope="module")
def publish_once(bench: build.Benchmark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "out"
    publish_benchmark(bench, out, date=DAY)
    return out


def pixel_digests(bench: build.Benchmark) -> dict[tuple[str, str], str]:
    return {(row.image_id, row.level): row.pixel_sha256 for row in bench.degradations.itertuples()}


def test_it_opens_as_the_same_benchmark(bench: build.Benchmark, published: Path) -> None:
    opened = build.open_benchmark(published)
    assert opened.digest == bench.digest
    expected = pixel_digests(bench)
    assert len(expected) == 8
    for key, digest in expected.items():
        assert pixel_sha256(opened.image(*key)) == digest
    for mask_id in bench.masks.mask_id:
        assert np.array_equal(opened.mask(mask_id), bench.mask(mask_id))


def test_it_is_written_to_the_same_bytes(bench: build.Benchmark, published: Path, tmp_path: Path) -> None:
    publish_benchmark(bench, tmp_path / "again", date=DAY)
    files = sorted(path.relative_to(published) for path in published.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()
    )
    for name in files:
        assert (published / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_what_its_levels_are_made_of_on_reading_is_published_as_pixels(
    bench: build.Benchmark, published: Path, tmp_path: Path
) -> None:
    build.build(bench.path.parent / "raw", tmp_path / "bench", levels=["clear", "lq3"], storage="recipe")
    publish_benchmark(build.open_benchmark(tmp_path / "bench"), tmp_path / "out", date=DAY)
    opened, other = build.open_benchmark(tmp_path / "out"), build.open_benchmark(published)
    for key in pixel_digests(bench):
        assert np.array_equal(opened.image(*key), other.image(*key))


def test_pixels_and_masks_go_out_only_where_the_licence_allows_it(bench: build.Benchmark, tmp_path: Path) -> None:
    shutil.copytree(bench.path, tmp_path / "bench")
    header = json.loads((tmp_path / "bench" / "benchmark.json").read_text())
    header["synthetic"] = ["BUSI"]  # as if the images of Kvasir-SEG were the real ones
    (tmp_path / "bench" / "benchmark.json").write_text(json.dumps(header))
    done = publish_benchmark(build.open_benchmark(tmp_path / "bench"), tmp_path / "out", date=DAY)
    assert (done.shared, done.withheld, done.rows) == (("BUSI",), ("Kvasir-SEG",), 4)
    content = b"".join(path.read_bytes() for path in sorted((tmp_path / "out" / "data").iterdir()))
    assert b"Kvasir-SEG__" not in content
    opened = build.open_benchmark(tmp_path / "out")
    assert opened.digest == bench.digest
    image_id = next(name for name in opened.images.image_id if name.startswith("Kvasir"))
    with pytest.raises(DataError, match=r"pixels of Kvasir-SEG are not in this published folder.*--manifest"):
        opened.image(image_id, "clear")
    with pytest.raises(DataError, match="licence"):
        opened.mask(next(name for name in opened.masks.mask_id if name.startswith("Kvasir")))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| Kvasir-SEG | 2 | no | no |" in card
    assert "**Some images are synthetic" in card


def test_nothing_is_written_over(bench: build.Benchmark, published: Path, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("mine")
    with pytest.raises(UsageError, match="no empty folder"):
        publish_benchmark(bench, tmp_path, date=DAY)
    assert [path.name for path in tmp_path.iterdir()] == ["own.txt"]
    with pytest.raises(UsageError, match="is published already"):
        publish_benchmark(build.open_benchmark(published), tmp_path / "new", date=DAY)


def test_a_failure_half_way_leaves_nothing(bench: build.Benchmark, tmp_path: Path) -> None:
    shutil.copytree(bench.path, tmp_path / "bench")
    next((tmp_path / "bench" / "images" / "Kvasir-SEG" / "lq3").iterdir()).unlink()
    with pytest.raises(DmsegError):
        publish_benchmark(build.open_benchmark(tmp_path / "bench"), tmp_path / "out", date=DAY)
    assert [path.name for path in tmp_path.iterdir()] == ["bench"]


def test_damage_is_named(bench: build.Benchmark, published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "out")
    file = next((tmp_path / "out" / "data").glob("*.parquet"))
    table = pq.read_table(file)
    key = table["image_id"][0].as_py(), table["level"][0].as_py()
    opened = build.open_benchmark(tmp_path / "out")
    opened.image(*key)
    for content in (file.read_bytes()[:-100], b"PAR1" + bytes(400) + b"PAR1", b""):
        file.write_bytes(content)
        with pytest.raises(DmsegError, match=file.name):
            build.open_benchmark(tmp_path / "out").image(*key)
        with pytest.raises(DmsegError, match=file.name):
            opened.image(*key)
    file.unlink()
    with pytest.raises(DataError, match="or the file is missing"):
        build.open_benchmark(tmp_path / "out").image(*key)


def test_evaluate_reads_it(published: Path, bench: build.Benchmark, tmp_path: Path) -> None:
    for data, out in ((published, "a"), (bench.path, "b")):
        with pytest.raises(SystemExit) as left:
            main(f"evaluate --model watershed --data {data} --out {tmp_path / out} --split all --limit 1".split())
        assert left.value.code in (0, None)
    first, second = (pq.read_table(tmp_path / out / "steps.parquet").to_pylist() for out in ("a", "b"))
    assert first == second


def test_the_command_says_what_it_cannot_publish(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [str(tmp_path), "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, UsageError)
    assert "neither a built benchmark" in str(result.exception)
    result = CliRunner().invoke(command, [str(tmp_path), "-o", str(tmp_path / "out"), "--date", "28.11.2026"])
    assert "2026-11-28" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_croissant_is_valid_and_reads_the_same_pixels(bench: build.Benchmark, published: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="needs the extra [publish]")
    dataset = mlcroissant.Dataset(published / "croissant.json")
    assert not dataset.metadata.issues.errors
    expected, seen = pixel_digests(bench), set()
    for name in (record_set.name for record_set in dataset.metadata.record_sets if "-of-" in record_set.name):
        for record in dataset.records(name):
            row = {key.rsplit("/", 1)[-1]: value for key, value in record.items()}
            key = row["image_id"].decode(), row["level"].decode()
            image = row["image"] if isinstance(row["image"], Image.Image) else Image.open(io.BytesIO(row["image"]))
            assert pixel_sha256(np.asarray(image)) == expected[key]
            seen.add(key)
    assert seen == set(expected)


def test_the_library_datasets_reads_the_same_pixels(
    bench: build.Benchmark, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="needs the extra [publish]")
    expected, seen = pixel_digests(bench), set()
    for rows in datasets.load_dataset(str(published), cache_dir=str(tmp_path)).values():
        for row in rows:
            assert pixel_sha256(np.asarray(row["image"])) == expected[row["image_id"], row["level"]]
            assert [item["area"] for item in row["objects"]] == list(
                bench.masks[bench.masks.image_id == row["image_id"]].area
            )
            seen.add((row["image_id"], row["level"]))
    assert seen == set(expected)
