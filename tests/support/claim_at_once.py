"""A process that claims a folder for a job at the same moment as others: ``FOLDER GATE JOB``; see test_ledger.py."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from dmseg.errors import DataError, DmsegError, UsageError
from dmseg.jobs import Ledger


def make_ledger(out: Path) -> Ledger:
    return Ledger(out / "memory", (out / "memory" / "job.json",))


def join(out: Path, name: str) -> None:
    """Hold the folder for a job of this name for a moment."""

    def check(before):
        if before["name"] != name:
            raise UsageError(f"holds the job {before['name']}")
        return False

    with make_ledger(out).session({"name": name}, check, lambda: DataError("holds something else")):
        time.sleep(0.05)


def main() -> None:
    out, gate, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    print("ready", flush=True)
    while not gate.exists():
        pass
    try:
        join(out, name)
    except DmsegError as error:
        print(error)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
