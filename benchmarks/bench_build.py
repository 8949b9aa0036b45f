"""Build: images per second per core beside the floor, memory of a worker, scaling from 1 to 2 workers.

    .venv/bin/python benchmarks/bench_build.py [--raw RAW] [--limit 6] [--only scaling|index] [--keep BENCH]

The floor is decoding the same sources and encoding the same images as PNG by the build's own encoder, and nothing
else, in the same run and on the same CPU clock; the last column has it with Pillow's default PNG settings, as a plain
script would write them. Each time is the better of two. Datasets with beam hardening (two projections and
reconstructions per image) are reported apart. Without --raw the phantoms are used, which are smaller than real images.
What two workers built can be kept, for ``bench_harness.py --scaling BENCH``.
Needs no peers: the package's own environment.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from PIL import Image

from dmseg import imaging
from dmseg.build import build, open_benchmark, phantom_raw
from dmseg.build.raw import FoundDataset, find_datasets
from dmseg.manifests import Manifest, read_manifest, write_manifest

PAPER_IMAGES = 44_807
TARGET = 1.5
INDEX_IMAGES = 50_000
MEMORY = (
    "import sys; from dmseg.build import build; from dmseg.jobs import peak_memory;"
    "build(sys.argv[1], sys.argv[2], limit=int(sys.argv[3])); print(peak_memory())"
)
OPEN = """
import sys, time
from dmseg.build import open_benchmark
from dmseg.jobs import peak_memory
start = time.perf_counter()
bench = open_benchmark(sys.argv[1])
bench.find_stored_image(sys.argv[2], "clear")
print(time.perf_counter() - start, peak_memory())
"""


def floor_seconds(found: FoundDataset, bench: Path) -> tuple[float, float]:
    """Return the CPU seconds of decoding the sources of a built dataset and encoding its images: by us, by Pillow."""
    opened = open_benchmark(bench)
    used = {image.split("#")[0] for image in opened.images["source"]}
    pictures = [opened.image(row.image_id, row.level) for row in opened.degradations.itertuples()]

    def decode() -> None:
        for source in found.sources:
            if any(file.as_posix() in used for file in source.files) or used & {source.id}:
                for _ in found.reader.read(found.root, source):
                    pass

    def encode() -> None:
        for picture in pictures:
            imaging.png_bytes(picture)

    def encode_with_pillow() -> None:
        for picture in pictures:
            Image.fromarray(picture).save(io.BytesIO(), "PNG")

    decoding = cpu_seconds(decode)
    return decoding + cpu_seconds(encode), decoding + cpu_seconds(encode_with_pillow)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process for some work, the better of two."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def build_seconds(raw: Path, out: Path, name: str, limit: int) -> float:
    """Return the CPU seconds of building one dataset with one worker in this process, the better of two."""
    folders = iter((out.with_name(f"{out.name}-again"), out))
    return cpu_seconds(lambda: build(raw, next(folders), datasets=[name], limit=limit))


def wall_seconds(raw: Path, out: Path, warm: Path, limit: int, jobs: int) -> float:
    """Return the seconds of building everything with a number of workers that are already warm."""
    build(raw, warm, limit=2, jobs=jobs)  # one source alone would be done in this process
    start = time.perf_counter()
    build(raw, out, limit=limit, jobs=jobs)
    return time.perf_counter() - start


def print_scaling(raw: Path, folder: Path, limit: int, keep: Path | None) -> None:
    """Print how much faster two workers are than one."""
    # Two come first: what the disk's cache spares is spared to the one, and the ratio is not flattered.
    folders = {2: keep or folder / "jobs2", 1: folder / "jobs1"}
    load = f"load of the minute before {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    two, one = (wall_seconds(raw, out, folder / f"warm{jobs}", limit, jobs) for jobs, out in folders.items())
    second, first = (open_benchmark(out) for out in folders.values())
    same = "one digest" if first.digest == second.digest else "OTHER DIGESTS"
    print(
        f"build, {len(second.images)} images: 1 worker {one:.1f} s, 2 workers {two:.1f} s: {one / two:.2f} x, "
        f"{same} ({load})"
    )


def index(bench: Path, folder: Path) -> None:
    """Print how long a process takes to open an index of many images and find the first one, and its memory."""
    manifest = read_manifest(bench)
    copies = -(-INDEX_IMAGES // manifest.images.num_rows)

    def rename(table: pa.Table, copy: int) -> pa.Table:
        for name in {"image_id", "mask_id"} & set(table.column_names):
            names = pa.array([f"{text}.{copy:05d}" for text in table[name].to_pylist()], pa.string())
            table = table.set_column(table.column_names.index(name), table.schema.field(name), names)
        return table

    tables = {
        name: pa.concat_tables([rename(table, copy) for copy in range(copies)])
        for name, table in manifest.tables.items()
    }
    write_manifest(folder / "index", Manifest(manifest.info, **tables))
    command = [sys.executable, "-c", OPEN, str(folder / "index"), tables["images"]["image_id"][0].as_py()]
    seconds, memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    print(
        f"index of {tables['images'].num_rows} images, {tables['masks'].num_rows} objects: opened in "
        f"{float(seconds):.2f} s, {int(memory) / 2**20:.0f} MiB with Python and its libraries"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, default=None, help="folder of raw downloads; default: phantoms")
    parser.add_argument("--limit", type=int, default=6, help="images of each dataset")
    parser.add_argument("--only", choices=("scaling", "index"), default=None, help="only that, for a quiet machine")
    parser.add_argument("--keep", type=Path, default=None, help="new folder for what two workers build; default: none")
    arguments = parser.parse_args()
    limit = arguments.limit
    if arguments.keep is not None and arguments.keep.exists():
        parser.error(f"{arguments.keep} is there already; a build there would have nothing to do")
    raw = arguments.raw or phantom_raw(limit)
    groups: dict[str, list[tuple[int, float, float, float]]] = {"without beam hardening": [], "with beam hardening": []}
    with tempfile.TemporaryDirectory(prefix="dmseg-bench-build-") as scratch:
        if arguments.only == "scaling":
            print_scaling(raw, Path(scratch), limit, arguments.keep)
            return
        build(raw, Path(scratch) / "whole", limit=limit)
        index(Path(scratch) / "whole", Path(scratch))
        if arguments.only == "index":
            return
        print(f"{'dataset':<14}{'images':>7}{'ms/image':>10}{'floor':>9}{'ratio':>7}{'Pillow':>9}{'ratio':>7}")
        for found in find_datasets(raw):
            build(raw, Path(scratch) / f"{found.name}-warm", datasets=[found.name], limit=1)
            out = Path(scratch) / found.name
            ours = build_seconds(raw, out, found.name, limit)
            n = len(open_benchmark(out).images)
            floor, pillow = floor_seconds(found, out)
            heavy = any("beam_hardening" in names for names in found.recipe.domain.values())
            groups["with beam hardening" if heavy else "without beam hardening"].append((n, ours, floor, pillow))
            print(
                f"{found.name:<14}{n:>7}{ours / n * 1e3:>10.1f}{floor / n * 1e3:>9.1f}{ours / floor:>7.2f}"
                f"{pillow / n * 1e3:>9.1f}{ours / pillow:>7.2f}"
            )
        for title, rows in groups.items():
            n, ours, floor, pillow = (sum(values) for values in zip(*rows, strict=True))
            print(
                f"{title}: {n / ours:.1f} images/s per core, {ours / floor:.2f} x the floor, "
                f"{ours / pillow:.2f} x the floor with Pillow's PNG"
            )
        print(f"target: {TARGET} x the floor without beam hardening")
        n, ours = (sum(row[column] for rows in groups.values() for row in rows) for column in (0, 1))
        hours = ours / n * PAPER_IMAGES / 3600
        print(f"extrapolated, not measured: {PAPER_IMAGES} images of these sizes take {hours:.1f} core hours")
        command = [sys.executable, "-c", MEMORY, str(raw), str(Path(scratch) / "memory"), str(limit)]
        memory = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"memory of a worker: {memory / 2**20:.0f} MiB at most")
        print_scaling(raw, Path(scratch), limit, arguments.keep)


if __name__ == "__main__":
    main()
