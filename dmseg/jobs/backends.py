"""Where the units of a job run: in this process, in threads, in worker processes, or on a dask cluster.

Results are equal on all of them. Whatever ends the job early (an error of a unit, Ctrl-C, SIGTERM, a full disk, a
parent that is gone) ends all its workers within seconds; what is done stays done.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from dmseg.errors import MachineError, MissingDependencyError, UsageError, unknown_name
from dmseg.jobs.stopping import end_with_parent, stop_on_signals

U = TypeVar("U")
R = TypeVar("R")

BACKENDS: tuple[str, ...] = ("inline", "threads", "loky", "dask")
_IDLE_S = 60.0
"""Worker processes stay so long for the next job of the same process."""
_AHEAD = 3
"""Units given out per worker: one is worked on, the others wait beside it."""
_END_S = 2.0
_DASK_WAIT = "20s"
_NO_WORKER_S = 20.0
_LOOK_S = 5.0
"""So often it is looked whether there are still workers."""


class WorkerLostError(MachineError):
    """A worker process was ended by the system, not by dmseg."""


def explain_lost_worker(reason: object) -> WorkerLostError:
    """Return the error for a worker that was lost, with what is known of the reason."""
    text = str(reason) or type(reason).__name__
    ends = re.search(r"{.*}", text)  # loky's exit codes, in a paragraph of its own words
    return WorkerLostError(
        "a worker was ended by the system, most often for lack of memory "
        f"({ends.group() if ends else text.splitlines()[0]}); "
        "run the same command with fewer --jobs, it goes on from where it stopped"
    )


@dataclass(frozen=True, slots=True)
class Backend:
    """Where units run.

    Attributes:
        name: ``inline`` (this process), ``threads`` (around one model on a GPU), ``loky`` (processes of this machine;
            with one worker, this process) or ``dask``.
        jobs: number of workers; on a dask cluster of one's own, its workers count.
        scheduler: address of a dask scheduler; None takes this process's client, else the one that
            DASK_SCHEDULER_ADDRESS names, else a cluster on this machine.

    Raises:
        UsageError: an unknown name, no worker, or a scheduler without dask.
    """

    name: str = "loky"
    jobs: int = 1
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.name not in BACKENDS:
            raise unknown_name("engine", self.name, BACKENDS)
        if self.jobs < 1:
            raise UsageError(f"jobs is {self.jobs}; give at least 1 worker process")
        if self.scheduler is not None and self.name != "dask":
            raise UsageError(f"a scheduler ({self.scheduler}) is for dask; give --engine dask as well")

    @property
    def in_this_process(self) -> bool:
        """Whether units run one after the other in the calling thread."""
        return self.name == "inline" or (self.name == "loky" and self.jobs == 1)


INLINE = Backend("inline")


@contextlib.contextmanager
def run(
    function: Callable[[U], R], units: Collection[U], backend: Backend, *, ordered: bool = False
) -> Iterator[Iterator[R]]:
    """Apply a function to all units; the block gets an iterator of the results, and ends all workers where it fails.

    Args:
        function: pure, and picklable where the backend has other processes.
        units: what it is applied to; taken one by one, so that a collection may make them on the way.
        backend: where.
        ordered: yield results in the order of the units; else as they come.

    Raises:
        WorkerLostError: a worker was ended by the system.
        MissingDependencyError: dask is not installed.
        Exception: the first error of any unit; the units that wait are not begun.
    """
    with stop_on_signals():
        if backend.in_this_process or (backend.name == "loky" and len(units) == 1):
            yield map(function, units)
            return
        with _POOLS[backend.name](backend) as (executor, capacity):
            yield _collect(executor, capacity, function, units, ordered)


def _collect(
    executor: Executor, capacity: Callable[[], int], function: Callable[[U], R], units: Collection[U], ordered: bool
) -> Iterator[R]:
    """Keep the workers supplied with units, no more than a few ahead of what was yielded, and yield the results."""
    numbered = iter(enumerate(units))
    waiting: dict[Future[R], int] = {}
    ready: dict[int, R] = {}
    following = 0
    while True:
        for number, unit in islice(numbered, max(0, _AHEAD * capacity() - len(waiting) - len(ready))):
            waiting[executor.submit(function, unit)] = number
        if not waiting:
            return
        for future in wait(waiting, _LOOK_S, return_when=FIRST_COMPLETED).done:
            ready[waiting.pop(future)] = _result(future)
        for number in sorted(ready):
            if ordered and number != following:
                break
            following += 1
            yield ready.pop(number)


def _result(future: Future[R]) -> R:
    try:
        return future.result()
    except (BrokenProcessPool, CancelledError) as error:
        raise explain_lost_worker(error) from None
    except Exception as error:
        if type(error).__name__ in ("KilledWorker", "CommClosedError", "FutureCancelledError"):  # of dask
            raise explain_lost_worker(error) from None
        raise


Pool = Iterator[tuple[Executor, Callable[[], int]]]


@contextlib.contextmanager
def _threads(backend: Backend) -> Pool:
    threads = _Threads(backend.jobs)
    try:
        yield threads, lambda: backend.jobs
    finally:
        threads.shutdown()


class _Threads(Executor):
    """Threads that end with the process, whatever they are at, unlike those of the standard library."""

    def __init__(self, number: int) -> None:
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(number)]
        self._given: list[Future[Any]] = []
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._given = [other for other in self._given if not other.done()] + [future]
        self._waiting.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        for future in self._given:
            future.cancel()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(_END_S / len(self._threads))

    def _work(self) -> None:
        while (given := self._waiting.get()) is not None:
            future, call = given
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


@contextlib.contextmanager
def _processes(backend: Backend) -> Pool:
    executor = _warm_processes(backend.jobs, os.getpid(), str(Path.cwd()))
    try:
        yield executor, lambda: backend.jobs
    except BaseException:
        _warm_processes.cache_clear()
        with _quiet_handover():
            executor.shutdown(wait=True, kill_workers=True)
        raise


@contextlib.contextmanager
def _quiet_handover() -> Iterator[None]:
    """Say nothing of loky's own thread, which may be handing out a unit that is taken back just now."""
    before = threading.excepthook

    def pass_over(given: threading.ExceptHookArgs) -> None:
        if given.thread is None or "ExecutorManagerThread" not in given.thread.name:
            before(given)

    threading.excepthook = pass_over
    try:
        yield
    finally:
        threading.excepthook = before


