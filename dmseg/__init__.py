"""dmseg: benchmark, degradation toolkit and evaluation harness for interactive segmentation of degraded medical images.

The public names below load on first use, so that ``import dmseg`` loads neither torch nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dmseg.version import __version__

if TYPE_CHECKING:
    from dmseg.api import degrade as degrade
    from dmseg.api import evaluate as evaluate
    from dmseg.api import explain as explain
    from dmseg.api import load_model as load_model
    from dmseg.api import open as open
    from dmseg.api import open_run as open_run
    from dmseg.api import plan as plan
    from dmseg.api import show as show
    from dmseg.metrics import score as score
    from dmseg.simulators import corrupt as corrupt

_PUBLIC = {
    "corrupt": "dmseg.simulators",
    "degrade": "dmseg.api",
    "evaluate": "dmseg.api",
    "explain": "dmseg.api",
    "plan": "dmseg.api",
    "load_model": "dmseg.api",
    "open": "dmseg.api",
    "open_run": "dmseg.api",
    "show": "dmseg.api",
    "score": "dmseg.metrics",
}

_SUBPACKAGES = (
    "baselines",
    "build",
    "datasets",
    "harness",
    "leaderboard",
    "metrics",
    "phantoms",
    "protocol",
    "report",
    "results",
    "simulators",
    "transforms",
)

__all__ = [
    "__version__",
    "corrupt",
    "degrade",
    "evaluate",
    "explain",
    "load_model",
    "open",
    "open_run",
    "plan",
    "score",
    "show",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    try:
        return importlib.import_module(f"dmseg.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"dmseg.{name}":
            raise
        raise AttributeError(f"module 'dmseg' has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted([*__all__, *_SUBPACKAGES])
