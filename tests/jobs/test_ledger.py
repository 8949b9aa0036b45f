"""The memory of a job: one of many that begin at once is first, and the others share its job or change nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import claim_at_once
import pytest
from claim_at_once import join, make_ledger

from dmseg import files
from dmseg.errors import DataError, MachineError, UsageError
from dmseg.jobs import guard_disk


def start_at_once(tmp_path: Path, names: list[str]) -> list[tuple[int, str]]:
    """Let processes claim one folder at the same moment; return exit code and message of each."""
    gate = tmp_path / "gate"
    gate.unlink(missing_ok=True)
    processes = [
        subprocess.Popen(
            [sys.executable, claim_at_once.__file__, str(tmp_path / "out"), str(gate), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    gate.touch()
    said = [process.communicate()[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_of_claims_at_once_for_one_job_none_is_refused(tmp_path):
    assert start_at_once(tmp_path, ["a"] * 6) == [(0, "")] * 6


def test_of_claims_at_once_for_other_jobs_exactly_one_is_first(tmp_path):
    found = start_at_once(tmp_path, ["a", "b", "c", "d", "e", "f"])
    assert sorted(code for code, _ in found) == [0, 2, 2, 2, 2, 2]
    assert make_ledger(tmp_path / "out").read_job() == {"name": "abcdef"[[code for code, _ in found].index(0)]}
    assert not list(tmp_path.rglob(f"{files.TEMPORARY_PREFIX}*"))


@pytest.mark.slow
def test_two_hundred_and_forty_claims_at_a_barrier(tmp_path):
    for turn in range(20):
        folder = tmp_path / str(turn)
        folder.mkdir()
        assert {code for code, _ in start_at_once(folder, ["a"] * 12)} == {0}


def test_threads_of_one_process_share_a_job_too(tmp_path):
    wrong: list[BaseException] = []

    def claim():
        try:
            join(tmp_path / "out", "a")
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_another_job_is_refused_and_changes_nothing(tmp_path):
    join(tmp_path / "out", "a")
    before = files_below(tmp_path)
    with pytest.raises(UsageError, match="holds the job a"):
        join(tmp_path / "out", "b")
    assert files_below(tmp_path) == before


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(DataError, match="holds something else"):
        join(tmp_path, "a")
    assert files_below(tmp_path) == {"thesis.txt": b"dear"}


def test_a_job_is_widened_only_while_nobody_is_at_work(tmp_path):
    def check(before):
        return before != {"limit": 2}

    ledger = make_ledger(tmp_path / "out")
    with ledger.session({"limit": 1}, lambda before: False, AssertionError):
        with pytest.raises(UsageError, match="at work there"), ledger.session({"limit": 2}, check, AssertionError):
            raise AssertionError
        assert ledger.read_job() == {"limit": 1}
    with ledger.session({"limit": 2}, check, AssertionError):
        assert ledger.read_job() == {"limit": 2}


def test_who_finishes_waits_for_those_at_work(tmp_path):
    ledger, order = make_ledger(tmp_path / "out"), []
    with ledger.session({"name": "a"}, lambda before: False, AssertionError):

        def finish():
            with ledger.alone():
                order.append("finished")

        thread = threading.Thread(target=finish)
        thread.start()
        thread.join(0.3)
        order.append("worked")
    thread.join()
    assert order == ["worked", "finished"]


def test_a_damaged_job_file_is_named(tmp_path):
    join(tmp_path / "out", "a")
    (tmp_path / "out" / "memory" / "job.json").write_text("{")
    with pytest.raises(DataError, match=r"job\.json.*not readable.*--out"):
        join(tmp_path / "out", "a")


@pytest.mark.parametrize("name", ["parts/a.json", "b.json.gz"])
def test_a_part_is_read_as_it_was_written_and_a_damaged_one_is_not_done(tmp_path, name):
    ledger = make_ledger(tmp_path)
    assert ledger.read(name) is None and ledger.find_missing([name]) == [name]
    ledger.write(name, {"rows": [{"x": 1.5, "y": None}]})
    assert ledger.read(name) == {"rows": [{"x": 1.5, "y": None}]} and ledger.find_missing([name]) == []
    path = ledger.folder / name
    path.write_bytes(path.read_bytes()[:9])
    assert ledger.read(name) is None
    with pytest.raises(DataError, match=r"was damaged and is removed.*again"):
        list(ledger.stream([name]))
    with pytest.raises(DataError, match="is not done yet"):
        list(ledger.stream([name]))


def test_an_error_of_the_disk_says_what_to_do(tmp_path):
    message = r"out: cannot be written: No space left.*run the same command again"
    with pytest.raises(MachineError, match=message), guard_disk(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.png")


def test_temporary_files_of_the_living_are_left_to_them(tmp_path):
    mine = files.temporary_sibling(tmp_path / "a.png")
    mine.touch()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    of_the_dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
    of_the_dead.mkdir()
    (of_the_dead / "half").touch()
    elsewhere = mine.with_name(f"{files.TEMPORARY_PREFIX}00000000-1-abc.png")
    elsewhere.touch()
    files.remove_temporaries(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere])
    files.remove_temporaries(tmp_path, everyone=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_new_for_one_writer_only(tmp_path, monkeypatch):
    assert files.write_new(tmp_path / "a", b"one") and not files.write_new(tmp_path / "a", b"two")

    def refuse(*names):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)  # as file systems without hard links do
    assert files.write_new(tmp_path / "b", b"one") and not files.write_new(tmp_path / "b", b"two")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"one", "b": b"one"}


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*given):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files, "_hold", refuse)
    join(tmp_path / "out", "a")
    with pytest.raises(UsageError, match="holds the job a"):
        join(tmp_path / "out", "b")