@functools.lru_cache(maxsize=1)
def _warm_processes(jobs: int, parent: int, folder: str) -> Any:
    """Return worker processes of a working folder; they stay for the next job, apart from joblib's own."""
    from joblib.externals.loky import ProcessPoolExecutor

    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return ProcessPoolExecutor(
        max_workers=jobs,
        timeout=_IDLE_S,
        initializer=_start_worker,
        initargs=(parent,),
        env={name: os.environ.get(name, threads) for name in names},
    )


def _start_worker(parent: int) -> None:
    """Make a worker end with its parent, and keep it however large the models are that it holds."""
    from joblib.externals.loky import process_executor

    end_with_parent(parent)
    # Where psutil is there, loky takes 300 MB above the first unit for a leak: it would load every network twice.
    process_executor._USE_PSUTIL = False


@contextlib.contextmanager
def _dask(backend: Backend) -> Pool:
    with _dask_client(backend) as (client, own):
        executor = client.get_executor(pure=False, retries=0)
        without_since: float | None = None

        def count_workers() -> int:
            nonlocal without_since
            found = int(sum(client.nthreads().values()))
            # A cluster of others may wait for its machines; in one of our own, nobody starts new workers.
            without_since = None if found or not own else without_since or time.monotonic()
            if without_since is not None and time.monotonic() - without_since > _NO_WORKER_S:
                raise explain_lost_worker("all of them, and dask starts no new ones")
            return max(found, backend.jobs)

        try:
            yield executor, count_workers
        finally:
            executor.shutdown(wait=False)


@contextlib.contextmanager
def _dask_client(backend: Backend) -> Iterator[tuple[Any, bool]]:
    """Yield a client, and whether its cluster is our own."""
    try:
        import dask
        from distributed import Client, LocalCluster, get_client
    except ImportError:
        raise MissingDependencyError('--engine dask needs dask: pip install "dmseg-bench[dask]"') from None
    present = None
    if backend.scheduler is None:
        with contextlib.suppress(ValueError):
            present = get_client()
    if present is not None:
        yield present, False
        return
    named = backend.scheduler or dask.config.get("scheduler-address", None)
    own = named is None
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet_logs("distributed", "tornado.application"))
        if own:
            # As loky has it: no limit of memory but the machine's, and a unit that ends its worker is not tried thrice.
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 0}))
            cluster = LocalCluster(
                n_workers=backend.jobs,
                threads_per_worker=1,
                memory_limit=None,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
            named = stack.enter_context(cluster).scheduler_address
            stack.push(functools.partial(_end_workers, cluster))
        try:
            client = Client(named, timeout=_DASK_WAIT)
        except (OSError, ValueError) as error:
            raise UsageError(f"no dask scheduler answers at {named} ({error}); give --scheduler its address") from None
        yield stack.enter_context(client), own


def _end_workers(cluster: Any, kind: Any, error: Any, trace: Any) -> None:
    """End the workers of a cluster of our own at once where the job fails: what they are at is of no use."""
    for nanny in cluster.workers.values() if kind is not None else ():
        nanny.auto_restart = False
        if nanny.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)


@contextlib.contextmanager
def _quiet_logs(*names: str) -> Iterator[None]:
    """Keep packages from telling on stderr what the error of the job says: they log each unit that is taken back."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


_POOLS: dict[str, Callable[[Backend], contextlib.AbstractContextManager[tuple[Executor, Callable[[], int]]]]] = {
    "threads": _threads,
    "loky": _processes,
    "dask": _dask,
}
