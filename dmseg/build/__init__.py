"""From raw downloads to one versioned benchmark folder: find, degrade, write, index; open it, check it, cite it.

What a dataset is lives in :mod:`dmseg.datasets`, what a degradation is in :mod:`dmseg.simulators`, what the tables mean
in :mod:`dmseg.manifests`.
"""

from dmseg.build.benchmark import Benchmark, open_benchmark
from dmseg.build.checks import Problem, verify
from dmseg.build.citation import cite
from dmseg.build.estimate import Estimate, estimate
from dmseg.build.folder import STORAGES
from dmseg.build.phantom_edition import phantom_raw
from dmseg.build.run import BuildSummary, build, phantom_benchmark
from dmseg.files import cache_folder

__all__ = [
    "STORAGES",
    "Benchmark",
    "BuildSummary",
    "Estimate",
    "Problem",
    "build",
    "cache_folder",
    "cite",
    "estimate",
    "open_benchmark",
    "phantom_benchmark",
    "phantom_raw",
    "verify",
]
