"""Time and memory of everything that reads a finished run, at several numbers of rows, and the slope between them.

    python benchmarks/bench_results.py                                  # 10 thousand, 100 thousand, 1 million rows
    python benchmarks/bench_results.py --rows 10000000 --only summary,digest

The runs are made up: 5 levels, 5 steps, 17 datasets, two masks a case, rows in the order in which an evaluation writes
them. Each command runs in a process of its own. CPU is what that process used once its imports were done, which other
work on the machine hardly changes. Memory is its peak (VmHWM) above what it held then (VmRSS). Slope: the power of the
number of rows with which CPU and memory grew since the size before; 1 is linear. ``--folder`` keeps the runs there.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dmseg.results.columns import run_schema
from dmseg.types import LEVELS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from synthetic_runs import run_info

SIZES = (10_000, 100_000, 1_000_000)
COMMANDS = ("open", "digest", "summary", "compare", "report")
DATASETS, STEPS, MASKS_A_CASE, GROUP_MASKS = 17, 5, 2, 400
PER_MASK = len(LEVELS) * STEPS


def write_run(folder: Path, name: str, rows: int, quality: float, seed: int = 0) -> Path:
    """Write a made-up run of about ``rows`` rows, group by group; return its folder."""
    folder.mkdir(parents=True)
    masks, rng = max(1, rows // PER_MASK), np.random.default_rng(seed)
    with pq.ParquetWriter(folder / "steps.parquet", run_schema("steps"), compression="zstd") as writer:
        for start in range(0, masks, GROUP_MASKS):
            writer.write_table(make_rows(np.arange(start, min(start + GROUP_MASKS, masks)), masks, quality, rng))
    some = pd.DataFrame({"split": ["seen", "unseen"], "mask_id": ["", ""], "status": ["ok", "ok"]})
    info = run_info(name, some) | {"n_masks": masks}
    (folder / "run.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def make_rows(masks: np.ndarray, total: int, quality: float, rng: np.random.Generator) -> pa.Table:
    """Return all rows of some of the ``total`` masks."""
    number = np.repeat(masks, PER_MASK)
    dataset = number * DATASETS // total
    level = np.tile(np.repeat(np.arange(len(LEVELS)), STEPS), len(masks))
    step = np.tile(np.arange(1, STEPS + 1, dtype=np.int32), len(masks) * len(LEVELS))
    ease = np.repeat(rng.normal(0, 0.05, len(masks)), PER_MASK)
    dice = np.clip(quality + ease - 0.03 * level + 0.02 * step + rng.normal(0, 0.02, len(number)), 0, 1)
    ids = [f"set{d:02d}__{m // MASKS_A_CASE:08d}-{m % MASKS_A_CASE}" for m, d in zip(number, dataset, strict=True)]
    digests = rng.integers(0, 2**63, (len(number), 4))
    first = step == 1
    columns = {
        "image_id": ids,
        "mask_id": [f"{image}__lesion__0" for image in ids],
        "case_id": [image[:-2] for image in ids],
        "dataset": [f"set{d:02d}" for d in dataset],
        "modality": np.array(("ct", "mri", "ultrasound"))[dataset % 3],
        "structure": ["lesion"] * len(number),
        "split": np.where(dataset < DATASETS // 2, "seen", "unseen"),
        "level": np.array(LEVELS)[level],
        "seed": np.zeros(len(number), dtype=np.int64),
        "step": step,
        "prompt_kind": np.where(number % 2 == 0, "points", "box"),
        "points_pos": step,
        "points_neg": np.zeros_like(step),
        "new_x": pa.array(step, mask=first),
        "new_y": pa.array(step, mask=first),
        "new_label": pa.array(np.ones_like(step), mask=first),
        "perfect": np.zeros(len(number), dtype=bool),
        "gt_area": 100 + number % 20_000,
        "pred_area": 100 + number % 19_000,
        "iou": dice / (2 - dice),
        "dice": dice,
        "pixel_accuracy": 1 - 0.1 * (1 - dice),
        **{f"nsd_{t}": np.clip(dice + 0.02 * t, 0, 1) for t in (1, 2, 3, 5)},
        "hd95": 20 * (1 - dice),
        "hd95_defined": np.ones(len(number), dtype=bool),
        "hd95_mm": pa.nulls(len(number), pa.float64()),
        "status": ["ok"] * len(number),
        "error": pa.nulls(len(number), pa.string()),
        "pred_digest": ["".join(f"{part:016x}" for part in row) for row in digests.tolist()],
    }
    return pa.table(columns).cast(run_schema("steps"))


def run_command(name: str, first: Path, second: Path) -> None:
    """Run one command in this process and print seconds, CPU seconds, peak and start in KiB."""
    import dmseg.leaderboard
    import dmseg.report
    import dmseg.results.comparing
    from dmseg.cli import main as call

    start, begun, cpu = read_status("VmRSS"), time.perf_counter(), time.process_time()
    out = first.parent / "out"
    if name == "open":
        dmseg.results.open_run(first)
    else:
        more = {
            "digest": [],
            "summary": ["--full", "-o", out],
            "compare": [second, "-o", out],
            "report": ["--out", out],
        }
        sys.argv = ["dmseg", name, *map(str, [first, *more[name]])]
        try:
            call()
        except SystemExit as end:
            if end.code:
                raise
    seconds = time.perf_counter() - begun, time.process_time() - cpu
    print("\nmeasured", *seconds, read_status("VmHWM"), start)


def read_status(name: str) -> int:
    """Return a line of this process's status, KiB."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def measure(name: str, first: Path, second: Path) -> tuple[float, float, float]:
    """Return (seconds, CPU seconds, MB above the start) of one command in a process of its own."""
    command = [sys.executable, __file__, "--child", name, str(first), str(second)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    _, seconds, cpu, peak, start = done.stdout.splitlines()[-1].split()
    return float(seconds), float(cpu), (int(peak) - int(start)) / 1024


def main() -> None:
    """Print a line per command and size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--only", default=",".join(COMMANDS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args()
    if given.child:
        run_command(given.child[0], Path(given.child[1]), Path(given.child[2]))
        return
    with tempfile.TemporaryDirectory() as own:
        before: dict[str, tuple[int, float, float]] = {}
        print(f"{'command':<10}{'rows':>10}{'seconds':>10}{'CPU':>8}{'MB':>8}{'slope CPU':>11}{'slope MB':>10}")
        for rows in given.rows:
            folder = (given.folder or Path(own)) / str(rows)
            runs = [
                folder / name if (folder / name).is_dir() else write_run(folder / name, name, rows, quality)
                for name, quality in (("first", 0.8), ("second", 0.82))
            ]
            for name in given.only.split(","):
                seconds, cpu, memory = measure(name, *runs)
                slopes = ""
                if name in before:
                    times = rows / before[name][0]
                    slope = [math.log(max(now, 1e-3) / max(old, 1e-3)) / math.log(times)
                             for now, old in zip((cpu, memory), before[name][1:], strict=True)]  # fmt: skip
                    slopes = f"{slope[0]:>11.2f}{slope[1]:>10.2f}"
                before[name] = (rows, cpu, memory)
                print(f"{name:<10}{rows:>10}{seconds:>10.2f}{cpu:>8.2f}{memory:>8.0f}{slopes}", flush=True)


if __name__ == "__main__":
    main()
