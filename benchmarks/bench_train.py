"""Training on a CPU: samples per second and the loss curve, the ways of before against those of now, in one run.

    python benchmarks/bench_train.py --preset lite-pge-sam --base-weights lite_medsam.pth --batch 4

Both train one preset on phantoms: the same images, prompts, interactions and optimiser steps, from the same weights
(random ones where none are given: time does not depend on them, curves do). *Before*: full precision; torch's own 1x1
and depth-wise convolutions; the encoder in every batch; an enhancer's prompt-free part at every interaction; freed
memory goes back to the system. *Now*: ``--precision``; matrix products and gradients by forward convolutions; features
kept on disk (``--encoder`` fills them); the prompt-free part once a batch; freed memory is kept. In turns, in one
process, on ``--threads`` threads; CPU time of all threads, so that other processes count for neither. What filling the
kept features costs is counted where it happens; with ``--kept`` the rounds of "now" find them filled, as a second run
on the same benchmark does.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import tempfile
import time
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from dmseg.baselines.networks.convolution import DepthwiseConv, PointwiseConv
from dmseg.build import Benchmark, open_benchmark, phantom_benchmark
from dmseg.training import keep_freed_memory
from dmseg.training.config import PRECISIONS, load_config
from dmseg.training.feed import Feed
from dmseg.training.learner import Learner
from dmseg.training.networks import build_trainable_model

STORED = ("splits=['train', 'seen']", "augment=false", "appearance=none", "degradation=fixed", "epochs=0")
BEFORE = ("precision=fp32", "cache=false", "encoder=torch", "laterals=interaction")
NOW = ("cache=true", "laterals=batch")
_MMAP_MAX, _TRIM_THRESHOLD = -4, -1
_GLIBC = (65536, 128 * 1024)  # glibc's own values of these


def give_memory_back() -> None:
    """Undo :func:`keep_freed_memory`."""
    for name, value in zip((_MMAP_MAX, _TRIM_THRESHOLD), _GLIBC, strict=True):
        ctypes.CDLL(None).mallopt(name, value)


class Way:
    """One way to train, ready to do its next batches."""

    def __init__(
        self,
        chosen: argparse.Namespace,
        benchmark: Benchmark,
        folder: Path,
        changes: tuple[str, ...],
        *,
        before: bool,
    ) -> None:
        config = load_config(chosen.preset, (*STORED, *changes))
        fabric = Fabric(accelerator="cpu", devices=1, precision=PRECISIONS[config.precision])  # type: ignore[arg-type]
        model = build_trainable_model(config, chosen.base_weights, fabric.device)
        if before:
            for module in model.network.modules():
                if isinstance(module, DepthwiseConv | PointwiseConv):
                    module.__class__ = nn.Conv2d  # type: ignore[assignment]
        self._before = before
        self._feed = Feed(config, benchmark, model, fabric, folder)
        self._learner = Learner(config, model, self._feed, fabric)
        self._batches = self._feed.batches()
        self.curve: list[float] = []

    def fill(self) -> None:
        """Fill the kept features of all batches."""
        for _, loaded in self._feed.batches():
            self._feed.features(loaded)

    def go(self, batches: int) -> tuple[float, float]:
        """Return CPU seconds per sample of the next batches, and how much of them features took."""
        give_memory_back() if self._before else keep_freed_memory()
        encoding, samples, started = 0.0, 0, time.process_time()
        features = self._feed.features

        def time_features(loaded: object) -> object:
            nonlocal encoding
            since = time.process_time()
            result = features(loaded)  # type: ignore[arg-type]
            encoding += time.process_time() - since
            return result

        self._feed.features = time_features  # type: ignore[method-assign,assignment]
        for _ in range(batches):
            index, loaded = next(self._batches)
            sums = self._learner.learn(index, loaded)
            samples += len(loaded.keys)
            self.curve.append((sums["dice"] + 20 * sums["focal"]) / sums["with_gradient"])
        self._feed.features = features  # type: ignore[method-assign]
        spent = time.process_time() - started
        return spent / samples, encoding / samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini-pge-sam")
    parser.add_argument("--base-weights", default="random", help="of the base network")
    parser.add_argument("--batch", type=int, default=16, help="images per batch")
    parser.add_argument("--batches", type=int, default=2, help="per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="fp32", help="of the present way: bf16-mixed where the CPU has it (AMX)")
    parser.add_argument("--encoder", default="torch", help="torch, or openvino")
    parser.add_argument("--kept", action="store_true", help="fill the features before the clock starts")
    parser.add_argument("--limit", type=int, default=2, help="phantoms per dataset")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    same = (f"batches={chosen.batches * (chosen.rounds + 1)}", f"batch={chosen.batch}")
    now = (*NOW, f"precision={chosen.precision}", f"encoder={chosen.encoder}")
    benchmark = open_benchmark(phantom_benchmark(chosen.limit))
    with tempfile.TemporaryDirectory() as folder:
        ways = {
            "before": Way(chosen, benchmark, Path(folder), (*same, *BEFORE), before=True),
            "now": Way(chosen, benchmark, Path(folder), (*same, *now), before=False),
        }
        if chosen.kept:
            ways["now"].fill()
        for way in ways.values():
            way.go(chosen.batches)  # warm
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(chosen.rounds):
            for name, way in ways.items():
                times[name].append(way.go(chosen.batches))
    print(f"{chosen.preset}, batches of {chosen.batch}, CPU time of {chosen.threads} threads")
    for name, found in times.items():
        seconds, features = (statistics.median(values) for values in zip(*found, strict=True))
        print(
            f"{name:<8}{1 / seconds:>8.3f} samples per CPU second ({seconds:.2f} s each, {features:.2f} for features)"
        )
    ratios = [before[0] / after[0] for before, after in zip(times["before"], times["now"], strict=True)]
    print(f"{'ratio':<8}{statistics.median(ratios):>8.2f} of {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    print("Dice + 20 Focal, batch by batch")
    for name, way in ways.items():
        print(f"{name:<8}" + " ".join(f"{value:7.4f}" for value in way.curve))


if __name__ == "__main__":
    main()
