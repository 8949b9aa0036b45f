"""Everything that a process needs in order to do work units of a run: can be sent to worker processes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from dmseg.baselines import ModelAdapter, SelfTestAdapter, load_model
from dmseg.baselines.bridge import Bridge, load_isolated
from dmseg.baselines.restorers import Restored
from dmseg.harness.calling import GuardedModel
from dmseg.harness.engine import Engine
from dmseg.harness.options import RunOptions
from dmseg.harness.replay import read_replay
from dmseg.jobs import Calls


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model by name, as :func:`dmseg.baselines.load_model` takes it; can be sent to worker processes.

    ``isolate``: in a process of its own, which does not see the folders ``hidden``.
    """

    name: str
    weights: str | None = None
    device: str = "auto"
    arguments: tuple[tuple[str, Any], ...] = ()
    precision: str = "fp32"
    isolate: bool = False
    hidden: tuple[Path, ...] = ()

    def load(self) -> ModelAdapter | SelfTestAdapter:
        """Return the ready model."""
        given = (self.name, self.weights, self.device, dict(self.arguments), self.precision)
        return load_isolated(*given, self.hidden) if self.isolate else load_model(*given)


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that a worker process needs in order to do work units of a run; they bring their own images.

    Attributes:
        manifest_digest: of the benchmark.
        out: the run folder.
        model, options: what is run.
        device: where the model is, as it says itself.
        shard: i/n, for timing.parquet.
        jobs: worker processes that share the machine's cores.
    """

    manifest_digest: str
    out: Path
    model: ModelChoice
    options: RunOptions
    device: str
    shard: str
    jobs: int


def make_engine(setup: Setup, model: GuardedModel) -> Engine:
    """Return the engine of a run around a loaded and guarded model."""
    cv2.setNumThreads(1)
    replay = None if setup.options.prompts is None else read_replay(setup.options.prompts)
    return Engine(model, setup.options, setup.manifest_digest, setup.device, setup.shard, replay)


def guard_model(setup: Setup, model: ModelAdapter | SelfTestAdapter, calls: Calls | None = None) -> GuardedModel:
    """Return a loaded model behind its guard, with the run's time limit and threshold."""
    options = setup.options
    inner = model.model if isinstance(model, Restored) else model
    if isinstance(inner, Bridge):
        inner.begin_run(setup.out)
    return GuardedModel(model, options.timeout, threshold=options.rules.threshold, calls=calls)


def load_here(setup: Setup) -> ModelAdapter | SelfTestAdapter:
    """Return the model, loaded in a worker process that shares the machine's cores with the others."""
    model = setup.model.load()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // setup.jobs))
    return model
