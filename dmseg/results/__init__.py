"""Reads and analyses run folders: tables, cases, means with intervals, comparisons, the audited predictions.

Running a model is :mod:`dmseg.harness`. The columns of a run folder are in :mod:`dmseg.results.columns`.
"""

from dmseg.results.columns import SCHEMA_VERSION
from dmseg.results.runs import Run, open_run, run_digest

__all__ = ["SCHEMA_VERSION", "Run", "open_run", "run_digest"]
