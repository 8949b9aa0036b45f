"""For albumentations and AlbumentationsX: an ``ImageOnlyTransform`` with replay, ``p`` and volume targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg.errors import MissingDependencyError, UsageError
from dmseg.transforms import arrays, draws
from dmseg.transforms.degradation import Degradation
from dmseg.transforms.settings import Operations, Settings
from dmseg.types import Window

try:
    import albumentations
except ImportError as error:
    advice = 'install it with: pip install "dmseg-bench[albumentations]"'
    raise MissingDependencyError(f"dmseg.transforms.albumentations needs {error.name}; {advice}") from None

UNIT = (0.0, 1.0)
"""Black and white of albumentations' float images, by its definition."""
_TARGETS = ("image", "images", "volume", "volumes")


class Degrade(albumentations.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is not followed
    """Degrade the images of a sample: a native transform of albumentations and AlbumentationsX.

    Targets: image (H, W[, C]), images (N, H, W[, C]), volume (D, H, W[, C]), volumes (N, D, H, W[, C]); masks, boxes,
    key points stay as they are. A volume gets one plan; several images or volumes the same operations and parameters,
    each with its own noise. Floats are in [0, 1], as albumentations defines, unless ``value_range`` or ``window`` says
    otherwise. Draws come from the generator that ``Compose`` seeds; ``ReplayCompose`` keeps all drawn numbers.

    Args:
        modality, levels, ops, severity, domain, order, geometry, window, value_range, keyed, per_slice, colour: see
            :class:`dmseg.transforms.Settings`.
        keyed_seed: seed of keyed draws.
        name_from: entry of the sample that names the image, for keyed draws; None: the digest of its pixels.
        p: probability that a sample is degraded.
    """

    def __init__(
        self,
        modality: str | None = None,
        levels: str | Sequence[str] | None = None,
        ops: Operations | None = None,
        severity: int | str | Sequence[int | str] | None = None,
        domain: Sequence[str] | None = None,
        order: str = "paper",
        geometry: Mapping[str, Any] | None = None,
        window: Window | tuple[float, float] | None = None,
        value_range: tuple[float, float] | str | None = None,
        keyed: bool = False,
        keyed_seed: int = 0,
        per_slice: bool = False,
        colour: bool | None = None,
        name_from: str | None = None,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.modality, self.levels, self.ops, self.severity, self.domain = modality, levels, ops, severity, domain
        self.order, self.geometry = order, geometry
        self.window = (window.center, window.width) if isinstance(window, Window) else window
        self.value_range, self.keyed, self.keyed_seed = value_range, keyed, keyed_seed
        self.per_slice, self.colour, self.name_from = per_slice, colour, name_from
        self._settings = Settings(
            modality=modality,
            levels=levels,
            ops=ops,
            severity=severity,
            domain=domain,
            order=order,
            geometry=geometry,
            window=window,
            value_range=value_range,
            seed=keyed_seed,
            keyed=keyed,
            per_slice=per_slice,
            colour=colour,
        )

    if hasattr(albumentations.ImageOnlyTransform, "sample_parameters"):  # AlbumentationsX

        def sample_parameters(self, params: Any, data: dict[str, Any], targets: Any, sampling: Any) -> Any:
            """Draw a degradation."""
            from albumentations.core.transform_params import SampledParams

            return SampledParams(params={"degradation": self._draw(data, sampling.random_generator)})

    else:

        def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
            """Draw a degradation."""
            return {"degradation": self._draw(data, self.random_generator)}

    def _draw(self, data: Mapping[str, Any], generator: np.random.Generator) -> str | Degradation:
        """Return a degradation, as text where it is stored with the sample."""
        drawn = self._settings.draw(self._find_key(data, generator))
        return drawn.to_json() if self.deterministic else drawn

    def _find_key(self, data: Mapping[str, Any], generator: np.random.Generator) -> str:
        if not self.keyed:
            return draws.make_fresh_key(int(generator.integers(0, 2**63)))
        if self.name_from is not None:
            if self.name_from not in data:
                raise UsageError(f'the sample has no "{self.name_from}" to name its image; it has: {", ".join(data)}')
            return str(data[self.name_from])
        first = next(data[target] for target in _TARGETS if target in data)
        return draws.make_pixel_key(np.asarray(first))

    def _apply(self, pixels: Any, layout: str, given: str | Degradation, number: int = 0) -> NDArray[Any]:
        drawn = Degradation.from_json(given) if isinstance(given, str) else given
        drawn = drawn.rename(f"{drawn.plan.key}/{number}") if number else drawn
        values = np.asarray(pixels)
        layout = arrays.fit_layout(layout, values.shape)
        return arrays.degrade_array(values, layout, drawn, self._settings, convention=UNIT)

    def apply(self, img: NDArray[Any], **params: Any) -> NDArray[Any]:
        """Degrade an image."""
        return self._apply(img, "HWC", params["degradation"])

    def apply_to_images(self, images: Any, **params: Any) -> NDArray[Any]:
        """Degrade several images: the same operations and parameters, noise and fields of their own."""
        return np.stack([self._apply(one, "HWC", params["degradation"], n) for n, one in enumerate(images)])

    def apply_to_volume(self, volume: NDArray[Any], **params: Any) -> NDArray[Any]:
        """Degrade a volume by one plan for all slices."""
        return self._apply(volume, "DHWC", params["degradation"])

    def apply_to_volumes(self, volumes: Any, **params: Any) -> NDArray[Any]:
        """Degrade several volumes: the same operations and parameters, noise and fields of their own."""
        return np.stack([self._apply(one, "DHWC", params["degradation"], n) for n, one in enumerate(volumes)])

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Return the names of the arguments, which are attributes, too."""
        return (
            "modality", "levels", "ops", "severity", "domain", "order", "geometry", "window", "value_range", "keyed",
            "keyed_seed", "per_slice", "colour", "name_from",
        )  # fmt: skip
