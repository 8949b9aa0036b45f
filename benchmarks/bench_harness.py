"""A whole evaluation: dmseg's harness against the plain loop that everybody writes, on CPU time; and its own overhead.

    benchmarks/.venv/bin/python benchmarks/bench_harness.py [--scaling BENCH [--limit 100]]

Model: LiteMedSAM's size with random weights (needs the extra [models]). The plain loop does what published evaluation
scripts do: for every mask set the image, decode one mask at a time, click by the published RITM rule, score with
surface-distance (where it is installed, else with dmseg's metrics). Without torch only the overhead is measured, with
the watershed model. With --scaling only one and two workers are compared, on a benchmark that is there.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from bench_clicks import ritm
from side_by_side import Mask, peer

from dmseg import build, harness, metrics, phantoms
from dmseg.baselines import Prediction, load_model
from dmseg.protocol import Click, first_prompts, preset, with_click

LEVELS = ("clear", "lq3")
IMAGES = 3
STEPS = 5
SPLITS = ("train", "seen", "unseen")


class TimedModel:
    """A model, and the CPU seconds spent inside it."""

    version = "benchmark"

    def __init__(self, model: Any) -> None:
        self._model = model
        self.name, self.capabilities = model.name, model.capabilities
        self.seconds = 0.0

    def encode(self, images: Sequence[Any]) -> Sequence[Any]:
        return self._time(self._model.encode, images)

    def predict(self, *given: Any) -> Prediction:
        return self._time(self._model.predict, *given)

    def _time(self, call: Any, *given: Any) -> Any:
        start = time.process_time()
        try:
            return call(*given)
        finally:
            self.seconds += time.process_time() - start


def plain_loop(model: Any, benchmark: build.Benchmark, surface_distance: Any) -> list[float]:
    """Evaluate as a script does: one mask after another, nothing shared. Returns the Dice of every step."""
    rules, found = preset("dmseg"), []
    for level in LEVELS:
        for row in benchmark.masks[benchmark.masks["evaluate"]].to_dict("records"):
            reference = benchmark.mask(row["mask_id"])
            picture = benchmark.image(row["image_id"], level)
            rgb = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture
            embedding = model.encode([rgb])
            prompts, state = first_prompts(rules, reference, row["mask_id"], 0), None
            for step in range(1, STEPS + 1):
                answer = model.predict(embedding, [0], [prompts], [state])
                state = answer.state[0] if answer.state is not None else None
                logits = answer.logits
                predicted = np.asarray(logits.detach().cpu() if hasattr(logits, "detach") else logits)[0] > 0
                found.append(plain_scores(reference, predicted, surface_distance))
                if step < STEPS and (reference != predicted).any():
                    positive, y, x = ritm(reference, predicted)
                    prompts = with_click(prompts, Click(x, y, int(positive)))
    return found


def plain_scores(reference: Mask, predicted: Mask, surface_distance: Any) -> float:
    """IoU, Dice, NSD and HD95 of one pair; returns Dice."""
    if surface_distance is None:
        return metrics.score(reference, predicted).dice
    both, either = (reference & predicted).sum(), (reference | predicted).sum()
    distances = surface_distance.compute_surface_distances(reference, predicted, (1.0, 1.0))
    if predicted.any():
        surface_distance.compute_robust_hausdorff(distances, 95)
        for tolerance in metrics.TOLERANCES:
            surface_distance.compute_surface_dice_at_tolerance(distances, tolerance)
    return float(2 * both / (both + either))


def cpu_seconds(call: Any, *given: Any, **options: Any) -> float:
    start = time.process_time()
    call(*given, **options)
    return time.process_time() - start


def print_scaling(bench: Path, folder: Path, limit: int | None = None) -> None:
    """Print how much faster two workers are than one, with the watershed model on a benchmark."""
    load = f"load of the minute before {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    seconds, objects = [], 0
    for jobs in (2, 1):  # what the disk's cache spares is spared to the one
        harness.evaluate("watershed", bench, folder / f"warm{jobs}", splits=SPLITS, levels=LEVELS, limit=1, jobs=jobs)
        start = time.perf_counter()
        done = harness.evaluate("watershed", bench, folder / f"jobs{jobs}", splits=SPLITS, limit=limit, jobs=jobs)
        seconds.append(time.perf_counter() - start)
        objects = done.n_masks
    same = harness.run_digest(folder / "jobs1") == harness.run_digest(folder / "jobs2")
    two, one = seconds
    print(
        f"watershed, {objects} objects: 1 worker {one:.1f} s, 2 workers {two:.1f} s: {one / two:.2f} x, "
        f"{'one digest' if same else 'OTHER DIGESTS'} ({load})"
    )


def main() -> None:
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scaling", type=Path, metavar="BENCH", help="compare one and two workers on it, nothing else")
    parser.add_argument("--limit", type=int, help="with --scaling: at most so many images of each dataset")
    given = parser.parse_args()
    if given.scaling is not None:
        with tempfile.TemporaryDirectory() as folder:
            print_scaling(given.scaling, Path(folder), given.limit)
        return
    with tempfile.TemporaryDirectory() as folder:
        raw, bench = Path(folder) / "raw", Path(folder) / "bench"
        phantoms.write_phantoms(raw, per_dataset=IMAGES, datasets=["BBBC038"])
        build.build(raw, bench, levels=LEVELS)
        benchmark = build.open_benchmark(bench)
        n = int(benchmark.masks["evaluate"].sum())
        print(f"{len(benchmark.images)} images, {n} objects, {len(LEVELS)} levels, {STEPS} steps")
        overhead("watershed", {}, bench, Path(folder))
        print_scaling(bench, Path(folder))
        if importlib.util.find_spec("torch") is None:
            print("left out: the comparison with a plain loop needs the extra [models]")
            return
        compare_with_loop(benchmark, Path(folder))


def overhead(name: str, options: dict[str, Any], bench: Path, folder: Path) -> float:
    """Print the share of CPU time that is spent outside of the model; return the CPU seconds of the evaluation."""
    harness.evaluate("disk", bench, folder / f"warm-{name}", splits=SPLITS)  # compiles the kernels
    model = TimedModel(load_model(name, **options))
    total = cpu_seconds(harness.evaluate, model, bench, folder / name, splits=SPLITS)
    outside = 100 * (total - model.seconds) / total
    print(f"{name}: {total:.2f} CPU s, of which outside the model {outside:.1f} %")
    return total


def compare_with_loop(benchmark: build.Benchmark, folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    surface_distance = peer("surface_distance")
    model = load_model("lite-medsam", weights="random", device="cpu")
    model.encode([np.zeros((64, 64, 3), np.uint8)])
    ours = overhead("lite-medsam", {"weights": "random", "device": "cpu"}, benchmark.path, folder)
    theirs = cpu_seconds(plain_loop, model, benchmark, surface_distance)
    print(f"plain loop: {theirs:.2f} CPU s, {theirs / ours:.1f} x")


if __name__ == "__main__":
    sys.exit(main())
