"""How the command ends: a crash is not "done with recorded errors"; whatever became of the streams, one line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dmseg import cli
from dmseg.cli import group, main
from dmseg.errors import DataError, UsageError

PRINTS = [sys.executable, "-m", "dmseg", "presets"]


def leave(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def fail(*given: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(group, "main", fail)
    with pytest.raises(SystemExit) as caught:
        main(["presets"])
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TypeError("no"), 70),
        (MemoryError(), 70),
        (ImportError("broken package"), 70),
        (RecursionError("deep"), 70),
        (AssertionError(), 70),
        (DataError("bad file"), 2),
        (UsageError("bad name"), 2),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "gone/steps.parquet"), 2),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), 2),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2),
        (KeyboardInterrupt(), 130),
        (cli.leaving.Terminated(), 143),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_each_end_has_its_code_and_one_line(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert leave(monkeypatch, error) == code
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "Traceback" not in lines[0]


def test_a_crash_keeps_its_details_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    leave(monkeypatch, TypeError("odd"))
    text = capfd.readouterr().err
    assert "fault of dmseg: TypeError: odd" in text
    details = Path(text.rpartition("details in ")[2].strip().rstrip(")"))
    assert "Traceback" in details.read_text()
    details.unlink()


def test_a_full_disk_is_named_with_what_is_free(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    leave(monkeypatch, OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "no" / "x.parquet")))
    text = capfd.readouterr().err
    assert "x.parquet: No space left" in text and f"MB free at {tmp_path}" in text


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", ">/dev/full", "2>/dev/full"])
def test_closed_and_full_streams_end_without_a_traceback(closed: str) -> None:
    command = " ".join(PRINTS)
    found = subprocess.run(["bash", "-c", f"{command} {closed}"], capture_output=True, text=True)
    assert "Traceback" not in found.stderr and "Exception ignored" not in found.stderr
    assert found.returncode == (2 if closed == ">/dev/full" else 0)


def test_a_reader_that_goes_away_ends_the_command_in_one_line() -> None:
    code = "import os,subprocess,sys; r,w=os.pipe(); os.close(r)\n"
    code += f"p=subprocess.run({PRINTS!r}, stdout=w, stderr=subprocess.PIPE, text=True); print(p.returncode, p.stderr)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert found.startswith("2 error: the output was closed") and "Traceback" not in found and found.count("\n") <= 2


def test_a_name_that_is_no_text_is_shown_and_does_not_crash(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/run\xff"
    found = subprocess.run([*PRINTS[:3], b"summary", name], capture_output=True)
    assert found.returncode == 2 and b"run\\xff" in found.stderr and b"Traceback" not in found.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_with_their_code(number: int, code: int) -> None:
    script = (
        "import signal, time; from dmseg.cli import group, main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs are begun without
        "def wait(**_):\n    print('ready', flush=True); time.sleep(60)\n"
        "group.main = wait\nmain([])"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    child.send_signal(number)
    _, err = child.communicate(timeout=20)
    assert child.returncode == code and len(err.splitlines()) == 1
