"""The commands report, submit and leaderboard: what they print, what they leave, how they end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import declare, write_run

from dmseg.cli import main


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(left.value.code or 0), out, err


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A complete run on a local edition."""
    run = write_run(tmp_path / "run", "mine")
    declare(run, "model", code_url=None)
    declare(run, "benchmark", edition="local", version="0+abababab")
    return run


def test_report_says_what_it_wrote_and_what_is_next(local: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = _run(capsys, "report", local)
    assert code == 0 and (local / "report.html").is_file()
    assert f"{local / 'report.html'}: written" in out and "--data BENCH" in out and "submit check" in out


def test_report_of_nothing_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = _run(capsys, "report", tmp_path / "no")
    assert code == 2 and err.startswith("error: ") and "no such folder" in err and "Traceback" not in err


def test_report_opens_the_page(
    local: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    _run(capsys, "report", local, "--open")
    assert opened == [str((local / "report.html").resolve())]


def test_submit_check_ends_with_0_for_warnings_and_1_when_strict(
    local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = _run(capsys, "submit", "check", local, "--root", tmp_path / "r")
    assert code == 0 and "W403" in out and "0 errors" in out and "submit pack" in out
    code, out, _ = _run(capsys, "submit", "check", local, "--root", tmp_path / "r", "--strict")
    assert code == 1 and "not accepted" in out


def test_submit_check_as_json(local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (local / "prompts.parquet").unlink()
    code, out, _ = _run(capsys, "submit", "check", local, "--root", tmp_path / "r", "--json")
    report = json.loads(out)
    assert code == 1 and not report["accepted"] and [f["code"] for f in report["findings"]] == ["E101"]


def test_submit_pack_writes_a_zip_and_the_text_of_the_request(
    local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = _run(capsys, "submit", "pack", local, "-o", tmp_path / "x.zip", "--root", tmp_path / "r")
    assert code == 0 and (tmp_path / "x.zip").is_file()
    assert "sha256" in out and "Leaderboard entry: mine" in out and "- run digest: " in out


def test_leaderboard_add_show_build_compare(local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "r"
    code, out, err = _run(capsys, "leaderboard", "add", local, "--root", root)
    assert code == 0 and "added as self-reported" in out and "leaderboard.csv" in out and "W403" in err
    code, out, _ = _run(capsys, "leaderboard", "add", local, "--root", root)
    assert code == 0 and "here already" in out and "changed: nothing" in out
    code, out, _ = _run(capsys, "leaderboard", "show", "--root", root, "--split", "unseen")
    assert code == 0 and "mine" in out and "seen\n" in out
    code, out, _ = _run(capsys, "leaderboard", "build", "--root", root, "--check")
    assert code == 0 and "up to date" in out
    (root / "leaderboard.csv").write_text("edited")
    code, _, err = _run(capsys, "leaderboard", "build", "--root", root, "--check")
    assert code == 1 and "leaderboard.csv" in err and "dmseg leaderboard build" in err
    other = write_run(tmp_path / "other", "other", quality=0.5)
    code, out, _ = _run(capsys, "compare", "mine", other, "--root", root)
    assert code == 0 and "minus mine" in out and re.search(r"average .* -\d", out), "SECOND minus FIRST"
    code, old, err = _run(capsys, "leaderboard", "compare", "mine", other, "--root", root)
    assert code == 0 and old == out and "SECOND minus FIRST" in err
    code, _, err = _run(capsys, "compare", "mein", other, "--root", root)
    assert code == 2 and 'did you mean "mine"' in err


def test_a_refused_run_lists_every_error_and_changes_nothing(
    local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info: dict[str, Any] = json.loads((local / "run.json").read_text())
    info["model"] |= {"license": "", "name": "=1+1"}
    (local / "run.json").write_text(json.dumps(info))
    code, _, err = _run(capsys, "leaderboard", "add", local, "--root", tmp_path / "r")
    assert code == 2 and "E502" in err and "E108" in err and not (tmp_path / "r").exists()
