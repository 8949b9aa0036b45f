"""A small published edition, and honest runs on it by models that ship."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_benchmark import write_tiny_benchmark

import dmseg.results.audit
from dmseg.build import open_benchmark
from dmseg.harness import evaluate

EDITION = ("tiny", "1.0")
PICTURES = tuple(
    (dataset, f"{dataset}{i}", split, f"p{i // 2}", None, ((14 + i, 20 + i % 3, 6 + i % 4), (46, 30 - i, 5 + i % 3)))
    for dataset, split in (("alpha", "seen"), ("beta", "seen"), ("gamma", "unseen"))
    for i in range(4)
)


@dataclass(frozen=True)
class Published:
    """A benchmark that counts as published while the tests run, and runs on it."""

    benchmark: Path
    runs: dict[str, Path]

    def copy(self, name: str, folder: Path) -> Path:
        """Return a copy of a run that a test may damage."""
        return Path(shutil.copytree(self.runs[name], folder))


@contextmanager
def publish(benchmark: Path) -> Iterator[None]:
    """Let a benchmark count as published, and a larger share of its masks as audited, for as long as a test runs."""
    manifests = importlib.import_module("dmseg.manifests.published")  # a function of that name hides the module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "_folders", lambda: {"tiny-1.0": benchmark})
        patch.setattr(dmseg.results.audit, "AUDITED_SHARE", 0.3)
        manifests._editions.cache_clear()
        yield
    manifests._editions.cache_clear()


@pytest.fixture(scope="session")
def tiny_edition(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    benchmark = write_tiny_benchmark(folder / "tiny", pictures=PICTURES)
    header = benchmark / "benchmark.json"
    info = json.loads(header.read_text()) | dict(zip(("edition", "version"), EDITION, strict=True))
    header.write_text(json.dumps(info))
    runs = {name: folder / name for name in ("watershed", "disk")}
    with publish(benchmark):
        for name, run in runs.items():
            evaluate(name, open_benchmark(benchmark), run, keep_predictions=True)
    return Published(benchmark, runs)


@pytest.fixture(name="published")
def publish_edition(tiny_edition: Published) -> Iterator[Published]:
    with publish(tiny_edition.benchmark):
        yield tiny_edition
