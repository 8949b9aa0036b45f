"""Manipulated submissions: each is caught by a check, or is harmless and only listed; none crashes, none is ranked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cheats import Cheat, forge_digests, make_cheats, rows, says
from further_cheats import make_further_cheats
from published_edition import publish
from synthetic_runs import declare

from dmseg.build import Benchmark, open_benchmark
from dmseg.harness import evaluate
from dmseg.leaderboard import RefusedError, add, answer, audit, build, challenge, check, find_entry
from dmseg.leaderboard.columns import LEADERBOARD
from dmseg.leaderboard.tables import read_csv
from dmseg.types import Mask, Prompts, as_rgb

CHEATS = make_cheats() + make_further_cheats()
BEACON = "8d61d9100567de44682506aea1a7a6fa6e5491cd27a0a0ed349ef6910ac5ac20"


def test_there_are_enough_and_their_names_differ() -> None:
    assert len(CHEATS) >= 215 and len({cheat.name for cheat in CHEATS}) == len(CHEATS)


def test_the_harmless_ones_are_those_that_security_md_explains() -> None:
    assert {cheat.name for cheat in CHEATS if cheat.harmless} == {
        "splits hidden", "another name of one's own", "fewer datasets trained on", "another real address",
        "another version of the model", "rows in another order", "audited runs end with empty ones",
        "dictionaries with foreign entries", "files of the record sent along", "run.json with a mark before it",
    }  # fmt: skip


@pytest.mark.parametrize(
    "cheat",
    [pytest.param(cheat, marks=[pytest.mark.slow] if i % 3 else [], id=str(cheat)) for i, cheat in enumerate(CHEATS)],
)
def test_a_manipulated_submission_is_caught_or_harmless(cheat: Cheat, published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")
    cheat.do(run)
    verdict = check(run, root=tmp_path / "record")
    codes = {finding.code for finding in verdict.findings if finding.is_error}
    for finding in verdict.findings:
        str(finding).encode("ascii", "strict") if not str(finding).isascii() else None
    if not cheat.harmless:
        assert codes & cheat.caught_by, [str(finding) for finding in verdict.findings]
        return
    if codes:
        assert codes & cheat.caught_by
        return
    add(run, tmp_path / "record")
    found = read_csv(tmp_path / "record" / "leaderboard.csv", LEADERBOARD)
    assert {(row["tier"], row["rank_low"]) for row in found} == {("self-reported", None)}


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_a_copy_of_an_entry_is_told_through_noise(noise: float, published: Any, tmp_path: Path) -> None:
    """Noise in Dice alone would fail the arithmetic; this asks whether the copy itself is told, fitted or not."""
    from dmseg.leaderboard.checks.findings import Findings
    from dmseg.leaderboard.checks.plausibility import check_plausibility
    from dmseg.leaderboard.entries import read_entries
    from dmseg.results import open_run
    from dmseg.results.cases import case_tables

    root = tmp_path / "record"
    add(published.runs["watershed"], root)
    run = open_run(published.runs["watershed"])
    steps = run.steps.copy()
    generator = np.random.default_rng(5)
    steps["dice"] = np.clip(steps["dice"] + noise * generator.standard_normal(len(steps)), 0, 1)
    info = {**run.info, "model": {**run.info["model"], "name": "my-own-idea"}}
    findings = Findings()
    check_plausibility(info, case_tables(steps), read_entries(root), findings)
    told = "E304" in {finding.code for finding in findings.items}
    spread = float(steps[steps["step"] == 5]["dice"].std())
    assert told or spread < 5 * noise, "noise as large as a fifth of the spread makes it a result of its own"


def test_another_model_is_no_copy(published: Any, tmp_path: Path) -> None:
    add(published.runs["watershed"], tmp_path / "record")
    assert "E304" not in {f.code for f in check(published.runs["disk"], root=tmp_path / "record").findings}


class _Peeking:
    """A model that knows the references: it answers with them, less a few rows at the top."""

    name, version, license = "peeking", "1", "MIT"
    capabilities = frozenset({"points", "negative_points", "box", "mask_feedback", "batched_prompts"})

    def __init__(self, benchmark: Benchmark) -> None:
        self.known: dict[bytes, list[Mask]] = {}
        masks = benchmark.frame("masks", ("mask_id", "image_id"))
        for image_id in benchmark.images["image_id"]:
            own = [benchmark.mask(name) for name in masks.loc[masks["image_id"] == image_id, "mask_id"]]
            for level in benchmark.levels:
                self.known[as_rgb(benchmark.image(image_id, level)).tobytes()] = own

    def encode(self, images: list[Any]) -> list[list[Mask]]:
        return [self.known[image.tobytes()] for image in images]

    def predict(self, embeddings: Any, image_index: Any, prompts: list[Prompts], state: Any) -> Any:
        from dmseg.baselines import Prediction

        masks = [self._answer(embeddings[int(i)], given) for i, given in zip(image_index, prompts, strict=True)]
        return Prediction(np.stack(masks).astype(np.float32) - 0.5, state)

    @staticmethod
    def _answer(masks: list[Mask], given: Prompts) -> Mask:
        def fit(mask: Mask) -> float:
            if given.box is not None:
                x0, y0, x1, y1 = (int(v) for v in given.box)
                return float(mask[y0 : y1 + 1, x0 : x1 + 1].sum() / mask.sum())
            return float(
                sum(
                    bool(mask[int(y), int(x)]) == bool(label)
                    for (x, y), label in zip(given.points, given.labels, strict=True)
                )
            )

        mask = max(masks, key=fit).copy()
        ys, xs = np.nonzero(mask)
        mask[ys[: 6 // given.step + 1], xs[: 6 // given.step + 1]] = False
        return mask


@pytest.fixture(name="peeked")
def peek_at_references(published: Any, tmp_path: Path) -> Path:
    """A run of excellent numbers behind which there are predictions, made with the references in hand."""
    benchmark = open_benchmark(published.benchmark)
    out = tmp_path / "peeked"
    evaluate(_Peeking(benchmark), benchmark, out, keep_predictions=True)
    declare(out, "model", license="MIT")
    return out


def test_fabricated_rows_pass_every_check_stay_self_reported_and_fail_the_challenge(
    peeked: Path, published: Any, tmp_path: Path
) -> None:
    """The strongest forgery without predictions: rows that fit each other in everything, but digests of nothing."""
    root = tmp_path / "record"
    add(published.runs["disk"], root)
    rows("steps", forge_digests(open_benchmark(published.benchmark).digest))(peeked)
    verdict = check(peeked, root=root)
    if not verdict.accepted:  # a perfect or empty prediction has a digest that everybody knows
        assert {f.code for f in verdict.findings if f.is_error} == {"E307"}
        pytest.skip("this forgery was caught without a challenge")
    add(peeked, root)
    found = {row["model"]: row for row in read_csv(root / "leaderboard.csv", LEADERBOARD)}
    assert found["peeking"]["score"] > found["disk"]["score"]
    assert found["peeking"]["tier"] == "self-reported" and found["peeking"]["rank_low"] is None
    challenge("peeking", root, beacon=BEACON, masks=10)
    shutil.copyfile(peeked / "predictions.jsonl.gz", tmp_path / "a.gz")
    outcome = audit("peeking", tmp_path / "a.gz", root)
    assert not outcome.passed and outcome.failed > 0
    assert {row["tier"] for row in read_csv(root / "leaderboard.csv", LEADERBOARD)} == {"self-reported"}


def test_predictions_made_with_the_reference_pass_an_audit_and_only_a_rerun_tells(peeked: Path, tmp_path: Path) -> None:
    """Stated in SECURITY.md: an audit shows that predictions exist, not how they were made."""
    root = tmp_path / "record"
    add(peeked, root)
    challenge("peeking", root, beacon=BEACON, masks=5)
    answer(find_entry("peeking", root).folder / "challenge.json", peeked, tmp_path / "a.gz")
    assert audit("peeking", tmp_path / "a.gz", root).passed


POISON = {
    "steps gone": lambda folder: (folder / "steps.parquet").unlink(),
    "steps cut": lambda folder: (folder / "steps.parquet").write_bytes(b"PAR1"),
    "run.json deep": lambda folder: (folder / "run.json").write_text("[" * 10**5),
    "params 1e400": lambda folder: (folder / "run.json").write_text(
        (folder / "run.json").read_text().replace('"params": 0', '"params": 1' + "0" * 400)
    ),
    "seed twice": rows("steps", lambda f: f.assign(seed=np.arange(len(f)))),
    "rows twice": rows("steps", lambda f: __import__("pandas").concat([f, f])),
    "step huge": rows("steps", lambda f: f.assign(step=2**31 - 1)),
    "masks from nowhere": rows("steps", lambda f: f.assign(mask_id="x" + f["mask_id"])),
    "level from nowhere": rows("steps", lambda f: f.assign(level="lq9")),
    "split from nowhere": says("benchmark", split=["seen", "moon"]),
    "surrogate": lambda folder: (folder / "run.json").write_text(
        (folder / "run.json").read_text().replace('"watershed"', '"\\\\ud800"')
    ),
    "checked a list": lambda folder: (folder / "checked.json").write_text("[]"),
    "checked date": lambda folder: (folder / "checked.json").write_text(
        '{"date": "=1+1", "tier": "re-run", "run_digest": "' + "a" * 64 + '"}'
    ),
    "a link": lambda folder: ((folder / "run.json").unlink(), (folder / "run.json").symlink_to("/dev/zero")),
}


@pytest.fixture(name="board", scope="module")
def build_board(tiny_edition: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A record of two entries, and its board without the second."""
    root = tmp_path_factory.mktemp("board") / "record"
    with publish(tiny_edition.benchmark):
        add(tiny_edition.runs["disk"], root)
        before = (root / "leaderboard.csv").read_bytes()
        add(tiny_edition.runs["watershed"], root)
    return root, before


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("name", POISON)
def test_one_bad_entry_never_breaks_the_board(name: str, board: tuple[Path, bytes], tmp_path: Path) -> None:
    root, before = Path(shutil.copytree(board[0], tmp_path / "record")), board[1]
    POISON[name](find_entry("watershed", root).folder)
    problems: list[str] = []
    build(root, problems=problems)
    assert problems and "watershed" in problems[0]
    assert (root / "leaderboard.csv").read_bytes() == before


def test_a_submission_that_is_no_run_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(RefusedError, match="E101"):
        add(tmp_path / "run", tmp_path / "record")
    assert not (tmp_path / "record").exists()
