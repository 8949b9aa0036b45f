"""Units on every backend: the same results, the first error ends the job, and no worker outlives what ended it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import job_units
import pytest

from dmseg.errors import DataError, MissingDependencyError, UsageError
from dmseg.files import is_alive
from dmseg.jobs import Backend, WorkerLostError, run

DASK = pytest.param("dask", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def address():
    """The address of a dask cluster that somebody else has started."""
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["inline", "threads", "loky", DASK])
def backend(request):
    """Two workers of each kind; those of dask stay for the next test."""
    address = request.getfixturevalue("address") if request.param == "dask" else None
    return Backend(request.param, 2, address)


def results(function, units, backend, **choices):
    with run(function, units, backend, **choices) as found:
        return list(found)


def test_results_are_those_of_a_loop(backend):
    assert sorted(results(job_units.square, range(20), backend)) == [n * n for n in range(20)]
    assert results(job_units.square, [], backend) == []


def test_results_come_in_the_order_of_the_units_where_that_is_asked_for(backend):
    assert results(job_units.square_late, range(12), backend, ordered=True) == [n * n for n in range(12)]


@pytest.mark.parametrize("backend", ["threads", "loky", DASK], indirect=True)
def test_units_are_taken_only_a_few_ahead_of_the_results(backend):
    class Counted:
        taken = 0

        def __len__(self):
            return 1000

        def __iter__(self):
            for number in range(1000):
                Counted.taken += 1
                yield number

    with run(job_units.square, Counted(), backend, ordered=True) as found:
        for _ in range(10):
            next(found)
        assert Counted.taken < 30


def test_the_first_error_ends_the_job_and_is_all_that_is_said(backend, capfd):
    with pytest.raises(DataError, match="three is no good"):
        results(job_units.fail_at_three, range(1000), backend)
    assert "Traceback" not in capfd.readouterr().err


def test_a_full_disk_ends_the_job_within_seconds(backend):
    start = time.monotonic()
    with pytest.raises(OSError, match="No space left"):
        results(job_units.fill_disk, range(200), backend)
    assert time.monotonic() - start < 30, "200 units take 60 seconds"


def test_a_worker_that_holds_a_large_model_stays(recwarn):
    found = results(job_units.hold_a_model, range(6), Backend("loky", 2))
    assert len({process for process, _ in found}) == 2
    assert not [warning for warning in recwarn if "worker stopped" in str(warning.message)]


def test_workers_are_where_the_caller_is(tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(folder)
        found = results(job_units.hold_a_model, [0, 0], Backend("loky", 2))
        assert {where for _, where in found} == {os.path.realpath(folder)}


@pytest.mark.parametrize("name", ["loky", DASK])
def test_a_worker_that_the_system_ends_is_one_message(name):
    if name == "dask":
        pytest.importorskip("distributed", reason="dask is not installed")
    backend = Backend(name, 2)
    with pytest.raises(WorkerLostError, match=r"ended by the system.*fewer --jobs.*goes on"):
        results(job_units.die_at_two, range(50), backend)
    assert sorted(results(job_units.square, range(5), backend)) == [0, 1, 4, 9, 16], "the next job has new workers"


def test_an_error_in_the_caller_s_loop_ends_the_workers(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        run(job_units.Notes(str(tmp_path)), range(100), Backend("loky", 2)) as found,
    ):
        next(found)
        raise ZeroDivisionError
    assert wait_until_gone(workers_of(tmp_path))
    assert len(list(tmp_path.iterdir())) < 10


def workers_of(folder: Path) -> set[int]:
    return {int(path.name.split("-")[1]) for path in folder.iterdir()}


def wait_until_gone(processes: set[int], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while any(map(is_running, processes)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(is_running, processes))


def is_running(process: int) -> bool:
    """Whether a process lives and is no zombie that nobody has waited for."""
    try:
        return is_alive(process) and Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("name", ["inline", "threads", "loky", DASK])
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_what_ends_the_parent_ends_all_workers_within_seconds(tmp_path, name, how):
    if name == "dask":
        pytest.importorskip("distributed", reason="dask is not installed")
    process = subprocess.Popen(
        [sys.executable, job_units.__file__, str(tmp_path), name], stderr=subprocess.PIPE, start_new_session=True
    )
    end = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None
    started = time.monotonic()
    os.kill(process.pid, getattr(signal, how))
    process.communicate(timeout=30)
    assert wait_until_gone(workers_of(tmp_path))
    assert time.monotonic() - started < 8
    assert process.returncode != 0
    assert len(list(tmp_path.iterdir())) < 30, "what waited was not begun"


@pytest.mark.parametrize("how", ["SIGINT"])
def test_ctrl_c_reaches_the_whole_group_and_is_one_exception(tmp_path, how):
    """A terminal sends it to the workers as well, which leave it to their parent."""
    process = subprocess.Popen(
        [sys.executable, job_units.__file__, str(tmp_path), "loky"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(list(tmp_path.iterdir())) < 3:
        time.sleep(0.02)
    os.killpg(process.pid, getattr(signal, how))
    _, said = process.communicate(timeout=30)
    assert wait_until_gone(workers_of(tmp_path))
    assert said.count("Traceback") == 1, said


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(UsageError, match=r'unknown engine "lokky".*did you mean "loky"'):
        Backend("lokky")
    with pytest.raises(UsageError, match="jobs is 0"):
        Backend("loky", 0)
    with pytest.raises(UsageError, match="--engine dask"):
        Backend("loky", 2, "tcp://localhost:8786")


def test_dask_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"dmseg-bench\[dask\]"):
        results_of = run(job_units.square, range(3), Backend("dask", 2))
        results_of.__enter__()


@pytest.mark.slow
def test_ctrl_c_takes_back_what_waits_on_a_cluster_that_goes_on(address, tmp_path):
    process = subprocess.Popen(
        [sys.executable, job_units.__file__, str(tmp_path), "dask", address], stderr=subprocess.PIPE, text=True
    )
    while len(list(tmp_path.iterdir())) < 3 and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    begun = len(list(tmp_path.iterdir()))
    assert process.returncode != 0 and said.count("Traceback") == 1, said
    time.sleep(2)  # time for three more units a worker
    assert len(list(tmp_path.iterdir())) == begun < 30
    assert results(job_units.square, range(3), Backend("dask", 1, address)), "its workers are others' to end"


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_is_named():
    pytest.importorskip("distributed", reason="dask is not installed")
    with pytest.raises(UsageError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:1 "):
        results(job_units.square, range(6), Backend("dask", 1, "tcp://127.0.0.1:1"))
