"""Memory of a restorer before a model on a natural benchmark, and how often it restores.

    python benchmarks/bench_cascade.py                              # moce-ir+mobile-sam, 4 phantoms of 48 x 64: minutes
    python benchmarks/bench_cascade.py --images 24 --side 296       # the phantoms as they are: hours without a GPU

The weights are regenerated from key names, so masks are no good; time and memory are those of real weights. The
phantoms are made small, built as a benchmark of the track, and ``dmseg evaluate`` runs in a process of its own over all
levels. Printed: the peak memory of that process (VmHWM), the images restored (files in an empty cache), and images x
levels, which must be the same. A second run with another model finds all of them there.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import torch
from bench_results import read_status

from dmseg import baselines, build
from dmseg.baselines.restorers import load_restorer
from dmseg.phantoms import write_phantoms

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from parity_weights import common, fill


def write_benchmark(folder: Path, images: int, side: int) -> Path:
    """Build ECSSD's phantoms, their longest side made ``side`` pixels, as a benchmark of the natural track."""
    write_phantoms(folder / "raw", per_dataset=images, datasets=["ECSSD"])
    for path in sorted((folder / "raw" / "ECSSD").rglob("*.*")):
        if path.suffix not in (".jpg", ".png"):
            continue
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        scale = side / max(pixels.shape[:2])
        if scale < 1:
            way = cv2.INTER_AREA if path.suffix == ".jpg" else cv2.INTER_NEAREST
            cv2.imwrite(str(path), cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way))
    build.build(folder / "raw", folder / "bench", track="natural")
    return folder / "bench"


def write_weights(folder: Path, restorer: str, model: str) -> tuple[Path, Path]:
    """Write checkpoints of both parts with values regenerated from key names."""
    made: Any = load_restorer(restorer, "random")
    network = common.fill_by_key(made.network)
    torch.save({"state_dict": {f"net.{key}": value for key, value in network.state_dict().items()}}, folder / "r.ckpt")
    adapter: Any = fill(baselines.load_model(model, weights="random"))
    torch.save(adapter.official_state_dict(), folder / "m.pt")
    return folder / "r.ckpt", folder / "m.pt"


def evaluate(model: str, options: list[str], bench: Path, out: Path, cache: Path) -> tuple[float, float]:
    """Run ``dmseg evaluate`` in a process of its own; return its seconds and its peak memory in MiB."""
    begun = time.perf_counter()
    command = ["evaluate", "--model", model, "--data", str(bench), "--out", str(out), *options]
    environment = {**os.environ, "DMSEG_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, __file__, "--child", *command], check=True, env=environment, stdout=subprocess.PIPE, text=True
    )
    found = re.search(r"^peak (\d+) KiB$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    return time.perf_counter() - begun, int(found[1]) / 1024


def run_child(command: list[str]) -> None:
    """Run a command of dmseg in this process, and print the peak memory."""
    from dmseg.cli import group

    group.main(command, standalone_mode=False)
    print(f"peak {read_status('VmHWM')} KiB")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restorer", default="moce-ir")
    parser.add_argument("--model", default="mobile-sam")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--side", type=int, default=64)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dmseg-cascade-") as scratch:
        folder = Path(scratch)
        bench = write_benchmark(folder, given.images, given.side)
        restorer, weights = write_weights(folder, given.restorer, given.model)
        cascade = ["--restorer-weights", str(restorer)]
        seconds, peak = evaluate(
            f"{given.restorer}+{given.model}",
            [*cascade, "--weights", str(weights)],
            bench,
            folder / "run",
            folder / "c",
        )
        restored = len(list((folder / "c" / "restored").rglob("*.png")))
        opened = build.open_benchmark(bench)
        expected = len(opened.images) * len(opened.levels)
        evaluate(f"{given.restorer}+watershed", cascade, bench, folder / "again", folder / "c")
        after = len(list((folder / "c" / "restored").rglob("*.png")))
    print(f"{given.restorer}+{given.model}: {seconds:.0f} s, peak {peak:.0f} MiB, {restored} restored of {expected}")
    print(f"then {given.restorer}+watershed: {after - restored} restored more")
    if restored != expected or after != restored:
        raise SystemExit("each image and level must be restored once")


if __name__ == "__main__":
    run_child(sys.argv[2:]) if sys.argv[1:2] == ["--child"] else main()
