"""From raw downloads to one versioned benchmark folder: find, degrade, write, index; open it, check it, cite it.

What a dataset is lives in :mod:`dmseg.datasets`, what a degradation is in :mod:`dmseg.simulators`, what the tables mean
in :mod:`dmseg.manifests`.
"""

from dmseg.build.benchmark import Benchmark, open_benchmark
from dmseg.build.folder import STORAGES
from dmseg.build.phantom_edition import cache_folder, phantom_raw
from dmseg.build.run import BuildSummary, build

__all__ = [
    "STORAGES",
    "Benchmark",
    "BuildSummary",
    "build",
    "cache_folder",
    "open_benchmark",
    "phantom_raw",
]
