"""Where the benchmark of a run is: as the run noted it on this machine, or in the user's cache."""

from __future__ import annotations

from pathlib import Path

from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import DataError
from dmseg.files import cache_folder
from dmseg.manifests import HEADER_FILE, read_header
from dmseg.reading import read_json
from dmseg.results import Run, open_run
from dmseg.results.columns import ENVIRONMENT_FILE

_MAX_ENVIRONMENT = 1 << 24


def open_own_benchmark(run: Run, benchmark: Path | Benchmark) -> Benchmark:
    """Return the open benchmark if the run was made on it.

    Raises:
        DataError: it is another one.
    """
    pixels = open_benchmark(benchmark) if isinstance(benchmark, Path) else benchmark
    wanted = run.info["benchmark"]["manifest_digest"]
    if pixels.digest != wanted:
        raise DataError(
            f"{pixels.path}: benchmark {pixels.digest[:8]}, but the run was made on {wanted[:8]}; "
            "give --data the benchmark of this run"
        )
    return pixels


def find_benchmark(run: Path) -> Path | None:
    """Return the benchmark of a run: where the run was made on it, or in the user's cache; None where it is neither."""
    wanted = open_run(run).info["benchmark"]["manifest_digest"]
    places = [*_list_noted(run), *(cache_folder() / "benchmarks").glob(f"*/{HEADER_FILE}")]
    for header in places:
        try:
            if read_header(header.parent)["manifest_digest"] == wanted:
                return header.parent
        except (DataError, OSError):  # moved, or another one now
            continue
    return None


def _list_noted(run: Path) -> list[Path]:
    """Return the headers of the benchmark folders that environment.json names, newest session first."""
    try:
        noted = read_json(run / ENVIRONMENT_FILE, limit=_MAX_ENVIRONMENT)
    except (DataError, OSError):
        return []
    sessions = noted.get("sessions") if isinstance(noted, dict) else None
    places = [session.get("benchmark") for session in sessions or () if isinstance(session, dict)]
    return [Path(place) / HEADER_FILE for place in reversed(places) if isinstance(place, str)]
