"""``evaluate``: a model, a benchmark and a protocol in; a run folder out."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmseg.baselines import FunctionAdapter, ModelAdapter, SelfTestAdapter, model_facts
from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import UsageError
from dmseg.files import remove_temporaries
from dmseg.harness.merging import merge
from dmseg.harness.options import RunOptions, differences, run_info, with_defaults
from dmseg.harness.preflight import read_sizes, require_digests, require_prompts
from dmseg.harness.replay import Replay, read_replay
from dmseg.harness.selection import BlockList, Selection, block_name, levels_of, select
from dmseg.harness.setup import ModelChoice, Setup
from dmseg.harness.workers import loads_elsewhere, open_ledger, run_blocks
from dmseg.jobs import Backend, Ledger, check_shard, guard_disk, session_facts, take_shard, torchrun_shard
from dmseg.progress import progress
from dmseg.reading import show_name
from dmseg.results.columns import RUN_FILE
from dmseg.results.runs import open_run
from dmseg.types import LEVELS

ModelLike = str | ModelAdapter | SelfTestAdapter | Callable[..., Any]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What an evaluation gave.

    Attributes:
        path: the run folder.
        finished: whether all work units are done; with shards, the last one to finish writes the tables.
        n_images, n_masks: images and objects of the run.
        n_errors: rows whose status is not ``ok``; 0 while the run is not finished.
        blocks_left: work units that other shards have still to do.
    """

    path: Path
    finished: bool
    n_images: int
    n_masks: int
    n_errors: int
    blocks_left: int

    @property
    def exit_code(self) -> int:
        """0 done, 1 done with errors that are rows of steps.parquet."""
        return 1 if self.n_errors else 0


@dataclass(frozen=True)
class RunPlan:
    """A run that is ready to start: everything is checked, nothing is written.

    ``model`` is None where other processes load their own: it is not kept in memory beside theirs. ``benchmark`` is
    the folder, as it is on this machine: pages look for their pictures there.
    """

    setup: Setup
    model: ModelAdapter | SelfTestAdapter | None
    selection: Selection
    info: Mapping[str, Any]
    shard: tuple[int, int]
    backend: Backend
    benchmark: Path

    @property
    def blocks(self) -> BlockList:
        """All work units of the run."""
        return self.selection.blocks(self.setup.options.batch_images)


def evaluate(model: ModelLike, benchmark: Path | str | Benchmark, out: Path | str, **choices: Any) -> RunSummary:
    """Run a model under the click protocol and score every step; goes on where an earlier run stopped.

    Args:
        model: a name of ``dmseg models``, ``pkg.mod:Class``, ``file.py:Class``, an adapter, or a plain function.
        benchmark: the folder that ``dmseg build`` wrote, or the open benchmark.
        out: the run folder: new, empty, or one that was begun with the same choices.
        **choices: see :func:`prepare`.

    Raises:
        UsageError: an unknown name, a preset that the model cannot serve, or a folder that holds another run.
        DataError: an unusable benchmark. What the model does wrong is no error here but rows with a status.
    """
    return perform(prepare(model, benchmark, out, **choices))


