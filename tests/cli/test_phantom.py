"""``dmseg phantom``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str, str]]


def test_it_writes_the_sets_asked_for_and_says_what_to_do_next(run: Run, tmp_path: Path) -> None:
    code, out, err = run("phantom", "--out", tmp_path, "--per-dataset", 2, "--datasets", "NerveUS,CHAOS")
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"NerveUS", "CHAOS", "phantom.json"}
    assert f"wrote 2 data sets to {tmp_path}" in out and f"dmseg build --raw {tmp_path}" in out
    assert "3 images" in err


def test_an_unknown_set_is_refused_with_a_suggestion(run: Run, tmp_path: Path) -> None:
    code, _, err = run("phantom", "--out", tmp_path, "--per-dataset", 1, "--datasets", "nerveus")
    assert code == 2
    assert 'did you mean "NerveUS"?' in err
    assert not list(tmp_path.iterdir())


def test_help_has_an_example(run: Run) -> None:
    code, out, _ = run("phantom", "--help")
    assert code == 0
    assert "dmseg phantom --out raw --per-dataset 4" in out
