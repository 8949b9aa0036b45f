"""Time and memory of building a leaderboard of many entries when one of them is new.

    python benchmarks/bench_board.py                         # 500 entries of 10,000 rows: minutes to fill the cache
    python benchmarks/bench_board.py --entries 100

The entries are made up (``bench_results.py``), over the same masks, all of them ranked. First every entry but one is
summarised, as it was when it was added, into a cache of the benchmark's own; then a process of its own builds the board
of all. Memory is its peak (VmHWM) above what it held when its imports were done (VmRSS).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
from bench_results import read_status, write_run

import dmseg.leaderboard.record
from dmseg.leaderboard.entries import RUN_FILES, read_entries
from dmseg.leaderboard.summaries import summary_of
from dmseg.results import run_digest

ENTRIES, ROWS = 500, 10_000
SPLITS = ("seen", "unseen")


def write_entry(root: Path, number: int, rows: int) -> None:
    """Write an entry whose models differ a little."""
    folder = root / "entries" / f"model-{number:04d}" / "2026-11-20-00000000"
    write_run(folder, f"model-{number:04d}", rows, 0.6 + 0.3 * number / ENTRIES, number)
    for name in RUN_FILES:
        if not (folder / name).exists():
            (folder / name).touch()
    checked = {"date": "2026-11-20", "tier": "re-run", "run_digest": run_digest(folder)}
    (folder / "checked.json").write_text(json.dumps(checked))


def know_masks(root: Path) -> None:
    """Let the edition have exactly the masks of the entries."""
    first = next((root / "entries" / "model-0000").iterdir())
    table = pq.read_table(first / "steps.parquet", columns=["mask_id", "image_id", "split"])
    found: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
    for mask, image, split in zip(*(column.to_pylist() for column in table.columns), strict=True):
        found[split][mask] = image
    dmseg.leaderboard.record.find_evaluated_masks = lambda name, split: found[split]


def build_board(root: Path) -> None:
    """Build in this process and print seconds, peak and start in KiB."""
    import dmseg.leaderboard.page

    know_masks(root)
    start, begun, cpu, problems = read_status("VmRSS"), time.perf_counter(), time.process_time(), list[str]()
    dmseg.leaderboard.build(root, problems=problems)
    seconds = time.perf_counter() - begun, time.process_time() - cpu
    print("measured", *seconds, read_status("VmHWM"), start, len(problems))


def main() -> None:
    """Print the figures of one size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", type=Path)
    given = parser.parse_args()
    if given.child:
        build_board(given.child)
        return
    with tempfile.TemporaryDirectory() as own:
        root = given.folder or Path(own)
        os.environ["DMSEG_CACHE"] = str(root / "cache")
        for number in range(given.entries):
            if not (root / "entries" / f"model-{number:04d}").is_dir():
                write_entry(root, number, given.rows)
        entries = read_entries(root)[: given.entries]
        begun = time.perf_counter()
        for entry in entries[:-1]:
            for split in SPLITS:
                summary_of(entry, split)
            entry.__dict__.pop("tables", None)
        print(f"summaries of {given.entries - 1} entries: {time.perf_counter() - begun:.1f} s")
        command = [sys.executable, __file__, "--child", str(root)]
        for kind in ("one is new", "none is new"):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            _, seconds, cpu, peak, start, problems = done.stdout.split()
            memory = (int(peak) - int(start)) / 1024
            what = f"{given.entries} entries of {given.rows} rows, {kind}"
            took = f"{float(seconds):.1f} s ({float(cpu):.1f} s of CPU)"
            print(f"{what}: {took}, {memory:.0f} MB above the start; {problems} left out")


if __name__ == "__main__":
    main()