def prepare(
    model: ModelLike,
    benchmark: Path | str | Benchmark,
    out: Path | str,
    *,
    preset: str = "dmseg",
    corrective: str | None = None,
    splits: Sequence[str] = ("seen", "unseen"),
    levels: Sequence[str] = LEVELS,
    seed: int = 0,
    limit: int | None = None,
    weights: Path | str | None = None,
    device: str = "auto",
    arguments: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    chunk: int | None = None,
    batch_images: int = 1,
    grid: int | None = None,
    boundary: str = "vertex",
    hd95: str = "directed",
    prompts: Path | str | None = None,
    timeout: float | None = None,
    jobs: int = 1,
    engine: str = "loky",
    scheduler: str | None = None,
    shard: tuple[int, int] | None = None,
    submitter: str | None = None,
    isolate: bool = False,
    serial: bool = False,
    keep_predictions: bool = False,
) -> RunPlan:
    """Check everything that can be wrong before a run, load the model, and say what the run would be.

    Args:
        preset, corrective, seed: see :func:`dmseg.protocol.preset`.
        splits, levels: what to evaluate; all five levels means all that the benchmark has.
        limit: at most so many images of each dataset.
        weights, device, arguments, precision: see :func:`dmseg.baselines.load_model`.
        chunk: masks per call of the model; default by device.
        batch_images: images per call of the encoder and work unit.
        grid, boundary, hd95, prompts, timeout: see :class:`Options`.
        jobs, engine, scheduler: where work units are done, see :class:`dmseg.jobs.Backend`; on a GPU, threads around
            the one model take the place of worker processes.
        shard: (i, n): only every n-th work unit, from the i-th on; default from RANK and WORLD_SIZE (torchrun).
        submitter: whom the run is by, for the leaderboard.
        serial: see :class:`RunOptions`.
        isolate: run the model in a process of its own, which sees neither benchmark nor run folder, nor a network
            where the system allows that.
        keep_predictions: keep every prediction in the run folder, so that a leaderboard's challenge can be answered.
    """
    opened = benchmark if isinstance(benchmark, Benchmark) else open_benchmark(benchmark)
    backend = Backend(engine, jobs, scheduler)
    shard = check_shard(shard or torchrun_shard())
    if device == "auto" and "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ:
        device = _local_device()
    options = RunOptions(
        preset=preset, corrective=corrective, seed=seed, splits=tuple(splits), limit=limit,
        levels=levels_of(opened, tuple(levels)), batch_images=batch_images, precision=precision, grid=grid,
        boundary=boundary, hd95=hd95, prompts=None if prompts is None else Path(prompts).absolute(), timeout=timeout,
        serial=serial, keep_predictions=keep_predictions,
    )  # fmt: skip
    _check_options(options)
    choice = ModelChoice(
        name=model if isinstance(model, str) else "",
        weights=None if weights is None else str(weights),
        device=device,
        arguments=tuple(sorted((arguments or {}).items())),
        precision=precision,
        isolate=isolate,
        hidden=(opened.path.absolute(), Path(out).absolute()),
    )
    loaded = _load_for_run(model, choice, backend)
    _check_capabilities(options, loaded)
    where = str(getattr(loaded, "device", "cpu"))
    options = with_defaults(options, where, loaded.capabilities, chunk)
    require_digests(opened)
    selection = select(opened, options)
    if options.prompts is not None:
        replay = read_replay(options.prompts)
        require_prompts(replay, selection, read_sizes(opened), options.rules.steps)
        _check_strokes(replay, loaded)
    named = model if isinstance(model, str) else None
    info = run_info(options, opened, model_facts(loaded, arguments, weights), submitter, named)
    setup = Setup(opened.digest, Path(out), choice, options, where, f"{shard[0]}/{shard[1]}", jobs)
    elsewhere = loads_elsewhere(where, options.timeout, backend, isinstance(model, str))
    return RunPlan(setup, None if elsewhere else loaded, selection, info, shard, backend, opened.path.absolute())


def perform(plan: RunPlan) -> RunSummary:
    """Do the work units of a prepared run that are not done yet, and write the tables once all are.

    Raises:
        UsageError: the folder holds another run, or something else.
        DataError: the folder cannot be written, or a worker process was ended; what was finished is kept.
    """
    with guard_disk(plan.setup.out):
        return _perform(plan)


def _perform(plan: RunPlan) -> RunSummary:
    out, ledger, blocks = plan.setup.out, open_ledger(plan.setup), plan.blocks
    finished = out / RUN_FILE
    with ledger.session(plan.info, functools.partial(_check_run, plan), functools.partial(_refuse, out)):
        if not finished.is_file():
            _do_missing(plan, ledger, blocks)
    names = [block_name(number) for number in blocks.numbers]
    left = ledger.find_missing(names)
    if left and not finished.is_file():
        return RunSummary(out, False, len(plan.selection.images), plan.selection.n_masks, 0, len(left))
    with ledger.alone():
        if not finished.is_file():
            merge(out, ledger, plan.info, names)
        ledger.remove()
        remove_temporaries(out, everyone=True)
    info = open_run(out).info
    return RunSummary(out, True, len(plan.selection.images), info["n_masks"], info["n_errors"], 0)


