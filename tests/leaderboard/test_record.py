"""The record: the same bytes from the same runs, the averages it documents, partial runs unranked, text table."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_board import MODELS, write_entries
from synthetic_runs import declare, write_run

from dmseg.errors import DataError, UsageError
from dmseg.leaderboard import add, build, check, find_pairs, request_text, show, submitting
from dmseg.leaderboard.columns import ARTEFACTS, LEADERBOARD, LONG, PAPER, PAPER_NATURAL
from dmseg.leaderboard.entries import PUBLISHED_ARTEFACTS_FILE, PUBLISHED_FILE, PUBLISHED_LONG_FILE
from dmseg.leaderboard.printed import arrange_natural
from dmseg.leaderboard.tables import read_csv
from dmseg.results.comparing import compare


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = write_entries(tmp_path_factory.mktemp("boards") / "board", patch)
        build(folder)
        yield folder


@pytest.fixture
def root(board: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(board, tmp_path / "board"))


def _rows(root: Path) -> list[dict[str, str]]:
    with (root / "leaderboard.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_building_again_changes_nothing_and_check_tells_of_edits(root: Path) -> None:
    assert build(root) == [] and build(root, check=True) == []
    text = (root / "leaderboard.csv").read_text()
    (root / "leaderboard.csv").write_text(text.replace("alpha", "omega"))
    assert build(root, check=True) == ["leaderboard.csv"]
    assert "omega" in (root / "leaderboard.csv").read_text(), "a check writes nothing"
    assert build(root) == ["leaderboard.csv"] and (root / "leaderboard.csv").read_text() == text


def test_header_is_the_documented_one_and_has_a_schema(root: Path) -> None:
    for name, columns in (
        ("leaderboard", LEADERBOARD),
        ("leaderboard_long", LONG),
        ("leaderboard_artefacts", ARTEFACTS),
        ("paper", PAPER),
        ("paper_natural", PAPER_NATURAL),
    ):
        header = (root / f"{name}.csv").read_text(encoding="utf-8").split("\n", 1)[0].split(",")
        schema = json.loads((root / f"{name}.schema.json").read_text())
        assert header == [column.name for column in columns] == [field["name"] for field in schema["fields"]]


def test_averages_are_the_documented_ones(root: Path) -> None:
    row = next(row for row in _rows(root) if row["model"] == "beta" and row["split"] == "seen")
    steps = pd.read_parquet(next((root / "entries/beta").iterdir()) / "steps.parquet")
    steps = steps[steps["split"] == "seen"]
    final = steps[steps["step"] == 5]

    def macro(rows: pd.DataFrame, column: str) -> float:
        return float(rows.groupby(["dataset", "mask_id"])[column].mean().groupby("dataset").mean().mean())

    expected = {
        "score": macro(final, "dice"),
        "iou_final": macro(final, "iou"),
        "nsd2_final": macro(final, "nsd_2"),
        "hd95_mean": macro(final, "hd95"),
        "hd95_median": final.groupby("mask_id")["hd95"].mean().median(),
        "dice_step_mean": macro(steps, "dice"),
        "dice_lq3": macro(final[final["level"] == "lq3"], "dice"),
        "drop": macro(final[final["level"] == "clear"], "dice") - macro(final[final["level"] == "lq3plus"], "dice"),
    }
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(value, abs=6e-5 if "hd95" in name else 6e-7), name
    assert float(row["score_low"]) <= float(row["score"]) <= float(row["score_high"])
    assert (row["masks"], row["cases"], row["coverage"]) == ("16", "11", "1")


def test_ranked_rows_come_first_and_partial_runs_have_no_rank(root: Path) -> None:
    seen = [row for row in _rows(root) if row["split"] == "seen"]
    assert [row["model"] for row in seen] == [*MODELS, "partial"]
    assert seen[-1]["rank_low"] == "" and float(seen[-1]["coverage"]) < 1
    assert float(seen[-1]["score"]) > float(seen[0]["score"]), "it would lead if it were averaged beside complete runs"


def test_long_table_agrees_with_the_rows(root: Path) -> None:
    long = pd.read_csv(root / "leaderboard_long.csv")
    final = long[
        (long["step"] == 5) & (long["metric"] == "dice") & (long["split"] == "seen") & (long["model"] == "beta")
    ]
    row = next(row for row in _rows(root) if row["model"] == "beta" and row["split"] == "seen")
    assert final["value"].mean() == pytest.approx(float(row["score"]), abs=1e-6)
    assert not long.duplicated(["model", "preset", "split", "dataset", "level", "step", "metric"]).any()
    assert ((long["low"] <= long["value"] + 1e-9) & (long["value"] <= long["high"] + 1e-9)).all()


def test_the_newest_run_of_a_model_counts(root: Path) -> None:
    older = next((root / "entries/beta").iterdir())
    newer = write_run(older.parent / "2026-11-21-11111111", "beta", quality=0.6)
    (newer / "checked.json").write_text(json.dumps({"date": "2026-11-21", "tier": "re-run", "run_digest": "1" * 64}))
    build(root)
    rows = [row for row in _rows(root) if row["model"] == "beta" and row["split"] == "seen"]
    assert [row["date"] for row in rows] == ["2026-11-21"]


@pytest.mark.parametrize("content", ["{}", "[", '{"tier": "gold"}', "\0"])
def test_a_damaged_entry_is_named_and_the_others_are_published(content: str, root: Path) -> None:
    path = next((root / "entries/beta").iterdir()) / "checked.json"
    path.write_text(content)
    problems: list[str] = []
    build(root, problems=problems)
    assert len(problems) == 1 and "beta" in problems[0] and "checked.json" in problems[0]
    assert {row["model"] for row in _rows(root)} == {*MODELS, "partial"} - {"beta"}


def test_rows_published_without_their_runs_are_kept_but_not_ranked_against_runs(root: Path, tmp_path: Path) -> None:
    user = tmp_path / "user"
    user.mkdir()
    for shipped, kept in (
        ("leaderboard.csv", PUBLISHED_FILE),
        ("leaderboard_long.csv", PUBLISHED_LONG_FILE),
        ("leaderboard_artefacts.csv", PUBLISHED_ARTEFACTS_FILE),
    ):
        (user / kept).write_bytes((root / shipped).read_bytes())
    assert "alpha" in show(user), "the published record shows before anything is built"
    build(user)
    assert (user / "leaderboard.csv").read_bytes() == (root / "leaderboard.csv").read_bytes()
    folder = user / "entries/alpha/2026-11-20-00000000"
    shutil.copytree(next((root / "entries/alpha").iterdir()), folder)
    build(user)
    rows = [row for row in _rows(user) if row["split"] == "seen"]
    assert rows[0]["model"] == "alpha" and rows[0]["rank_low"] == "1"
    assert len(rows) == len(MODELS) + 1 and all(row["rank_low"] == "" for row in rows[1:])


def test_show_sorts_by_level_and_metric(root: Path) -> None:
    def order(text: str) -> list[str]:
        found = [(text.find(f" {model} "), model) for model in (*MODELS, "partial")]
        return [model for place, model in sorted(found) if place >= 0]

    rows = {row["model"]: row for row in _rows(root) if row["split"] == "seen" and row["rank_low"]}
    for options, column, sign in (
        ({"level": "lq3plus"}, "dice_lq3plus", -1),
        ({"by": "hd95"}, "hd95_mean", 1),
        ({"by": "drop"}, "drop", 1),
        ({"by": "iou"}, "iou_final", -1),
    ):
        text = show(root, split="seen", **options)  # type: ignore[arg-type]
        expected = sorted(rows, key=lambda model: sign * float(rows[model][column]))
        assert order(text) == [*expected, "partial"], options
    assert "unseen" not in show(root, split="seen")


def test_show_gives_any_metric_at_a_level_as_the_mean_over_datasets(root: Path) -> None:
    with (root / "leaderboard_long.csv").open() as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == "seen" and row["model"] == "alpha"]
    last = max(int(row["step"]) for row in rows)
    values = [
        float(row["value"]) for row in rows if (row["level"], row["metric"], int(row["step"])) == ("lq3", "nsd_2", last)
    ]
    (line,) = (line for line in show(root, level="lq3", by="nsd", split="seen").splitlines() if " alpha " in line)
    assert f" {100 * sum(values) / len(values):.1f} " in line


def test_show_refuses_what_it_cannot_show(root: Path, tmp_path: Path) -> None:
    for options, words in (
        ({"by": "dise"}, 'did you mean "dice"'),
        ({"level": "lq9"}, "unknown level"),
        ({"level": "lq1", "by": "drop"}, "no value at a single level"),
    ):
        with pytest.raises(UsageError, match=words):
            show(root, **options)  # type: ignore[arg-type]
    assert "no entries yet" in show(tmp_path)


def test_models_of_the_record_are_compared_second_minus_first(root: Path) -> None:
    ((one, two, splits),) = find_pairs("gamma-large", "alpha", root)
    assert splits == ("seen", "unseen")
    rows = compare(one, two, splits=splits)
    whole = next(row for row in rows if (row.split, row.grouping, row.group) == ("seen", "level", "average"))
    scores = {row["model"]: float(row["dice_final"]) for row in _rows(root) if row["split"] == "seen"}
    assert whole.difference.value == pytest.approx(100 * (scores["alpha"] - scores["gamma-large"]), abs=1e-3)
    swapped = compare(two, one, splits=splits)
    assert swapped[0].difference.value == pytest.approx(-rows[0].difference.value)


def test_run_folders_pair_with_models_and_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "mine", "mine", quality=0.5)
    ((_, mine, _),) = find_pairs("alpha", str(run), root)
    assert mine.path == run
    with pytest.raises(UsageError, match='did you mean "alpha"'):
        find_pairs("alfa", "beta", root)
    ((whole, partial, splits),) = find_pairs("alpha", "partial", root)
    with pytest.raises(UsageError, match="do not pair"):
        compare(whole, partial, splits=splits)


def test_adding_computes_the_record_once_and_twice_changes_nothing(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = add(published.runs["watershed"], tmp_path / "r")
    second = add(published.runs["watershed"], tmp_path / "r")
    assert first.new and not second.new and second.folder == first.folder and second.changed == ()
    made: list[Path] = []
    make = submitting.make_record
    monkeypatch.setattr(submitting, "make_record", lambda root, *given: made.append(root) or make(root, *given))
    add(published.runs["disk"], tmp_path / "r")
    assert len(made) == 1 and build(tmp_path / "r", check=True) == []
    rows = _rows(tmp_path / "r")
    assert {row["model"] for row in rows} == {"watershed", "disk"}
    assert {(row["tier"], row["rank_low"]) for row in rows} == {("self-reported", "")}


def test_local_runs_are_listed_unranked(published: Any, tmp_path: Path) -> None:
    run = published.copy("disk", tmp_path / "run")
    declare(run, "benchmark", edition="local", version="0+test")
    assert add(run, tmp_path / "r", benchmark=published.benchmark).verdict.rescored
    assert {(row["edition"], row["rank_low"]) for row in _rows(tmp_path / "r")} == {("local", "")}


def test_request_text_names_run_and_licence(published: Any) -> None:
    text = request_text(published.runs["disk"])
    assert "Leaderboard entry: disk" in text and "tiny 1.0" in text and "run digest: " in text


def test_papers_figures_are_complete() -> None:
    import dmseg.leaderboard

    rows = read_csv(Path(str(dmseg.leaderboard.__file__)).parent / "paper.csv", PAPER)
    assert len(rows) == 27 * 6 and {row["level"] for row in rows} == {
        "lq3plus",
        "lq3",
        "lq2",
        "lq1",
        "clear",
        "average",
    }
    best = next(r for r in rows if (r["method"], r["split"], r["level"]) == ("PGE-SAM", "seen", "average"))
    assert (best["iou"], best["dice"]) == (84.17, 90.33)


def test_papers_figures_of_photographs_are_complete() -> None:
    import dmseg.leaderboard

    rows = read_csv(Path(str(dmseg.leaderboard.__file__)).parent / "paper_natural.csv", PAPER_NATURAL)
    counts = Counter(row["table"] for row in rows)
    cells = {3: 144, 13: 48, 14: 72, 15: 20, 16: 20, 17: 20, 18: 72, 19: 72, 20: 96, 21: 96, 23: 12}
    assert counts == {f"Tab. {number}": count for number, count in cells.items()}
    values = {
        tuple(row[name] for name in ("table", "method", "dataset", "condition", "metric")): row["value"] for row in rows
    }
    assert len(values) == len(rows)
    assert values["Tab. 3", "MoCE-SAM", "COCO", "LQ-1", "dice"] == 80.80
    assert values["Tab. 14", "DCPT-SAM", "ECSSD", "RobustSeg", "nsd"] == 33.60
    assert values["Tab. 17", "GleSAM", "SMDD", "real", "hd95"] == 492.79
    assert values["Tab. 21", "PGE-SAM", "COCO", "LQ-1", "iou"] == 78.69
    assert values["Tab. 23", "PGE-SAM", "ECSSD", "Clr X", "iou"] == 93.85
    assert [table.title for table in arrange_natural(rows)[:5]] == [
        *(f"Tab. 3, {name}" for name in ("ThinObject-5K", "LVIS", "ECSSD", "COCO")),
        "Tab. 13, clear photographs",
    ]


def test_missing_run_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        check(tmp_path / "nothing", root=tmp_path)
