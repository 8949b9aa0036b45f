"""The preset ``text``: a sentence names the object. One row each, an image read and encoded once, cIoU and gIoU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_benchmark import disc, write_tiny_benchmark

from dmseg import build, harness
from dmseg.baselines import Prediction
from dmseg.build import open_benchmark
from dmseg.cli import main as cli
from dmseg.errors import DataError, ModelError, UsageError
from dmseg.harness.selfcheck import selfcheck
from dmseg.leaderboard.checks import check_run
from dmseg.leaderboard.rows import leaderboard_row
from dmseg.manifests import manifest_digest, pack_expressions
from dmseg.results import open_run, run_digest
from dmseg.results.columns import STEPS, TEXT_STEPS, run_schema
from dmseg.results.expressions import measure_expressions
from dmseg.results.model_table import build_tables

SENTENCES = {
    "alpha__a1__disc__0": ("left disc", "the bigger disc"),
    "alpha__a1__disc__1": ("right disc",),
    "beta__b1__disc__0": ("the only disc",),
}
SHAPES = {"alpha__a1__disc__0": (20, 20, 9), "alpha__a1__disc__1": (48, 30, 6), "beta__b1__disc__0": (40, 18, 10)}


class Reader:
    """Answers with a rectangle: what its sentence begins with says which; counts what it is given."""

    name, version, license = "reader", "1", "MIT"
    capabilities = frozenset({"text", "batched_prompts"})

    def __init__(self) -> None:
        self.encoded = 0
        self.heard: list[str] = []

    def encode(self, images):
        self.encoded += len(images)
        return [image.shape[:2] for image in images]

    def predict(self, embeddings, image_index, prompts, state):
        masks = []
        for index, given in zip(image_index, prompts, strict=True):
            assert len(given.points) == 0 and given.box is None and given.text
            self.heard.append(given.text)
            masks.append(answer(given.text, embeddings[index]))
        return Prediction(np.where(np.stack(masks), 1.0, -1.0))


def answer(text: str, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    if text.startswith("left"):
        mask[10:30, 10:30] = True
    elif text.startswith("right"):
        mask[25:40, 40:60] = True
    elif "only" in text:
        raise RuntimeError("I do not know this word")
    return mask


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spoken") / "bench"
    return write_tiny_benchmark(folder, levels=("clear", "lq1"), sentences=SENTENCES)


@pytest.fixture(scope="module")
def run(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    model, reads = Reader(), []
    original = build.StoredLevel.read
    build.StoredLevel.read = lambda self: reads.append(self.level) or original(self)
    try:
        harness.evaluate(model, spoken, tmp_path_factory.mktemp("runs") / "run", preset="text")
    finally:
        build.StoredLevel.read = original
    opened = open_run(next(iter(tmp_path_factory.getbasetemp().glob("runs*/run"))))
    return opened, model, reads


def test_each_sentence_has_a_row_and_each_image_is_read_and_encoded_once(run: Any) -> None:
    opened, model, reads = run
    assert sorted(reads) == ["clear", "clear", "lq1", "lq1"]  # two images with sentences, at two levels
    assert model.encoded == 4 and len(model.heard) >= 8
    wanted = {f"{mask}__e{k}": text for mask, texts in SENTENCES.items() for k, text in enumerate(texts)}
    rows = opened.steps[opened.steps["level"] == "clear"]
    assert dict(zip(rows["mask_id"], rows["expression"], strict=True)) == wanted
    assert set(opened.steps["prompt_kind"]) == {"text"} and len(opened.prompts) == 0
    names = [column.name for column in (*STEPS, *TEXT_STEPS)]
    assert pq.read_schema(opened.path / "steps.parquet").names == names


def test_rows_count_pixels_and_a_failure_is_counted_as_an_empty_answer(run: Any) -> None:
    for row in run[0].steps.to_dict("records"):
        reference = disc(*SHAPES[row["mask_id"].rpartition("__")[0]])
        found = np.zeros_like(reference) if row["status"] != "ok" else answer(row["expression"])
        assert row["intersection"] == (reference & found).sum()
        assert row["union"] == (reference | found).sum()
        assert row["iou"] == pytest.approx(row["intersection"] / row["union"])
    assert set(run[0].steps.query("status != 'ok'")["expression"]) == {"the only disc"}


def test_ciou_and_giou_are_those_computed_by_hand(run: Any) -> None:
    references = {mask: disc(*shape) for mask, shape in SHAPES.items()}
    pairs = [(references[mask], answer(text)) for mask, texts in SENTENCES.items() for text in texts if "a1" in mask]
    both, either = (np.array([op(a, b).sum() for a, b in pairs]) for op in (np.logical_and, np.logical_or))
    seen = {(row.place, row.metric): row.cells for row in measure_expressions(run[0].tables["seen"])}
    for place in ("all", "alpha"):
        assert [cell.value for cell in seen[place, "ciou"]] == pytest.approx([100 * both.sum() / either.sum()] * 3)
        assert [cell.value for cell in seen[place, "giou"]] == pytest.approx([100 * (both / either).mean()] * 3)
    assert both.sum() / either.sum() != pytest.approx((both / either).mean())
    unseen = measure_expressions(run[0].tables["unseen"], places=False)
    assert [cell.value for row in unseen for cell in row.cells] == [0.0] * 6
    row = leaderboard_row(run[0].info, run[0].tables["seen"])
    assert row["ciou_final"] == pytest.approx(both.sum() / either.sum())
    assert row["giou_final"] == pytest.approx(row["iou_final"])
    (table, _) = build_tables([run[0]], ["ciou", "giou"])
    assert [column.label for column in table.columns][:2] == ["LQ-1 cIoU", "LQ-1 gIoU"]
    assert table.rows[0][1][0].estimate.value == pytest.approx(100 * both.sum() / either.sum())


def test_ciou_is_a_mean_over_datasets_and_large_objects_rule_it() -> None:
    from dmseg.statistics import CaseBootstrap

    rows = CaseBootstrap(["a", "a", "b"], ["p", "q", "r"])
    values, draws = rows.ratios([10.0, 0.0, 30.0], [10.0, 90.0, 60.0])
    assert values.tolist() == pytest.approx([(10 / 100 + 30 / 60) / 2])
    assert set(np.round(draws[0], 9)) == {0.25, round((10 / 100 + 0.5) / 2, 9), 0.75}  # q twice, both, p twice
    assert rows.ratios([10.0, 0.0, 30.0], [10.0, 90.0, 60.0], "plain")[0].tolist() == pytest.approx([40 / 160])


def test_summary_and_table_print_them(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def print_command(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli([words[0], str(run[0].path), *words[1:]])
        assert ended.value.code == 0
        return capsys.readouterr().out

    shown = print_command("summary")
    assert "all cIoU" in shown and "alpha gIoU" in shown
    assert "Clear cIoU" in print_command("table", "--layout", "text")
    assert "reader,seen,final,macro,ciou,clear," in print_command("summary", "--format", "csv")


def test_a_submission_is_checked_against_the_sentences(run: Any, spoken: Path, tmp_path: Path) -> None:
    manifest = open_benchmark(spoken).manifest
    codes = {finding.code for finding in check_run(run[0].path, manifest=manifest).findings}
    assert not {code for code in codes if code.startswith("E")}, codes
    for column, value, code in (("union", 10_000, "E301"), ("expression", "another disc", "E202")):
        changed = tmp_path / column
        changed.mkdir()
        for file in run[0].path.iterdir():
            (changed / file.name).write_bytes(file.read_bytes())
        steps = run[0].steps.copy()
        steps.loc[0, column] = value
        pq.write_table(pa.Table.from_pandas(steps, run_schema("steps", text=True)), changed / "steps.parquet")
        assert code in {finding.code for finding in check_run(changed, manifest=manifest).findings}


def test_other_runs_have_no_further_columns(spoken: Path, tmp_path: Path) -> None:
    plain = write_tiny_benchmark(tmp_path / "plain", levels=("clear", "lq1"))
    for name, bench in (("spoken", spoken), ("plain", plain)):
        harness.evaluate("watershed", bench, tmp_path / f"run-{name}", limit=1, levels=["clear"])
    assert run_digest(tmp_path / "run-spoken") == run_digest(tmp_path / "run-plain")
    assert pq.read_schema(tmp_path / "run-spoken" / "steps.parquet").names == [column.name for column in STEPS]
    assert open_benchmark(spoken).digest != open_benchmark(plain).digest
    assert "expressions" not in pq.read_schema(plain / "masks.parquet").names


def test_what_cannot_be_is_refused_in_words(spoken: Path, tmp_path: Path) -> None:
    plain = write_tiny_benchmark(tmp_path / "plain", levels=("clear",))
    with pytest.raises(UsageError, match="has no sentences"):
        harness.evaluate(Reader(), plain, tmp_path / "a", preset="text")
    with pytest.raises(UsageError, match='preset "text" needs text, which model "watershed" does not take'):
        harness.evaluate("watershed", spoken, tmp_path / "b", preset="text")
    with pytest.raises(UsageError, match='needs box, negative_points, points, which model "reader"'):
        harness.evaluate(Reader(), spoken, tmp_path / "c")
    with pytest.raises(UsageError, match='needs text, which model "answer" does not take'):
        harness.evaluate(answer, spoken, tmp_path / "e", preset="text")  # a plain function has no place for a sentence
    (tmp_path / "p.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match="gives the sentences of the benchmark"):
        harness.evaluate(Reader(), spoken, tmp_path / "d", preset="text", prompts=tmp_path / "p.parquet")


@pytest.mark.parametrize(("column", "value", "message"), [
    ("expressions", None, "does not allow sharing"),
    ("expressions", '["another"]', "not those that its digest names"),
])  # fmt: skip
def test_sentences_that_are_withheld_or_changed_are_refused(
    spoken: Path, tmp_path: Path, column: str, value: str | None, message: str
) -> None:
    bench = write_tiny_benchmark(tmp_path / "b", levels=("clear",), sentences=SENTENCES)
    masks = pd.read_parquet(bench / "masks.parquet")
    masks.loc[0, column] = value
    pq.write_table(pa.Table.from_pandas(masks, preserve_index=False), bench / "masks.parquet")
    with pytest.raises(DataError, match=message):
        harness.evaluate(Reader(), bench, tmp_path / "run", preset="text")


def test_the_digest_of_a_manifest_knows_sentences_only_where_there_are_some(spoken: Path) -> None:
    manifest = open_benchmark(spoken).manifest
    assert manifest_digest(manifest.info, manifest.tables) == manifest.digest
    bare = {**manifest.tables, "masks": manifest.masks.drop_columns(["expressions", "expressions_sha256"])}
    assert manifest_digest(manifest.info, bare) != manifest.digest
    other = manifest.masks.to_pylist()
    other[0] |= pack_expressions(["left disk"])
    changed = {**manifest.tables, "masks": pa.Table.from_pylist(other, schema=manifest.masks.schema)}
    assert manifest_digest(manifest.info, changed) != manifest.digest


def test_the_self_check_asks_in_words() -> None:
    class Sides(Reader):
        def predict(self, embeddings, image_index, prompts, state):
            masks = []
            for index, given in zip(image_index, prompts, strict=True):
                height, width = embeddings[index]
                left = np.arange(width) < width // 2
                masks.append(np.repeat((left if "left" in given.text else ~left)[None], height, axis=0))
            return Prediction(np.where(np.stack(masks), 1.0, -1.0))

    checks = {check.name: check for check in selfcheck(Sides())}
    assert {check.verdict for check in checks.values()} == {"ok"}, checks
    assert checks["uses text"].detail == "prompts for two different objects give two masks"


def test_a_model_that_needs_words_says_so_elsewhere(spoken: Path) -> None:
    from dmseg.baselines.user_models import check_user_model

    model = Reader()
    model.capabilities = frozenset({"texts"})
    with pytest.raises(ModelError, match="text"):
        check_user_model(model, "reader")