def _do_missing(plan: RunPlan, ledger: Ledger, blocks: BlockList) -> None:
    mine = take_shard(blocks.numbers, plan.shard)
    lacking = set(ledger.find_missing(map(block_name, mine)))
    missing = dataclasses.replace(blocks, numbers=[number for number in mine if block_name(number) in lacking])
    if len(missing) < len(mine):
        print(f"going on: {len(mine) - len(missing)} of {len(mine)} work units are done", file=sys.stderr)
    facts = session_facts(plan.setup.device, plan.setup.jobs, plan.setup.shard)
    ledger.note_session({**facts, "benchmark": show_name(plan.benchmark)})
    with run_blocks(plan.setup, plan.model, missing, plan.backend) as done:
        for _ in progress(done, len(missing), f"evaluate {plan.info['model']['name']}", "work units"):
            pass


def _check_run(plan: RunPlan, before: Mapping[str, Any]) -> bool:
    """Refuse a folder that holds another run; a run is never widened."""
    if before.get("run_key") != plan.info["run_key"]:
        raise UsageError(
            f"{plan.setup.out} holds another run ({'; '.join(differences(before, plan.info)) or 'other key'}); "
            "give another --out, or remove that folder"
        )
    return False


def _refuse(out: Path) -> UsageError:
    return UsageError(f"{out} is not empty and holds no run; give --out a new or empty folder")


def _load_for_run(model: ModelLike, choice: ModelChoice, backend: Backend) -> ModelAdapter | SelfTestAdapter:
    if isinstance(model, str):
        return choice.load()
    if choice.isolate:
        raise UsageError("a model object cannot be isolated: name the model (pkg.mod:Class, file.py:Class)")
    if backend.jobs > 1 or backend.name == "dask":
        raise UsageError("a model object runs in this process: use jobs=1, or name the model (pkg.mod:Class)")
    if isinstance(model, (ModelAdapter, SelfTestAdapter)):
        return model
    return FunctionAdapter(model)


def _check_options(options: RunOptions) -> None:
    if options.timeout is not None and not hasattr(signal, "setitimer"):
        raise UsageError("a timeout needs a POSIX system (Linux, macOS); leave out --timeout")
    if options.prompts is not None and not options.prompts.is_file():
        raise UsageError(f"{options.prompts}: no such file; give the prompts.parquet of a run")
    if options.prompts is not None and options.rules.gives_text:
        raise UsageError(
            f'preset "{options.preset}" gives the sentences of the benchmark; a file of prompts cannot be replayed '
            "with it"
        )
    if options.prompts is not None and options.rules.search is not None:
        raise UsageError(
            f'preset "{options.preset}" searches its prompts; a file of prompts cannot be replayed with it'
        )


def _check_strokes(replay: Replay, model: ModelAdapter | SelfTestAdapter) -> None:
    refused = sorted(replay.find_capabilities() - model.capabilities)
    if refused:
        raise UsageError(
            f'{replay.path} holds {" and ".join(refused)}; model "{model.name}" takes none '
            f"(it takes {', '.join(sorted(model.capabilities))}). Leave these rows out, or choose another model"
        )


def _check_capabilities(options: RunOptions, model: ModelAdapter | SelfTestAdapter) -> None:
    missing = sorted(options.rules.capabilities - model.capabilities)
    if missing:
        raise UsageError(
            f'preset "{options.preset}" needs {", ".join(missing)}, which model "{model.name}" does not take '
            f"(it takes {', '.join(sorted(model.capabilities))}); choose another --preset: see dmseg presets"
        )


def _local_device() -> str:
    """Return the GPU of this process under torchrun; ``auto`` where there is none."""
    if importlib.util.find_spec("torch") is None:
        return "auto"
    torch = importlib.import_module("torch")
    return f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "auto"
