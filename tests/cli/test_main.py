"""The command as a whole: help, names, exit codes, speed of the start, no traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmseg.cli import COMMANDS, group, main
from dmseg.version import __version__


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def test_help_lists_every_command_without_loading_them() -> None:
    code = (
        "import sys; from dmseg.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'torch', 'cv2', 'scipy', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", result.stdout, re.MULTILINE), name


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, dmseg; print({'numpy', 'pandas', 'torch', 'cv2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(group, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "dmseg " in result.output.split("Options:")[0] + result.output.split("Example")[-1]
    assert name == "leaderboard" or "Example" in result.output


def test_version() -> None:
    found = subprocess.run([sys.executable, "-m", "dmseg", "--version"], capture_output=True, text=True)
    assert found.stdout.strip() == f"dmseg, version {__version__}"


def test_an_unknown_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert status("evalute") == 2
    assert 'no command "evalute" (did you mean "evaluate"?)' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", "--model", "watersheds", "--data", "none"), ("none", "no such folder")),
        (("build", "--raw", "nowhere", "--out", "bench"), ("nowhere",)),
        (("build", "--levels", "lq9"), ('unknown level "lq9"', "lq3plus")),
        (("evaluate", "--model", "disk", "--split", "seeen"), ('unknown split "seeen"', 'did you mean "seen"')),
        (("verify", "nowhere"), ("nowhere",)),
        (("report", "nowhere"), ("nowhere",)),
        (("digest", "nowhere"), ("nowhere",)),
        (("degrade", "nowhere.png", "out.png", "--level", "lq1", "--modality", "mri"), ("nowhere.png",)),
    ],
)
def test_what_a_user_gets_wrong_is_one_message_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[..., tuple[int, str, str]],
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, said = run(*arguments)
    assert code == 2 and len(said.splitlines()) == 1, said
    for word in words:
        assert word in said
    assert list(tmp_path.iterdir()) == []


def test_doctor_prints_what_is_installed() -> None:
    result = CliRunner().invoke(group, ["doctor", "--json"])
    facts = json.loads(result.output)
    assert facts["dmseg"] == __version__ and facts["packages"]["numpy"]
    text = CliRunner().invoke(group, ["doctor"]).output
    assert "numpy" in text and "cache:" in text


def test_doctor_says_where_the_cache_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    from dmseg.cli import doctor

    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert any("DMSEG_CACHE" in line for line in doctor.findings()["warnings"])
