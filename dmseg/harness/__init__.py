"""Runs a model under the prompt protocol on a built benchmark: work units, guarded calls, resume, run folder.

Which prompts are given is decided in :mod:`dmseg.protocol`, how a prediction is scored in :mod:`dmseg.metrics`, what a
model is in :mod:`dmseg.baselines`. Finished runs are read in :mod:`dmseg.results`.
"""

from dmseg.harness.evaluating import RunPlan, RunSummary, evaluate, perform, prepare
from dmseg.harness.options import RunOptions
from dmseg.harness.repeating import repeat_predictions
from dmseg.results import SCHEMA_VERSION, Run, open_run, run_digest  # the old names, for one version

__all__ = [
    "SCHEMA_VERSION",
    "Run",
    "RunOptions",
    "RunPlan",
    "RunSummary",
    "evaluate",
    "open_run",
    "perform",
    "prepare",
    "repeat_predictions",
    "run_digest",
]
