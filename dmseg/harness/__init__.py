"""Runs a model under the prompt protocol on a built benchmark: work units, guarded calls, resume, run folder.

Which prompts are given is decided in :mod:`dmseg.protocol`, how a prediction is scored in :mod:`dmseg.metrics`, what a
model is in :mod:`dmseg.baselines`. The columns of a run folder are in :mod:`dmseg.harness.columns`.
"""

from dmseg.harness.columns import SCHEMA_VERSION
from dmseg.harness.evaluating import Plan, RunSummary, evaluate, perform, prepare
from dmseg.harness.options import Options
from dmseg.harness.runs import Run, open_run, run_digest

__all__ = [
    "SCHEMA_VERSION",
    "Options",
    "Plan",
    "Run",
    "RunSummary",
    "evaluate",
    "open_run",
    "perform",
    "prepare",
    "run_digest",
]
