"""Cheats that need the entries of others: copies in part or changed a little, exchanged levels, look-alike names."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cheats import AUDIT, PROMPTS, STEPS, put, rows
from further_cheats import add_own_files, exchange_levels, turn_audit
from numpy.typing import NDArray
from scipy import ndimage
from synthetic_runs import declare, write_run

from dmseg.build import open_benchmark
from dmseg.harness import evaluate
from dmseg.leaderboard import add, answer, audit, challenge, check, confirm, find_entry
from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.checks.levels import find_swapped
from dmseg.leaderboard.checks.plausibility import check_plausibility
from dmseg.leaderboard.columns import LEADERBOARD
from dmseg.leaderboard.entries import Entry, read_entries
from dmseg.leaderboard.tables import read_csv
from dmseg.results import open_run, run_digest
from dmseg.results.audit import is_audited
from dmseg.results.cases import CaseTable
from dmseg.types import LEVELS

BEACON = "8d61d9100567de44682506aea1a7a6fa6e5491cd27a0a0ed349ef6910ac5ac20"
Masks = NDArray[np.bool_]


def find_codes(info: Any, table: CaseTable, others: list[Entry]) -> set[str]:
    findings = Findings()
    check_plausibility(info, {table.split: table}, others, findings)
    return {finding.code for finding in findings.items}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of two models over the same masks."""
    folder = tmp_path_factory.mktemp("record")
    for model, quality in (("alpha", 0.85), ("beta", 0.8)):
        run = write_run(folder / "entries" / model / "2026-11-20-00000000", model, quality=quality)
        checked = {"date": "2026-11-20", "tier": "re-run", "run_digest": run_digest(run), "owner": f"lab-{model}"}
        (run / "checked.json").write_text(json.dumps(checked))
    return folder


def replace_final(table: CaseTable, final: NDArray[np.float64]) -> CaseTable:
    """Return a table with other final Dice."""
    dice = table.values["dice"].copy()
    dice[:, :, -1] = final
    return dataclasses.replace(table, values={**table.values, "dice": dice})


def test_one_dataset_copied_from_each_of_two_entries_is_told(root: Path) -> None:
    """No correlation with a whole entry is high; the rows of each dataset are another's to the last bit."""
    alpha, beta = read_entries(root)
    table = alpha.tables["seen"]
    info = {**alpha.info, "model": {**alpha.info["model"], "name": "mixed"}}
    own = np.random.default_rng(1).uniform(0.5, 0.9, table.values["dice"][:, :, -1].shape)
    for dataset in sorted(set(table.datasets)):
        inside = (np.array(table.datasets) == dataset)[:, None]
        mixed = replace_final(table, np.where(inside, table.values["dice"][:, :, -1], own))
        assert "E304" in find_codes(info, mixed, [alpha, beta])
    assert "E304" not in find_codes(info, replace_final(table, own), [alpha, beta])


def test_the_better_of_two_entries_mask_by_mask_is_told(root: Path) -> None:
    alpha, beta = read_entries(root)
    table = alpha.tables["seen"]
    best = np.maximum(table.values["dice"], beta.tables["seen"].values["dice"])[:, :, -1]
    info = {**alpha.info, "model": {**alpha.info["model"], "name": "best"}}
    assert "E304" in find_codes(info, replace_final(table, best), [alpha, beta])


def test_a_copy_with_its_levels_in_another_order_is_told(root: Path) -> None:
    alpha = read_entries(root)[0]
    table = alpha.tables["seen"]
    info = {**alpha.info, "model": {**alpha.info["model"], "name": "turned"}}
    assert "E304" in find_codes(info, replace_final(table, table.values["dice"][:, ::-1, -1]), [alpha])


def draw_blobs(generator: np.random.Generator, number: int) -> tuple[Masks, Masks]:
    """Return references and predictions whose outlines wander around them, (N, 64, 64)."""
    noise = ndimage.gaussian_filter(generator.standard_normal((2, number, 64, 64)), (0, 0, 6, 6)) * 60
    y, x = np.mgrid[:64, :64]
    distance = np.hypot(y - 32, x - 32)
    size = generator.uniform(12, 24, (number, 1, 1))
    worse = generator.uniform(0.2, 4, (number, 1, 1))
    reference = distance < size + noise[0]
    return reference, distance < size + noise[0] + worse * noise[1]


