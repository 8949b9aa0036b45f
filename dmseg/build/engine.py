"""Where tasks run: in this process, in local worker processes (loky), or on a dask cluster; the results are equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from dmseg.build.unit import Task, TaskOutcome, run_task
from dmseg.errors import DataError, MissingDependencyError, UsageError, unknown_name

ENGINES = ("loky", "dask")


def check_engine(engine: str, jobs: int) -> None:
    """Raise :class:`~dmseg.errors.UsageError` for an engine that does not exist, or for no workers."""
    if engine not in ENGINES:
        raise unknown_name("engine", engine, ENGINES)
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}; give at least 1 worker process")


def run_tasks(tasks: Sequence[Task], jobs: int = 1, engine: str = "loky") -> Iterator[TaskOutcome]:
    """Do the tasks and yield their outcomes as they come.

    Raises:
        DataError: an output folder without room, or a worker that the system ended; a later build goes on from there.
    """
    if engine == "loky" and (jobs == 1 or len(tasks) == 1):
        yield from map(run_task, tasks)
        return
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import BrokenProcessPool

    with _dask(jobs) if engine == "dask" else nullcontext(), parallel_config(backend=engine, n_jobs=jobs):
        try:
            yield from Parallel(return_as="generator", batch_size=1)(delayed(run_task)(task) for task in tasks)
        except BrokenProcessPool as error:
            raise DataError(
                f"a worker was ended by the system, most often for lack of memory ({error}); "
                "run the same command with fewer --jobs, it goes on from where it stopped"
            ) from None


@contextmanager
def _dask(jobs: int) -> Iterator[None]:
    """Use this process's dask client, or the cluster that DASK_SCHEDULER_ADDRESS names, or a local one of ``jobs``."""
    try:
        import dask
        from distributed import Client, LocalCluster, get_client
    except ImportError:
        raise MissingDependencyError('--engine dask needs dask: pip install "dmseg-bench[dask]"') from None
    try:
        get_client()
    except ValueError:
        named = dask.config.get("scheduler-address", None)
        local = None if named else LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=None)
        with local or nullcontext(), Client(named or local):
            yield
    else:
        yield
