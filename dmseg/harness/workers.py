"""Where work units of a run are done: on any backend, with or without a process that watches the model."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from dmseg.baselines import ModelAdapter, SelfTestAdapter
from dmseg.harness.engine import Engine
from dmseg.harness.selection import Block
from dmseg.harness.setup import Setup, guard_model, load_here, make_engine
from dmseg.jobs import INLINE, Backend, Calls, Ledger, Watched, run
from dmseg.results.columns import PARTS_FOLDER, RUN_FILE

GPU_THREADS = 3
"""Work units in flight on a GPU: while one is at the model, the others click, score and read."""


def open_ledger(setup: Setup) -> Ledger:
    """Return the memory of a run; a finished one says which it was in its run.json."""
    folder = setup.out / PARTS_FOLDER
    return Ledger(folder, (setup.out / RUN_FILE, folder / RUN_FILE))


@contextlib.contextmanager
def run_blocks(
    setup: Setup, model: ModelAdapter | SelfTestAdapter | None, blocks: Collection[Block], backend: Backend
) -> Iterator[Iterator[str]]:
    """Do the work units and keep their results in the ledger; the block gets their names as they are done.

    Args:
        setup: the run.
        model: the loaded model; None where :func:`loads_elsewhere` says that other processes load their own.
        blocks: the work units.
        backend: as the caller asked for it: on a GPU, threads around the one model take the place of processes.
    """
    on_gpu = setup.device.startswith("cuda")
    limit = setup.options.timeout
    with contextlib.ExitStack() as stack:
        function: Callable[[Block], str]
        if model is None and limit is not None:
            watched = Watched(_StartEngine(setup), limit)
            stack.enter_context(watched.end_processes())
            function = watched  # whose process does the work, so that a thread can wait for it
            if backend.name == "loky":
                backend = INLINE if on_gpu else Backend("threads", backend.jobs)
        elif model is None:
            function = _DoBlock(setup)
        else:
            function = _Recorder(setup, make_engine(setup, guard_model(setup, model)))
            # a time limit needs the main thread
            backend = INLINE
            if on_gpu and limit is None and not setup.options.serial:
                backend = Backend("threads", max(backend.jobs, GPU_THREADS))
        yield stack.enter_context(run(function, blocks, backend))


def loads_elsewhere(device: str, timeout: float | None, backend: Backend, by_name: bool) -> bool:
    """Return whether the model of a run is loaded by other processes, so that this one need not hold it."""
    if not by_name:
        return False
    on_gpu = device.startswith("cuda")
    return backend.name == "dask" or timeout is not None or (not backend.in_this_process and not on_gpu)


@dataclass(frozen=True)
class _Recorder:
    """Does a work unit with an engine, unless another session has done it, and keeps its result."""

    setup: Setup
    engine: Engine

    def __call__(self, block: Block) -> str:
        ledger = open_ledger(self.setup)
        if not ledger.has(block.name):
            ledger.write(block.name, self.engine.run(block))
        return block.name


@dataclass(frozen=True)
class _DoBlock:
    """Does a work unit in a worker process, which loads the model once."""

    setup: Setup

    def __call__(self, block: Block) -> str:
        return _recorder_here(self.setup)(block)


@dataclass(frozen=True)
class _StartEngine:
    """Loads the model in a watched process, and gives what does its work units."""

    setup: Setup

    def __call__(self, calls: Calls) -> Callable[[Block], str]:
        return _load_recorder(self.setup, calls)


_HERE: list[_Recorder] = []
_LOADING = threading.Lock()


def _recorder_here(setup: Setup) -> _Recorder:
    """Return this worker process's recorder; the model of the run before goes before the next one comes."""
    with _LOADING:
        if not _HERE or _HERE[0].setup != setup:
            _HERE.clear()
            _HERE.append(_load_recorder(setup))
        return _HERE[0]


def _load_recorder(setup: Setup, calls: Calls | None = None) -> _Recorder:
    return _Recorder(setup, make_engine(setup, guard_model(setup, load_here(setup), calls)))
