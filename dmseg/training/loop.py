"""A run of training: batches, validation, saved states and at the end the weights, on one process or more."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from dmseg.baselines.checkpoints import save_trained
from dmseg.baselines.networks.precision import use_full_fp32
from dmseg.baselines.pge_sam import EnhancedNetwork
from dmseg.baselines.registry import resolve_device
from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import UsageError
from dmseg.files import cache_folder, remove_temporaries, write_text
from dmseg.progress import is_terminal, progress
from dmseg.training.config import PRECISIONS, TrainConfig
from dmseg.training.feed import Feed, name_lost_workers
from dmseg.training.learner import Learner
from dmseg.training.log import LogWindow, RunLog
from dmseg.training.networks import MINI, build_trainable_model
from dmseg.training.state import FILE, load_state, save_state
from dmseg.training.validation import Validator

WEIGHTS_FILE = "weights.safetensors"
BEST_FILE = "best.safetensors"


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What a run left: its folder, how many batches it has in all, how many this call did, seconds.

    ``leads`` is true in one process of those that share a run: the one that speaks for all.
    """

    path: Path
    batches: int
    done: int
    seconds: float
    leads: bool = True


def train(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    base_weights: Path | str | None = None,
    device: str = "auto",
    devices: int = 1,
    cache: Path | None = None,
    jobs: int = 1,
    half: bool = False,
) -> TrainSummary:
    """Train, or go on with what ``out`` holds.

    Args:
        config: all choices.
        data: a built benchmark.
        out: folder of the run: last.ckpt, losses.csv, config.json, what validation found, and at the end
            weights.safetensors.
        base_weights: of the base network.
        device: auto, cpu or cuda; ``devices`` of them, one process each.
        cache: folder of kept features; default: the user's cache.
        jobs: worker processes that read images ahead; with one, on a CPU, this process reads them.
        half: write the trained tensors in half precision.

    Raises:
        DmsegError: weights, data or choices that do not go together; a worker was ended by the system.
    """
    sizes = [stage.batch for stage in config.stages] or [config.batch]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if torch.distributed.is_torchelastic_launched() and processes != devices:
        raise UsageError(f"torchrun started {processes} processes: give --devices {processes}")
    if any(size % devices for size in sizes):
        raise UsageError(f"{devices} devices do not divide batches of {sizes}; give batches that are multiples")
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f'unknown device "{device}"; give auto, cpu or cuda')
    device = resolve_device(device)
    if device == "cuda" and devices > torch.cuda.device_count():
        raise UsageError(f"--devices {devices}: torch sees {torch.cuda.device_count()} CUDA devices here")
    benchmark = open_benchmark(data)
    fabric = Fabric(
        accelerator=device,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=PRECISIONS[config.precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    with use_full_fp32(), name_lost_workers():
        return Training(config, benchmark, out, fabric, base_weights, cache, jobs, half).run()


class Training:
    """One process's part of a run; see :func:`train`."""

    def __init__(
        self,
        config: TrainConfig,
        benchmark: Benchmark,
        out: Path,
        fabric: Fabric,
        base_weights: Path | str | None,
        cache: Path | None,
        jobs: int,
        half: bool,
    ) -> None:
        if config.stages and config.base != MINI:
            raise UsageError(f"{config.base} takes one side only: leave out stages")
        self._config, self._benchmark, self._out, self._fabric, self._half = config, benchmark, out, fabric, half
        self._validator = Validator(benchmark, config) if config.validation.images else None
        self._trainee = build_trainable_model(config, base_weights, fabric.device)
        self._saved = load_state(out / FILE, config.digest, benchmark.digest, self._trainee.base_sha256)
        self._feed = Feed(config, benchmark, self._trainee, fabric, cache or cache_folder() / "features", jobs)
        self._learner = Learner(config, self._trainee, self._feed, fabric)
        self._best = -1.0

    def run(self) -> TrainSummary:
        """Go through all batches that are left and write the trained weights."""
        started = time.monotonic()
        planned, first = self._feed.schedule.batches, 0
        total = min(self._config.until or planned, planned)
        if self._saved is not None:
            first, self._best = self._saved["done"], self._saved["best"]
            self._learner.restore(self._saved)
            self._saved = None
        log, unsaved = self._log(first), False
        window = LogWindow(first, total)
        batches = self._feed.batches(first, total)
        with contextlib.closing(log or contextlib.ExitStack()), contextlib.closing(batches):
            for index, loaded in self._show_progress(batches, total - first):
                window.add(self._learner.learn(index, loaded), len(loaded.visits), len(loaded.keys))
                done = index + 1
                if done % self._config.log_every == 0 or done == total:
                    row = window.row(self._fabric, done, self._learner.rate)
                    if log:
                        log.losses(row)
                last = done == total
                every = self._config.validation.every or self._feed.schedule.per_epoch
                if log and (last or (every and done % every == 0)):
                    self._validate(done, log)
                # A state holds no gradients: one that is due while some wait for their step is written after it.
                unsaved = unsaved or last or done % self._config.save_every == 0
                if done in self._config.snapshots and self._fabric.is_global_zero:
                    self._write(f"weights-{done}.safetensors")
                if unsaved and self._learner.settled:
                    self._save(done)
                    unsaved = False
        if self._fabric.is_global_zero:
            self._write(WEIGHTS_FILE)
        return TrainSummary(self._out, total, total - first, time.monotonic() - started, self._fabric.is_global_zero)

    def _log(self, first: int) -> RunLog | None:
        """Return the log in the first process, None in the others."""
        if not self._fabric.is_global_zero:
            return None
        self._out.mkdir(parents=True, exist_ok=True)
        remove_temporaries(self._out)
        write_text(self._out / "config.json", json.dumps(dataclasses.asdict(self._config), indent=2) + "\n")
        return RunLog(self._out, first)

    def _show_progress(self, batches: Iterator[Any], total: int) -> Iterator[Any]:
        """Show a bar on a terminal; elsewhere the log's lines say how long it takes."""
        if self._fabric.is_global_zero and is_terminal():
            return progress(batches, total, self._config.model, "batches")
        return batches

    def _validate(self, done: int, log: RunLog) -> None:
        """Validate the weights that would be written now, and keep them if they are the best so far."""
        if self._validator is None:
            return
        self._feed.at_full_side()
        with self._learner.use_averages():
            self._trainee.network.eval()
            found = self._validator.run(self._trainee.adapter)
            self._trainee.modes()
        row: dict[str, float | str] = {"batch": done, "score": round(found.score, 5)}
        for level, steps in found.dice.items():
            row |= {f"{level}_{step}": round(value, 5) for step, value in enumerate(steps, 1)}
        log.validation(row, found.figure)
        if found.score > self._best:
            self._best = found.score
            self._write(BEST_FILE)

    def _save(self, done: int) -> None:
        if not self._fabric.is_global_zero:
            return
        save_state(
            self._out / FILE,
            {
                "config": self._config.digest,
                "benchmark": self._benchmark.digest,
                "base_sha256": self._trainee.base_sha256,
                "done": done,
                "best": self._best,
                **self._learner.state(),
            },
        )

    def _write(self, name: str) -> None:
        """Write the trained tensors, averaged where that was asked for."""
        choices = dataclasses.asdict(self._config)
        if isinstance(self._trainee.network, EnhancedNetwork):
            # The whole of the enhancer's configuration: later defaults do not change what was trained.
            choices["enhancer"] = dataclasses.asdict(self._trainee.network.config)
        metadata = {
            "model": self._config.model,
            "base": self._config.base,
            "base_sha256": self._trainee.base_sha256,
            "config": json.dumps(choices, sort_keys=True),
        }
        with self._learner.use_averages():
            save_trained(self._out / name, self._trainee.network, self._trainee.state_names, metadata, self._half)
