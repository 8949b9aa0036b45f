"""The log of a run: one line of means per so many batches, in losses.csv and on stderr."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping
from pathlib import Path

from dmseg.files import write_text


class LossLog:
    """A CSV file whose first column is the number of batches done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep_until(self, done: int) -> None:
        """Drop lines after ``done`` batches: a run that goes on writes them again."""
        if not self.path.is_file():
            return
        head, *lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n") and int(line.split(",", 1)[0]) <= done]
        write_text(self.path, "".join([head, *whole]) if whole else "")

    def write(self, row: Mapping[str, float | str]) -> None:
        """Append a line, and show it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.is_file() or not self.path.stat().st_size
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
        with self.path.open("a", encoding="utf-8", newline="") as handle:
            handle.write(text.getvalue())
        print("  ".join(f"{name} {value}" for name, value in row.items()), file=sys.stderr, flush=True)
