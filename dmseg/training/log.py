"""The log of a run: CSV files, TensorBoard, and lines on stderr."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from dmseg.files import write_text
from dmseg.imaging import write_png
from dmseg.progress import clock
from dmseg.training.config import TERMS

Row = Mapping[str, float | str]


class CsvLog:
    """A CSV file whose first column is the number of batches done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep_until(self, done: int) -> None:
        """Drop lines after ``done`` batches: a run that goes on writes them again."""
        if not self.path.is_file():
            return
        head, *lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
        whole = [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) <= done]
        write_text(self.path, "".join([head, *whole]) if whole else "")

    def write(self, row: Row) -> None:
        """Append a line; the first one brings the names of the columns."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        if not self.path.is_file() or not self.path.stat().st_size:
            writer.writeheader()
        writer.writerow(row)
        with self.path.open("a", encoding="utf-8", newline="") as handle:
            handle.write(text.getvalue())


class RunLog:
    """All that a run tells: losses.csv, validation.csv, images, TensorBoard's events, and stderr.

    Args:
        folder: of the run.
        done: batches done so far; what was logged after them is dropped.
    """

    def __init__(self, folder: Path, done: int) -> None:
        self._folder = folder
        self._losses, self._validation = CsvLog(folder / "losses.csv"), CsvLog(folder / "validation.csv")
        for log in (self._losses, self._validation):
            log.keep_until(done)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def losses(self, row: Row) -> None:
        """Log the means over some batches."""
        self._losses.write(row)
        self._scalars("train", row)

    def validation(self, row: Row, image: NDArray[np.uint8]) -> None:
        """Log a validation and its image."""
        self._validation.write(row)
        self._scalars("validation", row)
        done = int(row["batch"])
        write_png(self._folder / "pictures" / f"{done:06d}.png", image)
        self._board.add_image("predictions", image, done, dataformats="HWC")

    def close(self) -> None:
        """Write what is still held back."""
        self._board.close()

    def _scalars(self, group: str, row: Row) -> None:
        for name, value in row.items():
            if isinstance(value, float):
                self._board.add_scalar(f"{group}/{name}", value, int(row["batch"]))
        print("  ".join(f"{name} {value}" for name, value in row.items()), file=sys.stderr, flush=True)


class LogWindow:
    """Sums over the batches since the last line of the log.

    Args:
        first: batches done before this call.
        total: batches of the run.
    """

    def __init__(self, first: int, total: int) -> None:
        self._started = self._since = time.monotonic()
        self._first, self._total = first, total
        self._clear()

    def _clear(self) -> None:
        self._sums = dict.fromkeys((*TERMS, "first_iou", "last_iou", "with_gradient"), 0.0)
        self._images = self._samples = 0

    def add(self, sums: Mapping[str, float], images: int, samples: int) -> None:
        """Count one batch."""
        for name, value in sums.items():
            self._sums[name] += value
        self._images += images
        self._samples += samples

    def row(self, fabric: Fabric, done: int, rate: float) -> dict[str, float | str]:
        """Return the line's columns, over all processes, and start anew."""
        values = torch.tensor([*self._sums.values(), self._samples, self._images], dtype=torch.float32)
        if fabric.world_size > 1:
            values = cast(torch.Tensor, fabric.all_reduce(values.to(fabric.device), reduce_op="sum"))
        named = dict(zip((*self._sums, "samples", "images"), values.tolist(), strict=True))
        now = time.monotonic()
        left = (now - self._started) / max(1, done - self._first) * (self._total - done)
        row: dict[str, float | str] = {"batch": done}
        row |= {name: round(named[name] / max(1.0, named["with_gradient"]), 5) for name in TERMS}
        row |= {name: round(named[name] / max(1.0, named["samples"]), 4) for name in ("first_iou", "last_iou")}
        row |= {
            "rate": float(f"{rate:.4g}"),
            "images_per_s": round(named["images"] / (now - self._since), 2),
            "seconds": round(now - self._started, 1),
            "left": clock(left),
        }
        self._since = now
        self._clear()
        return row