CHANGES: dict[str, Callable[[Masks], Masks]] = {
    "opened": ndimage.binary_opening, "closed": ndimage.binary_closing, "filled": ndimage.binary_fill_holes,
    "smoothed": lambda mask: ndimage.gaussian_filter(mask.astype(float), 1.5) > 0.5,
    "grown by a pixel": ndimage.binary_dilation, "shrunk by a pixel": ndimage.binary_erosion,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_predictions_of_an_entry_changed_a_little_are_told(name: str) -> None:
    from dmseg.leaderboard.checks.plausibility import COPY_CORRELATION, _correlation

    references, predictions = draw_blobs(np.random.default_rng(3), 120)

    def dice(masks: list[Masks]) -> NDArray[np.float64]:
        pairs = zip(references, masks, strict=True)
        return np.array([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs])

    theirs = dice(list(predictions))
    changed = dice([CHANGES[name](mask) for mask in predictions])
    assert _correlation(changed, theirs) > COPY_CORRELATION
    other = draw_blobs(np.random.default_rng(3), 120)[0] & (np.random.default_rng(4).random((120, 64, 64)) < 0.9)
    assert _correlation(dice(list(other)), theirs) < COPY_CORRELATION


def draw_levels(generator: np.random.Generator, cases: int, shared: float) -> tuple[Any, Any, list[str], list[str]]:
    """Return own and others' final Dice, (N, 5), that share some of what makes a mask harder; datasets and cases."""
    number = 3 * cases
    common, one, other = generator.standard_normal((3, number, 5)) * 0.05
    falls = -0.03 * np.arange(5)
    own = 0.8 + falls + shared * common + np.sqrt(1 - shared**2) * one
    others = 0.75 + falls + shared * common + np.sqrt(1 - shared**2) * other
    names = [f"c{i // 3}" for i in range(number)]
    return own, others, [f"d{i % 2}" for i in range(number)], names


def test_exchanged_levels_are_told_by_which_masks_become_harder() -> None:
    own, others, datasets, cases = draw_levels(np.random.default_rng(0), 800, 0.45)
    assert find_swapped(own, others, datasets, cases) is None
    for first, second in combinations(range(5), 2):
        swapped = own.copy()
        swapped[:, [first, second]] = own[:, [second, first]]
        assert find_swapped(swapped, others, datasets, cases) is not None


def test_honest_levels_are_never_called_exchanged() -> None:
    """Models that share little, nothing, or have a dataset of their own liking."""
    for seed in range(100):
        own, others, datasets, cases = draw_levels(np.random.default_rng(seed), 60, 0.3 * (seed % 2))
        own[:, 3] += 0.3 * (np.array(datasets) == "d1")
        others[:, 3] -= 0.3 * (np.array(datasets) == "d1")
        assert find_swapped(own, others, datasets, cases) is None


def test_levels_exchanged_in_a_submission_are_refused_beside_entries_that_were_run_again(tmp_path: Path) -> None:
    from dmseg.leaderboard.checks import levels
    from dmseg.leaderboard.summaries import summary_of

    own, others, datasets, cases = draw_levels(np.random.default_rng(2), 500, 0.45)
    entries = []
    for model in ("one", "two"):
        folder = write_run(tmp_path / model, model)
        entries.append(Entry(folder, "2026-11-20", "re-run", "ab" * 32))
    info = {**entries[0].info, "model": {**entries[0].info["model"], "name": "mine"}}
    ids = tuple(f"m{i:05d}" for i in range(len(own)))
    table = dataclasses.replace(
        entries[0].tables["seen"], mask_ids=ids, datasets=tuple(datasets), cases=tuple(cases), levels=LEVELS,
        values={"dice": own[:, ::-1, None]},
    )  # fmt: skip
    known = summary_of(entries[0], "seen")
    assert known is not None
    scores = dataclasses.replace(known.scores, mask_ids=ids, levels=LEVELS)
    theirs = dataclasses.replace(known, scores=scores, final=others.astype(np.float32))

    def find(tier: str, number: int) -> set[str]:
        findings = Findings()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(levels, "summary_of", lambda entry, split: theirs)
            chosen = [dataclasses.replace(entry, tier=tier) for entry in entries[:number]]
            levels.check_levels(info, table, chosen, "steps.parquet", findings)
        return {finding.code for finding in findings.items}

    assert find("re-run", 2) == {"E308"}
    assert find("audited", 2) == set(), "what others only say must not keep an honest run out"
    assert find("re-run", 1) == set()


class _Dimmed:
    """A model that answers with a disc around its prompt, smaller in darker images."""

    name, version, license = "dimmed", "1", "MIT"
    capabilities = frozenset({"points", "negative_points", "box", "mask_feedback", "batched_prompts"})

    def encode(self, images: list[Any]) -> list[Any]:
        return images

    def predict(self, embeddings: Any, image_index: Any, prompts: list[Any], state: Any) -> Any:
        from dmseg.baselines import Prediction

        y, x = np.mgrid[:48, :64]
        masks = []
        for place, given in zip(image_index, prompts, strict=True):
            box = given.box
            middle = given.points[0] if box is None else ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            radius = embeddings[int(place)].mean() / 8 + 0.3 * given.step
            masks.append(np.hypot(x - middle[0], y - middle[1]) < radius)
        return Prediction(np.stack(masks).astype(np.float32) - 0.5, state)


def test_exchanged_levels_pass_a_small_audit_and_a_rerun_tells(published: Any, tmp_path: Path) -> None:
    """Stated in SECURITY.md: too few masks and entries to tell from; the ranked score is the same."""
    root, honest = tmp_path / "record", tmp_path / "honest"
    evaluate(_Dimmed(), open_benchmark(published.benchmark), honest, keep_predictions=True)
    run = Path(shutil.copytree(honest, tmp_path / "run"))
    exchange_levels("lq1", "lq3plus")(run)
    add(run, root)
    challenge("dimmed", root, beacon=BEACON, masks=8)
    answer(find_entry("dimmed", root).folder / "challenge.json", run, tmp_path / "a.gz")
    assert audit("dimmed", tmp_path / "a.gz", root).passed
    assert not confirm("dimmed", honest, root).agrees
    assert {row["tier"] for row in read_csv(root / "leaderboard.csv", LEADERBOARD)} == {"audited"}


@pytest.mark.parametrize("name", ["Watershcd", "vvatershed", "WATERSHED", "mini-pge-sarn", "DlSK", "m1ni-sam"])
def test_a_name_that_looks_like_another_is_refused(name: str, published: Any, tmp_path: Path) -> None:
    run = published.copy("disk", tmp_path / "run")
    declare(run, "model", name=name)
    declare(run, "", submitter="stranger")
    add(published.runs["watershed"], tmp_path / "record", owner="lab")
    codes = {finding.code for finding in check(run, root=tmp_path / "record").findings}
    assert ("E506" in codes) == (name != "Watershcd")


def test_a_run_of_another_seed_relabelled_is_refused(published: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    evaluate("disk", open_benchmark(published.benchmark), run, seed=3)
    for table in (STEPS, PROMPTS):
        rows(table, lambda frame: frame.assign(seed=0))(run)
    declare(run, "protocol", seed=0)
    codes = {finding.code for finding in check(run, root=tmp_path / "record").findings}
    assert codes & {"E302", "E306"}


def test_clicks_moved_where_no_prediction_is_kept_fail_the_challenge(published: Any, tmp_path: Path) -> None:
    """One pixel aside, inside of the same object: the label is right, and no row can tell."""
    run, root = published.copy("watershed", tmp_path / "run"), tmp_path / "record"
    benchmark = open_benchmark(published.benchmark)
    steps = open_run(run).steps
    free = steps[steps["new_x"].notna() & (steps["new_label"] == 0)]
    free = free[[not is_audited(benchmark.digest, mask_id) for mask_id in free["mask_id"]]]
    chosen = next(
        row for row in free.itertuples()
        if row.new_x + 1 < 64 and not benchmark.mask(row.mask_id)[int(row.new_y), int(row.new_x) + 1]
    )  # fmt: skip

    def here(frame: Any) -> Any:
        return (frame["mask_id"] == chosen.mask_id) & (frame["level"] == chosen.level) & (frame["step"] == chosen.step)

    put("new_x", lambda x: x + 1, where=here)(run)
    put("x", lambda x: x + 1, where=here, table=PROMPTS)(run)
    add(run, root)
    challenge("watershed", root, beacon=BEACON, masks=100)
    answer(find_entry("watershed", root).folder / "challenge.json", run, tmp_path / "a.gz")
    outcome = audit("watershed", tmp_path / "a.gz", root)
    assert not outcome.passed and outcome.failed == 1


def test_an_answer_of_turned_masks_fails_the_challenge(published: Any, tmp_path: Path) -> None:
    run, root = published.copy("watershed", tmp_path / "run"), tmp_path / "record"
    add(run, root)
    challenge("watershed", root, beacon=BEACON, masks=3)
    answer(find_entry("watershed", root).folder / "challenge.json", run, run / AUDIT)
    turn_audit(lambda mask: mask[:, ::-1])(run)
    assert not audit("watershed", run / AUDIT, root).passed


def test_files_of_the_record_that_are_sent_along_are_not_taken(published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")
    add_own_files(run)
    entry = find_entry(add(run, tmp_path / "record", owner="sender").folder, tmp_path / "record")
    assert (entry.tier, entry.owner) == ("self-reported", "sender") and entry.date != "2020-01-01"
    assert not (entry.folder / "rerun.json").exists()


def test_predictions_that_do_not_depend_on_the_image_are_pointed_at(root: Path) -> None:
    from dmseg.leaderboard.checks import find_warnings

    alpha = read_entries(root)[0]

    def read(tables: dict[str, CaseTable]) -> str:
        return " ".join(str(finding) for finding in find_warnings(alpha.info, tables))

    table = alpha.tables["seen"]
    alike = {name: np.repeat(values[:, :1], values.shape[1], axis=1) for name, values in table.values.items()}
    assert "looks at the image" in read({"seen": dataclasses.replace(table, values=alike)})
    assert "looks at the image" not in read({"seen": table})
