"""Old place of :mod:`dmseg.transforms`, for one version: the same classes, with the keyed draws that they had here."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

from dmseg.types import LEVELS


def __getattr__(name: str) -> Any:
    if name not in ("Degrade", "Degraded"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__} has moved to dmseg.transforms", DeprecationWarning, stacklevel=2)
    new = importlib.import_module("dmseg.transforms")
    if name == "Degraded":
        return new.Degraded

    def degrade(
        modality: str | None,
        levels: str | Sequence[str] = LEVELS,
        domain: Sequence[str] | None = None,
        ops: Sequence[str] | None = None,
        *,
        channels_first: bool = False,
        **options: Any,
    ) -> Any:
        drawn = {"levels": levels} if ops is None else {"ops": ops}
        layout = "CHW" if channels_first else "HWC"
        return new.Degrade(modality, domain=domain, layout=layout, keyed=True, **drawn, **options)

    return degrade
