"""The degradations inside training pipelines: thin classes over the same plans, one module per host library.

:class:`Degrade` and :class:`Degraded` are plain callables and need no library. ``dmseg.transforms.monai``,
``.albumentations``, ``.torchvision`` and ``.torchio`` hold the native classes of those libraries, optional extras all.
Every call draws anew, from the generator of the host; ``keyed=True`` gives the benchmark's images.
"""

from __future__ import annotations

from dmseg.transforms.degradation import Degradation
from dmseg.transforms.plain import Degrade, Degraded
from dmseg.transforms.settings import Settings

__all__ = ["Degradation", "Degrade", "Degraded", "Settings"]
