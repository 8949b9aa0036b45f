"""Training: images per second against a straightforward loop, and the frozen encoder's share of that loop.

    .venv/bin/python benchmarks/bench_train.py --batches 4 --rounds 3

Both train one preset (random weights: time does not depend on them) on phantoms: the same batches, interactions and
optimiser steps. Straightforward: the images and their clear versions go through the encoder in every batch, and each
sample draws its own kind of prompts, so that few share a call. Ours: kept features, two kinds of prompts per batch;
``--precision`` chooses that of ours, since a CPU gains from bf16-mixed only where it has instructions for it. In turns,
in one process; CPU time of all threads, so that other processes on the machine count for neither. What keeping the
features costs once is printed beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from dmseg.build import Benchmark, open_benchmark, phantom_benchmark
from dmseg.training.config import PRECISIONS, load_config
from dmseg.training.feed import Feed
from dmseg.training.learner import Learner
from dmseg.training.networks import build_trainable_model

STORED = ("augment=false", "appearance=none", "degradation=fixed")  # images of the benchmark's own five levels
OURS = (*STORED, "cache=true")
PLAIN = (*STORED, "prompt_kinds=0")


class TrainingWay:
    """One way to train, ready to do its next batches."""

    def __init__(
        self, preset: str, benchmark: Benchmark, folder: Path, changes: tuple[str, ...], executor: ThreadPoolExecutor
    ) -> None:
        config = load_config(preset, ("splits=['train', 'seen']", *changes))
        fabric = Fabric(accelerator="cpu", devices=1, precision=PRECISIONS[config.precision])  # type: ignore[arg-type]
        trainee = build_trainable_model(config, "random", fabric.device)
        started = time.process_time()
        self._feed = Feed(config, benchmark, trainee, fabric, executor, folder)
        self.filling = time.process_time() - started
        self._learner = Learner(config, trainee, self._feed, fabric)
        self._batches = self._feed.batches(0)
        self._encode, self.encoding = self._feed.features, 0.0
        self._feed.features = self._time  # type: ignore[method-assign]

    def _time(self, loaded: Any) -> Any:
        started = time.process_time()
        result = self._encode(loaded)
        self.encoding += time.process_time() - started
        return result

    def go(self, batches: int) -> tuple[float, float]:
        """Return CPU seconds per image of the next batches, and how much of them the encoder took."""
        self.encoding, started, pictures = 0.0, time.process_time(), 0
        for _ in range(batches):
            index, loaded = next(self._batches)
            self._learner.learn(index, loaded)
            pictures += len(loaded.visits)
        spent = time.process_time() - started
        return spent / pictures, self.encoding / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="mini-pge-sam")
    parser.add_argument("--batch", type=int, default=16, help="images per batch")
    parser.add_argument("--batches", type=int, default=2, help="per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32", help="of ours; the straightforward loop has fp32")
    parser.add_argument("--limit", type=int, default=2, help="phantoms per dataset")
    chosen = parser.parse_args()
    same = (f"batches={chosen.batches * (chosen.rounds + 1)}", "epochs=0", f"batch={chosen.batch}")
    benchmark = open_benchmark(phantom_benchmark(chosen.limit))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as executor:
        ours = TrainingWay(
            chosen.preset, benchmark, Path(folder), (*same, *OURS, f"precision={chosen.precision}"), executor
        )
        plain = TrainingWay(chosen.preset, benchmark, Path(folder), (*same, *PLAIN, "precision=fp32"), executor)
        for run in (ours, plain):
            run.go(chosen.batches)  # warm
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        shares = []
        for _ in range(chosen.rounds):
            times["ours"].append(ours.go(chosen.batches)[0])
            seconds, share = plain.go(chosen.batches)
            times["plain"].append(seconds)
            shares.append(share)
    ratios = [plain_s / ours_s for plain_s, ours_s in zip(times["plain"], times["ours"], strict=True)]
    print(f"{chosen.preset}, batches of {chosen.batch} images, 5 interactions each, CPU time of all threads")
    for name, title in (("plain", "straightforward"), ("ours", "dmseg train")):
        print(f"{title:<18}{1 / statistics.median(times[name]):>8.2f} images per CPU second")
    print(f"{'ratio':<18}{statistics.median(ratios):>8.2f}   of {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    print(f"frozen encoder     {statistics.median(shares):>7.0%} of the straightforward loop")
    print(f"keeping features   {ours.filling:>7.1f} CPU seconds, once for all runs on them")


if __name__ == "__main__":
    main()
