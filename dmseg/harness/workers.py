"""Where work units run: in this process, in threads around one model on a GPU, or in worker processes."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from dmseg.baselines import ModelAdapter, SelfTestAdapter, load_model
from dmseg.build import open_benchmark
from dmseg.errors import DataError
from dmseg.harness.calling import GuardedModel
from dmseg.harness.engine import Engine
from dmseg.harness.options import Options
from dmseg.harness.parts import Parts
from dmseg.harness.replay import read_replay
from dmseg.harness.selection import Block, select

GPU_THREADS = 3
"""Work units in flight on a GPU: while one is at the model, the others click, score and read."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model by name, as :func:`dmseg.baselines.load_model` takes it; can be sent to worker processes."""

    name: str
    weights: str | None = None
    device: str = "auto"
    arguments: tuple[tuple[str, Any], ...] = ()
    precision: str = "fp32"

    def load(self) -> ModelAdapter | SelfTestAdapter:
        """Return the ready model."""
        return load_model(self.name, self.weights, self.device, dict(self.arguments), self.precision)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a worker process needs in order to do work units of a run."""

    benchmark: Path
    out: Path
    model: ModelChoice
    options: Options
    device: str
    shard: str
    jobs: int


def make_engine(setup: Setup, model: ModelAdapter | SelfTestAdapter) -> Engine:
    """Return the engine of a run around a loaded model."""
    cv2.setNumThreads(1)
    benchmark = open_benchmark(setup.benchmark)
    replay = None if setup.options.prompts is None else read_replay(setup.options.prompts)
    guarded = GuardedModel(model, setup.options.timeout)
    selection = select(benchmark, setup.options)
    return Engine(benchmark, selection, guarded, setup.options, setup.device, setup.shard, replay)


def run_blocks(
    setup: Setup, model: ModelAdapter | SelfTestAdapter, blocks: Mapping[int, Block], *, processes: bool
) -> Iterator[int]:
    """Do the work units, write their parts, and yield their numbers as they are done.

    Args:
        setup: the run.
        model: the loaded model; worker processes load their own.
        blocks: number -> work unit.
        processes: whether ``setup.jobs`` may be worker processes (a model given by name).
    """
    if processes and setup.jobs > 1 and not setup.device.startswith("cuda"):
        yield from _in_processes(setup, blocks)
        return
    engine, parts = make_engine(setup, model), Parts(setup.out)
    threads = max(setup.jobs, GPU_THREADS) if setup.device.startswith("cuda") else 1
    if threads == 1 or setup.options.timeout is not None:  # a time limit needs the main thread
        for number, block in blocks.items():
            parts.write(number, engine.run(block))
            yield number
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = {pool.submit(engine.run, block): number for number, block in blocks.items()}
        for done in as_completed(waiting):
            parts.write(waiting[done], done.result())
            yield waiting[done]


def _in_processes(setup: Setup, blocks: Mapping[int, Block]) -> Iterator[int]:
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import BrokenProcessPool

    with parallel_config(backend="loky", n_jobs=setup.jobs):
        try:
            yield from Parallel(return_as="generator_unordered")(
                delayed(_do_block)(setup, number, block) for number, block in blocks.items()
            )
        except BrokenProcessPool as error:
            raise DataError(
                f"a worker was ended by the system, most often for lack of memory ({error}); "
                "run the same command with fewer --jobs, it goes on from where it stopped"
            ) from None


def _do_block(setup: Setup, number: int, block: Block) -> int:
    """Do one work unit in a worker process."""
    Parts(setup.out).write(number, _engine_here(setup).run(block))
    return number


@functools.lru_cache(maxsize=1)
def _engine_here(setup: Setup) -> Engine:
    """Return this worker process's engine; benchmark and model are loaded once."""
    model = setup.model.load()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // setup.jobs))
    return make_engine(setup, model)


def shard_of(blocks: Sequence[Block], shard: tuple[int, int]) -> dict[int, Block]:
    """Return number -> work unit of shard i of n (1-based): every n-th, from the i-th on."""
    index, count = shard
    return {number: block for number, block in enumerate(blocks) if number % count == index - 1}
