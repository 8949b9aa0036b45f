"""Errors, canonical text, atomic files, tables, progress: what every layer stands on."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmseg import canonical, files, progress, tables
from dmseg.errors import DataError, UsageError, suggestion, unknown_name
from dmseg.types import LEVELS, MODALITIES, check_level, check_modality


class TestErrors:
    def test_unknown_name_says_what_was_given_what_is_allowed_and_what_is_near(self) -> None:
        message = str(unknown_name("dataset", "kvasir", ["BUSI", "Kvasir-SEG"]))
        assert message == 'unknown dataset "kvasir" (did you mean "Kvasir-SEG"?); one of: BUSI, Kvasir-SEG'

    def test_no_suggestion_for_a_name_far_from_all(self) -> None:
        assert suggestion("zzzz", LEVELS) == ""

    def test_checks_return_the_name_or_refuse_it(self) -> None:
        assert [check_level(level) for level in LEVELS] == list(LEVELS)
        assert [check_modality(name) for name in MODALITIES] == list(MODALITIES)
        with pytest.raises(UsageError, match='did you mean "lq3plus"'):
            check_level("lq3pls")
        with pytest.raises(UsageError, match="unknown modality"):
            check_modality("pet")


class TestCanonical:
    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_six_digits_are_a_fixed_point(self, value: float) -> None:
        text = canonical.significant(value)
        assert canonical.significant(float(text)) == text

    @given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.none()))
    def test_text_reads_back_and_ignores_the_order_of_keys(self, value: dict[str, float | int | None]) -> None:
        text = canonical.canonical_json(value)
        assert json.loads(text) == value
        assert canonical.canonical_json(dict(reversed(value.items()))) == text

    def test_numpy_and_python_numbers_are_one(self) -> None:
        numpy_value = {"a": np.int64(3), "b": np.float64(0.1), "c": np.array([1, 2]), "d": np.bool_(True)}
        assert canonical.digest(numpy_value) == canonical.digest({"a": 3, "b": 0.1, "c": (1, 2), "d": True})

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan")])
    def test_what_is_no_number_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="finite"):
            canonical.digest([value])
        with pytest.raises(ValueError, match="finite"):
            canonical.significant(value)

    def test_rows_are_digested_line_by_line(self) -> None:
        assert canonical.digest_rows([[1, "a"], [None]]) == hashlib.sha256(b'[1,"a"]\n[null]\n').hexdigest()


class TestFiles:
    def test_a_failed_write_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "table.csv"
        files.write_text(path, "old\n")
        with pytest.raises(OSError, match="disk full"), files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")
        assert path.read_text() == "old\n"
        assert [entry.name for entry in path.parent.iterdir()] == ["table.csv"]

    def test_the_temporary_name_keeps_the_suffix_and_is_swept(self, tmp_path: Path) -> None:
        with files.atomic_path(tmp_path / "a.png") as temporary:
            assert temporary.suffix == ".png" and temporary.parent == tmp_path
            temporary.write_bytes(b"x")
            (tmp_path / f"{files.TEMPORARY_PREFIX}killed.png").write_bytes(b"y")
        files.remove_temporaries(tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]

    def test_sha256(self, tmp_path: Path) -> None:
        files.write_bytes(tmp_path / "x", b"abc")
        assert files.sha256_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


@dataclasses.dataclass(frozen=True)
class Inner:
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Outer:
    name: str
    count: int
    span: Inner
    pair: tuple[float, float]
    names: tuple[str, ...] = ()
    by_name: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    note: str | None = None


GOOD = {"name": "n", "count": 2, "span": {"low": 0, "high": 1.5}, "pair": [1, 2]}


class TestTables:
    def test_nested_records(self) -> None:
        outer = tables.record(Outer, {**GOOD, "names": ["a"], "by_name": {"ct": ["x", "y"]}, "note": "t"}, "table")
        assert outer == Outer("n", 2, Inner(0.0, 1.5), (1.0, 2.0), ("a",), {"ct": ("x", "y")}, "t")
        assert isinstance(outer.span.low, float)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"nane": "x"}, 'unknown key "nane" \\(did you mean "name"'),
            ({"count": "2"}, "count: expected int, got '2'"),
            ({"count": True}, "count: expected int, got True"),
            ({"pair": [1]}, "pair: expected 2 values, got 1"),
            ({"span": {"low": 1}}, 'span: key "high" is missing'),
        ],
    )
    def test_a_wrong_table_is_refused_with_its_place(self, change: dict[str, object], message: str) -> None:
        with pytest.raises(DataError, match=f"recipe.toml: {message}|recipe.toml: .*{message}"):
            tables.record(Outer, {**GOOD, **change}, "recipe.toml")

    def test_files(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            tables.file_table(tmp_path / "none.toml")
        (tmp_path / "bad.toml").write_text("a = = 1")
        with pytest.raises(DataError, match=r"bad\.toml: not a readable TOML"):
            tables.file_table(tmp_path / "bad.toml")
        (tmp_path / "good.toml").write_text("a = 1")
        assert tables.file_table(tmp_path / "good.toml") == {"a": 1}


class TestProgress:
    def test_plain_lines_where_there_is_no_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert list(progress.progress(range(3), 3, "building", "images")) == [0, 1, 2]
        assert capsys.readouterr().err == "building: 3 images in 0:00\n"

    def test_time_left_is_told_now_and_then(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seconds = iter([0.0, 20.0, 25.0, 60.0, 4000.0])
        monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
        list(progress.progress(range(3), 3, "work", "items"))
        first, last = capsys.readouterr().err.splitlines()
        assert re.fullmatch(r"work: 1/3 items, 0\.05/s, 0:40 left, ends at \d\d:\d\d", first)
        assert last == "work: 3 items in 1:06:40"

    def test_bars_on_a_terminal_name_the_work_and_its_end(self, tmp_path: Path) -> None:
        pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
        for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
            shown, left = _run_on_terminal(pty, tmp_path, environment)
            assert "evaluate disk" in shown and "1/2 units" in shown and "ends at" in shown and "demo" in shown
            assert "evaluate disk: 2 units in 0:0" in shown, "the last line of inner work stays"
            assert "1 steps in 0:0" in shown
            assert left == "told\n", "what goes to stdout stays there"
            assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m|\x1b\[38", shown)) == coloured

    def test_downloads_have_a_bar_on_terminals_alone(self) -> None:
        with progress.show_transfer("x.pth") as bar:
            assert bar is False
        with progress._make_bars() as bars:
            transfer = progress.TransferBar(bars, "x.pth")
            transfer.total = 4 << 20
            transfer.update(1 << 20)
            assert (bars.tasks[0].completed, bars.tasks[0].total) == (1, 4)
            transfer.reset()
            assert bars.tasks[0].completed == 0


_WORK = """
import sys, time
from dmseg.progress import progress
def work():
    for _ in progress(range(2), 2, "evaluate disk", "units"):
        time.sleep(0.3)
    print("told")
    yield
list(progress(work(), 1, "demo", "steps"))
"""


def _run_on_terminal(pty: Any, tmp_path: Path, environment: dict[str, str]) -> tuple[str, str]:
    """Return what a program showed on a terminal of 100 columns, and what it wrote to its redirected output."""
    ours, theirs = pty.openpty()
    given = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    given |= {"TERM": "xterm-256color", "COLUMNS": "100", **environment}
    with (tmp_path / "out").open("w") as out:
        process = subprocess.Popen([sys.executable, "-c", _WORK], stdout=out, stderr=theirs, env=given)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other side is closed
        while some := os.read(ours, 65536):
            shown += some
    os.close(ours)
    assert process.wait(30) == 0, shown
    return shown.decode(), (tmp_path / "out").read_text()
