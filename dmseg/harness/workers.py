"""Where work units run: in this process, in threads around one model on a GPU, or in worker processes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from dmseg.baselines import ModelAdapter, SelfTestAdapter
from dmseg.errors import DataError
from dmseg.harness.engine import Engine
from dmseg.harness.parts import Parts
from dmseg.harness.selection import Block
from dmseg.harness.setup import Setup, guard_model, load_here, make_engine
from dmseg.harness.watchdog import watch_blocks

GPU_THREADS = 3
"""Work units in flight on a GPU: while one is at the model, the others click, score and read."""


def run_blocks(
    setup: Setup, model: ModelAdapter | SelfTestAdapter | None, blocks: Mapping[int, Block], *, by_name: bool
) -> Iterator[int]:
    """Do the work units, write their parts, and yield their numbers as they are done.

    Args:
        setup: the run.
        model: the loaded model; None where :func:`loads_elsewhere` says that other processes load their own.
        blocks: number -> work unit.
        by_name: whether worker processes can load the model: it was given by name and not as an object.
    """
    on_gpu = setup.device.startswith("cuda")
    if loads_elsewhere(setup, by_name) and setup.options.timeout is not None:
        yield from watch_blocks(setup, blocks, 1 if on_gpu else setup.jobs)
        return
    if loads_elsewhere(setup, by_name):
        yield from _in_processes(setup, blocks)
        return
    if model is None:
        model = setup.model.load()
    engine, parts = make_engine(setup, guard_model(setup, model)), Parts(setup.out)

    def do(number: int) -> int:
        parts.write(number, engine.run(blocks[number]))
        return number

    if not on_gpu or setup.options.timeout is not None:  # a time limit needs the main thread
        yield from map(do, blocks)
        return
    with ThreadPoolExecutor(max(setup.jobs, GPU_THREADS)) as pool:
        for done in as_completed([pool.submit(do, number) for number in blocks]):
            yield done.result()


def loads_elsewhere(setup: Setup, by_name: bool) -> bool:
    """Return whether the model of a run is loaded by other processes, so that this one need not hold it."""
    on_gpu = setup.device.startswith("cuda")
    return by_name and (setup.options.timeout is not None or (setup.jobs > 1 and not on_gpu))


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
    return make_engine(setup, guard_model(setup, load_here(setup)))


def shard_of(blocks: Sequence[Block], shard: tuple[int, int]) -> dict[int, Block]:
    """Return number -> work unit of shard i of n (1-based): every n-th, from the i-th on."""
    index, count = shard
    return {number: block for number, block in enumerate(blocks) if number % count == index - 1}
