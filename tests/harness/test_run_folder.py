"""What a run writes: the rows of known models, the columns, the prompts, the audit, and the digest."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_benchmark import HEIGHT, WIDTH, write_tiny_benchmark

from dmseg import build, harness, manifests, protocol
from dmseg.baselines import load_model
from dmseg.errors import DataError, UsageError
from dmseg.manifests import thumbprint
from dmseg.metrics import score
from dmseg.results.audit import is_audited, read_audit
from dmseg.results.columns import STATUSES, STEPS, TABLES, run_schema
from dmseg.types import LEVELS

DIAGONAL = math.hypot(HEIGHT, WIDTH)
METRICS = ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5"]


def run(tiny, folder, model="disk", **choices):
    summary = harness.evaluate(model, tiny, folder, **choices)
    assert summary.finished
    return harness.open_run(folder)


@pytest.fixture(scope="module")
def disk(tiny, tmp_path_factory):
    return run(tiny, tmp_path_factory.mktemp("disk") / "run")


def test_the_oracle_is_right_at_once_and_needs_no_click(tiny, tmp_path):
    steps = run(tiny, tmp_path / "run", "oracle").steps
    assert (steps[METRICS] == 1).all(axis=None)
    assert (steps["hd95"] == 0).all() and steps["hd95_defined"].all()
    assert (steps["perfect"] == (steps["step"] > 1)).all()
    assert steps["new_x"].isna().all()
    first = steps[steps["step"] == 1].set_index(["mask_id", "level"])[["points_pos", "points_neg"]]
    last = steps[steps["step"] == 5].set_index(["mask_id", "level"])[["points_pos", "points_neg"]]
    assert first.equals(last)


def test_nothing_found_is_zero_and_the_diagonal(tiny, tmp_path):
    opened = run(tiny, tmp_path / "run", "empty")
    steps = opened.steps
    assert (steps[["iou", "dice", "nsd_1", "nsd_5"]] == 0).all(axis=None)
    assert np.allclose(steps["hd95"], DIAGONAL) and not steps["hd95_defined"].any()
    assert (steps["pred_area"] == 0).all() and (steps["status"] == "ok").all()
    assert opened.info["n_errors"] == 0
    square = steps[steps["image_id"] == "beta__b1"]["hd95_mm"]
    oblong = steps[steps["image_id"] == "beta__b2"]["hd95_mm"]
    assert np.allclose(square, DIAGONAL / 2)
    assert np.allclose(oblong, math.hypot(HEIGHT * 0.5, WIDTH * 0.8))
    assert steps[steps["dataset"] == "alpha"]["hd95_mm"].isna().all()


def test_each_object_level_and_step_has_one_row(disk, tiny):
    steps = disk.steps
    assert not steps.duplicated(["mask_id", "level", "seed", "step"]).any()
    assert len(steps) == 8 * len(LEVELS) * 5
    assert set(steps["split"]) == {"seen", "unseen"}
    assert disk.info["n_masks"] == 8
    assert set(steps["status"]) <= set(STATUSES)


def test_the_files_have_the_documented_columns(disk):
    for name in TABLES:
        assert pq.read_schema(disk.path / f"{name}.parquet").equals(run_schema(name))
    assert {path.name for path in disk.path.iterdir()} == {
        "run.json", "environment.json", "audit.jsonl.gz", "shown.jsonl.gz", *(f"{name}.parquet" for name in TABLES)
    }  # fmt: skip


def test_the_record_names_protocol_benchmark_and_model(disk, tiny):
    info = disk.info
    assert info["protocol"]["id"] == protocol.PROTOCOL_ID
    assert info["protocol"]["preset"] == "dmseg" and info["protocol"]["steps"] == 5
    assert info["benchmark"]["manifest_digest"] == build.open_benchmark(tiny).digest
    assert info["benchmark"]["split"] == ["seen", "unseen"]
    assert info["model"]["name"] == "disk" and info["model"]["weights_sha256"] is None
    assert info["metrics"] == {"grid": "native", "boundary": "vertex", "taus": [1, 2, 3, 5], "hd95": "directed"}
    assert len(info["run_key"]) == 64


def test_rows_agree_with_the_protocol_and_the_metrics_step_by_step(disk, tiny):
    """Replays one interaction by hand: model, click, score."""
    benchmark = build.open_benchmark(tiny)
    rows = disk.steps[(disk.steps["mask_id"] == "beta__b2__disc__0") & (disk.steps["level"] == "lq2")]
    reference = benchmark.mask("beta__b2__disc__0")
    model = load_model("disk")
    grey = benchmark.image("beta__b2", "lq2")
    embedding = model.encode([np.repeat(grey[..., None], 3, axis=2)])
    given = protocol.first_prompts(protocol.preset("dmseg"), reference, "beta__b2__disc__0", 0)
    predicted = np.zeros_like(reference)
    for row in rows.sort_values("step").to_dict("records"):
        if row["step"] > 1:
            click = protocol.next_click(reference, predicted)
            given = protocol.with_click(given, click)
            assert (row["new_x"], row["new_y"], row["new_label"]) == (click.x, click.y, click.label)
        predicted = model.predict(embedding, [0], [given], [None]).logits[0] > 0
        expected = score(reference, predicted)
        assert row["dice"] == expected.dice and row["iou"] == expected.iou
        assert row["nsd_2"] == expected.nsd[2] and row["hd95"] == expected.hd95
        assert row["hd95_mm"] == score(reference, predicted, spacing=(0.5, 0.8)).hd95
        assert row["pred_area"] == predicted.sum() and row["gt_area"] == reference.sum()
        assert row["points_pos"] == (given.labels == 1).sum()


def test_prompts_are_written_once_each_and_count_up_to_the_rows(disk):
    prompts, steps = disk.prompts, disk.steps
    points = prompts[prompts["kind"] == "point"]
    counted = points.groupby(["mask_id", "level", "label"]).size().unstack(fill_value=0)
    last = steps[steps["step"] == 5].set_index(["mask_id", "level"])
    assert (counted[1] == last["points_pos"].reindex(counted.index)).all()
    assert (counted[0] == last["points_neg"].reindex(counted.index)).all()
    assert not points.duplicated(["mask_id", "level", "index"]).any()
    boxes = prompts[prompts["kind"] == "box"].set_index(["mask_id", "level"])
    assert set(boxes.index) == set(last[last["prompt_kind"] == "box"].index)
    assert (boxes["x0"] <= boxes["x1"]).all() and (boxes["step"] == 1).all()


def test_all_levels_get_the_same_first_prompts(disk):
    first = disk.prompts[disk.prompts["step"] == 1].drop(columns=["seed"])
    per_level = [rows.drop(columns="level").reset_index(drop=True) for _, rows in first.groupby("level")]
    assert len(per_level) == 5
    assert all(rows.equals(per_level[0]) for rows in per_level[1:])


def test_inputs_are_the_pixels_the_model_was_given(disk, tiny):
    benchmark = build.open_benchmark(tiny)
    inputs = disk.inputs
    assert len(inputs) == 5 * len(LEVELS)
    for row in inputs.head(7).to_dict("records"):
        assert row["thumbprint"] == thumbprint(benchmark.image(row["image_id"], row["level"])).tobytes()


def test_timing_and_environment_are_beside_the_results(disk):
    assert (disk.timing[["load_ms", "encode_ms", "predict_ms", "prompt_ms", "score_ms"]] >= 0).all(axis=None)
    environment = json.loads((disk.path / "environment.json").read_text())
    assert environment["sessions"][0]["packages"]["numpy"] == np.__version__
    assert not {"device", "host", "shard", "predict_ms"} & set(disk.steps.columns)


def test_audited_predictions_are_those_that_were_scored(tmp_path, monkeypatch):
    monkeypatch.setattr("dmseg.results.audit.AUDITED_SHARE", 0.3)
    pictures = tuple(("alpha", f"i{n:03d}", "seen", f"p{n}", None, ((20, 20, 6 + n % 5),)) for n in range(20))
    tiny = write_tiny_benchmark(tmp_path / "bench", levels=("clear", "lq1"), pictures=pictures)
    opened = run(tiny, tmp_path / "run")
    benchmark = build.open_benchmark(tiny)
    wanted = {mask_id for mask_id in benchmark.masks["mask_id"] if is_audited(benchmark.digest, mask_id)}
    records = list(read_audit(opened.path / "audit.jsonl.gz"))
    assert 0 < len(wanted) < 20 and len(records) == len(wanted) * 2 * 5
    rows = opened.steps.set_index(["mask_id", "level", "step"])
    for record in records:
        kept = score(benchmark.mask(record.mask_id), record.mask())
        assert kept.dice == rows.loc[(record.mask_id, record.level, record.step), "dice"]


def test_the_digest_is_of_rows_not_of_bytes(disk, tmp_path):
    again = tmp_path / "copy"
    again.mkdir()
    (again / "run.json").write_text((disk.path / "run.json").read_text())
    shuffled = pq.read_table(disk.path / "steps.parquet").take(np.arange(len(disk.steps))[::-1])
    pq.write_table(shuffled, again / "steps.parquet", compression="gzip", row_group_size=7)
    assert harness.run_digest(again) == harness.run_digest(disk.path)


@pytest.mark.parametrize("column", ["dice", "pred_digest", "new_x", "status"])
def test_the_digest_sees_every_value(disk, tmp_path, column):
    again = tmp_path / "copy"
    again.mkdir()
    (again / "run.json").write_text((disk.path / "run.json").read_text())
    rows = pq.read_table(disk.path / "steps.parquet").to_pylist()
    place = next(i for i, row in enumerate(rows) if row[column] is not None)
    rows[place][column] = "x" if isinstance(rows[place][column], str) else rows[place][column] + 1
    pq.write_table(pa.Table.from_pylist(rows, schema=run_schema("steps")), again / "steps.parquet")
    assert harness.run_digest(again) != harness.run_digest(disk.path)


def test_another_seed_gives_other_prompts_and_is_recorded(tiny, tmp_path, disk):
    other = run(tiny, tmp_path / "run", seed=1)
    assert (other.steps["seed"] == 1).all()
    assert harness.run_digest(other.path) != harness.run_digest(disk.path)
    assert not other.prompts[["x", "y"]].equals(disk.prompts[["x", "y"]])


def test_splits_levels_and_limit_choose(tiny, tmp_path):
    steps = run(tiny, tmp_path / "run", splits=("seen",), levels=("lq3", "clear"), limit=2).steps
    assert set(steps["image_id"]) == {"alpha__a1", "alpha__a2"}
    assert list(dict.fromkeys(steps["level"])) == ["clear", "lq3"]
    assert set(run(tiny, tmp_path / "train", splits=("train",)).steps["image_id"]) == {"beta__b3"}


def test_objects_outside_of_the_evaluation_subset_are_left_out(tmp_path):
    folder = write_tiny_benchmark(tmp_path / "bench", levels=("clear",))
    masks = pq.read_table(folder / "masks.parquet").to_pandas()
    masks.loc[masks["image_id"] == "beta__b2", "evaluate"] = False
    schema = pq.read_schema(folder / "masks.parquet")
    pq.write_table(pa.Table.from_pandas(masks, schema=schema), folder / "masks.parquet")
    with pytest.raises(DataError, match="not the benchmark that it says it is: manifest_digest is"):
        run(folder, tmp_path / "run")
    manifest = manifests.read_manifest(folder)
    digest = manifests.manifest_digest(manifest.info, manifest.tables)
    manifests.write_header(folder, {**manifest.info, "manifest_digest": digest})
    assert "beta__b2" not in set(run(folder, tmp_path / "run").steps["image_id"])


def test_a_split_without_images_names_what_there_is(tmp_path):
    folder = write_tiny_benchmark(
        tmp_path / "bench", levels=("clear",), pictures=(("alpha", "a", "train", "p", None, ((20, 20, 8),)),)
    )
    with pytest.raises(UsageError, match=r"no images to evaluate in split seen, unseen.*train \(1\).*--split"):
        harness.evaluate("disk", folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_level_that_the_benchmark_lacks(tmp_path):
    folder = write_tiny_benchmark(tmp_path / "bench", levels=("clear", "lq1"))
    with pytest.raises(UsageError, match=r"lq3.*one of: clear, lq1"):
        harness.evaluate("disk", folder, tmp_path / "run", levels=("lq3",))
    assert set(run(folder, tmp_path / "run").steps["level"]) == {"clear", "lq1"}


def test_scoring_on_a_finer_grid_leaves_prompts_and_predictions_alone(tiny, tmp_path, disk):
    fine = run(tiny, tmp_path / "run", grid=4 * WIDTH)
    assert fine.info["metrics"]["grid"] == 4 * WIDTH
    assert fine.steps["pred_digest"].equals(disk.steps["pred_digest"])
    assert np.allclose(fine.steps["dice"], disk.steps["dice"])
    assert fine.steps["hd95"].sum() > 3 * disk.steps["hd95"].sum()
    there, here = fine.steps["hd95_mm"].dropna(), disk.steps["hd95_mm"].dropna()
    assert np.allclose(there, here, atol=0.8)


def test_metric_options_are_those_of_the_metrics(tiny, tmp_path, disk):
    pixel = run(tiny, tmp_path / "pixel", boundary="pixel")
    pooled = run(tiny, tmp_path / "pooled", hd95="pooled")
    assert pixel.steps["dice"].equals(disk.steps["dice"])
    assert not pixel.steps["nsd_1"].equals(disk.steps["nsd_1"])
    assert not pooled.steps["hd95"].equals(disk.steps["hd95"])
    assert np.allclose(pooled.steps["nsd_1"], disk.steps["nsd_1"], atol=1e-12)


def test_prompts_can_be_replayed_from_a_file(tiny, tmp_path, disk):
    again = run(tiny, tmp_path / "again", prompts=disk.path / "prompts.parquet")
    assert harness.run_digest(again.path) == harness.run_digest(disk.path)
    assert again.info["protocol"]["prompts_sha256"]
    other = run(tiny, tmp_path / "other", "watershed", prompts=disk.path / "prompts.parquet")
    pd.testing.assert_frame_equal(other.prompts, disk.prompts)


def test_a_file_of_prompts_that_does_not_fit(tiny, tmp_path, disk):
    part = tmp_path / "part.parquet"
    pq.write_table(pq.read_table(disk.path / "prompts.parquet").slice(50), part)
    with pytest.raises(DataError, match="no prompts of step 1 for mask"):
        harness.evaluate("disk", tiny, tmp_path / "run", prompts=part)
    with pytest.raises(DataError, match="no column"):
        harness.evaluate("disk", tiny, tmp_path / "run2", prompts=disk.path / "timing.parquet")
    with pytest.raises(UsageError, match="no such file"):
        harness.evaluate("disk", tiny, tmp_path / "run3", prompts=tmp_path / "absent.parquet")


def test_the_twenty_step_preset_begins_as_the_default(tiny, tmp_path, disk):
    long = run(tiny, tmp_path / "run", preset="20-step", levels=("clear",)).steps
    short = disk.steps[disk.steps["level"] == "clear"].reset_index(drop=True)
    pd.testing.assert_frame_equal(long[long["step"] <= 5].reset_index(drop=True), short)
    assert long["step"].max() == 20


def test_searched_boxes_bracket_the_tight_one(tiny, tmp_path):
    found = {
        name: run(tiny, tmp_path / name, preset=name, levels=("clear",), splits=("seen",)).steps.set_index("mask_id")
        for name in ("breps-min", "breps-tight", "breps-max")
    }
    assert (found["breps-min"]["iou"] <= found["breps-tight"]["iou"]).all()
    assert (found["breps-tight"]["iou"] <= found["breps-max"]["iou"]).all()
    assert (found["breps-min"]["iou"] < found["breps-max"]["iou"]).all()


def test_a_finished_run_is_not_done_again(disk, tiny):
    before = (disk.path / "steps.parquet").stat().st_mtime_ns
    summary = harness.evaluate("disk", tiny, disk.path)
    assert summary.finished and summary.n_masks == 8
    assert (disk.path / "steps.parquet").stat().st_mtime_ns == before


def test_opening_what_is_no_run(tmp_path, disk):
    with pytest.raises(DataError, match="no such folder"):
        harness.open_run(tmp_path / "absent")
    with pytest.raises(DataError, match=r"no run\.json there"):
        harness.open_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match="not readable"):
        harness.open_run(tmp_path)
    (tmp_path / "run.json").write_text('{"schema_version": 99}')
    with pytest.raises(DataError, match=r"schema_version 99.*reads version 1"):
        harness.open_run(tmp_path)
    (tmp_path / "run.json").write_text((disk.path / "run.json").read_text())
    with pytest.raises(DataError, match=r"steps\.parquet: not a readable Parquet"):
        harness.run_digest(tmp_path)
    pq.write_table(pq.read_table(disk.path / "steps.parquet").drop_columns(["dice"]), tmp_path / "steps.parquet")
    with pytest.raises(DataError, match="no column dice"):
        harness.run_digest(tmp_path)


def test_the_docs_of_the_columns_are_complete():
    assert all(column.meaning for columns in TABLES.values() for column in columns)
    assert [column.name for column in STEPS][:4] == ["image_id", "mask_id", "case_id", "dataset"]


def test_noc_49_cuts_predictions_at_probability_49(tiny, tmp_path):
    def nearly(image, points, labels, box, previous_logits):
        return np.where(np.arange(image.shape[1]) < 20, -0.03, -0.05) * np.ones(image.shape[:2])

    cut = {}
    for name in ("noc", "noc-49"):
        harness.evaluate(nearly, tiny, tmp_path / name, preset=name, levels=("clear",), limit=1)
        cut[name] = set(harness.open_run(tmp_path / name).steps["pred_area"])
    assert cut == {"noc": {0}, "noc-49": {20 * 48}}
