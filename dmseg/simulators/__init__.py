"""Degradations: image in, image out.

Three steps: :func:`observe` measures Clear once, :func:`plan` draws everything random from a key, :meth:`Plan.apply`
replays it. :func:`degrade` does all three for a level, :func:`corrupt` for one operation at a severity. The numbers are
in ``levels.toml`` (ranges), ``modalities.toml`` (operations per modality, windows) and ``visibility.toml``; each
operation's cause, equation and source in its docstring.
"""

from __future__ import annotations

from dmseg.simulators.arrays import corrupt, degrade
from dmseg.simulators.observe import observe
from dmseg.simulators.operations import GENERAL, OPS, Operation, apply, modality_operations, operation
from dmseg.simulators.plan import Plan, PlanStep, plan, plan_operations
from dmseg.simulators.scene import Scene
from dmseg.simulators.tables import TABLES_VERSION, Parameter, default_window, tables_digest
from dmseg.simulators.volumes import VolumePlan, plan_volume

__all__ = [
    "GENERAL",
    "OPS",
    "TABLES_VERSION",
    "Operation",
    "Parameter",
    "Plan",
    "PlanStep",
    "Scene",
    "VolumePlan",
    "apply",
    "corrupt",
    "default_window",
    "degrade",
    "modality_operations",
    "observe",
    "operation",
    "plan",
    "plan_operations",
    "plan_volume",
    "tables_digest",
]
