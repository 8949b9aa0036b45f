"""From raw downloads to one versioned benchmark folder: find, degrade, write, index; open it, check it, cite it.

What a dataset is lives in :mod:`dmseg.datasets`, what a degradation is in :mod:`dmseg.simulators`, what the tables mean
in :mod:`dmseg.manifests`.
"""

from dmseg.build.benchmark import Benchmark, StoredLevel, find_manifest, open_benchmark, require_track
from dmseg.build.checks import Problem, verify
from dmseg.build.citation import cite
from dmseg.build.description import counts_by, level_table, measure_capped_shares, split_counts, write_histogram
from dmseg.build.estimate import BuildEstimate, estimate
from dmseg.build.export import export_coco, export_manifest
from dmseg.build.finish import BuildSummary
from dmseg.build.folder import STORAGES
from dmseg.build.items import BenchmarkDataset
from dmseg.build.phantom_edition import phantom_raw
from dmseg.build.raw import list_names
from dmseg.build.rebuild import rebuild
from dmseg.build.run import build, build_shard, merge, phantom_benchmark
from dmseg.build.tracks import AnyPlan, name_track, track_of
from dmseg.files import cache_folder

__all__ = [
    "STORAGES",
    "AnyPlan",
    "Benchmark",
    "BenchmarkDataset",
    "BuildEstimate",
    "BuildSummary",
    "Problem",
    "StoredLevel",
    "build",
    "build_shard",
    "cache_folder",
    "cite",
    "counts_by",
    "estimate",
    "export_coco",
    "export_manifest",
    "find_manifest",
    "level_table",
    "list_names",
    "measure_capped_shares",
    "merge",
    "name_track",
    "open_benchmark",
    "phantom_benchmark",
    "phantom_raw",
    "rebuild",
    "require_track",
    "split_counts",
    "track_of",
    "verify",
    "write_histogram",
]
