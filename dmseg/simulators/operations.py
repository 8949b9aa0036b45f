"""The registry of operations: names, tables, functions; users' own operations; one operation on one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from dmseg import imaging
from dmseg.errors import DataError, UsageError, unknown_name
from dmseg.simulators import ct, general, mri, optical, pixels, scene, tables, ultrasound, xray
from dmseg.simulators.observe import make_working, observe
from dmseg.simulators.scene import Scene
from dmseg.simulators.tables import Parameter
from dmseg.types import Image, Window, check_modality, resolve_name

ENTRY_POINTS = "dmseg.simulators"
_OPERATION_NAMES = {
    "saltandpepper": "salt_pepper",
    "jpg": "jpeg",
    "jpegcompression": "jpeg",
    "ghosting": "mr_ghosting",
    "gibbs": "gibbs_ringing",
    "ring": "ct_ring",
    "rings": "ct_ring",
    "ringartifact": "ct_ring",
    "grid": "grid_banding",
    "rician": "rician_noise",
}
"""Further names of operations, letters and digits alone."""

Function = Callable[..., Image]


@dataclass(frozen=True)
class Operation:
    """One degradation.

    Attributes:
        name: how plans call it.
        kind: ``general`` (LQ-1 to LQ-3) or ``domain`` (LQ-3+).
        version: raised when the same parameters give other pixels.
        parameters: name -> unit, ranges, source.
        function: ``function(image, scene, **values) -> image``: uint8, uint16 or float32 in, the same out; lengths
            arrive in px of the image. It is pure: the scene is all it knows.
        needs: what an image must have for the operation to change it: ``variation`` (two different values),
            ``midtones`` (values between black and white), ``signal`` (values above black), ``headroom`` (values below
            white).
        needs_in: the same for one modality alone.
    """

    name: str
    kind: str
    version: int
    parameters: Mapping[str, Parameter]
    function: Function
    needs: tuple[str, ...] = ()
    needs_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First line of the function's documentation."""
        return (self.function.__doc__ or self.name).strip().splitlines()[0]

    def inert(self, observed: Mapping[str, Any]) -> str | None:
        """Return why the operation cannot change an image with these observed facts, or None."""
        reasons = {
            "variation": (observed["minimum"] == observed["maximum"], "all pixels are equal"),
            "midtones": (observed["midtones"] == 0, "every pixel is black or white"),
            "signal": (observed["maximum"] == 0, "the image is black"),
            "headroom": (observed["minimum"] == 1, "the image is white"),
        }
        needs = (*self.needs, *self.needs_in.get(observed["modality"], ()))
        return next((reasons[need][1] for need in needs if reasons[need][0]), None)

    def scale(self, values: Mapping[str, float], shape: tuple[int, ...]) -> dict[str, float]:
        """Return the values, lengths in px of an image of this shape; numbers beyond the limits are refused."""
        arguments = {}
        for name, value in values.items():
            parameter = self.parameters[name]
            number = parameter.check(float(value), f"{self.name}: {name}")
            arguments[name] = scene.pixels(number, shape, parameter.floor) if parameter.length else number
        return arguments

    def __call__(self, image: Image, where: Scene, values: Mapping[str, float]) -> Image:
        """Apply to a working image (uint8, uint16, float32); lengths in ``values`` are at a 512-px short side."""
        arguments = self.scale(values, image.shape)
        if image.ndim == 3 and pixels.is_grey(image):
            result = self.function(image[..., 0].copy(), where, **arguments)
            return result[..., None].repeat(3, axis=2)
        # Functions look at rows as one vector: what they are given, and hand on, is contiguous.
        return np.ascontiguousarray(self.function(np.ascontiguousarray(image), where, **arguments))


_FUNCTIONS: dict[str, Function] = {
    "gaussian_noise": general.gaussian_noise,
    "salt_pepper": general.salt_pepper,
    "motion_blur": general.motion_blur,
    "gaussian_blur": general.gaussian_blur,
    "brightness_contrast": general.brightness_contrast,
    "gamma": general.gamma,
    "jpeg": general.jpeg,
    "glare": general.glare,
    "speckle": ultrasound.speckle,
    "acoustic_shadow": ultrasound.acoustic_shadow,
    "gel_reflection": ultrasound.gel_reflection,
    "bias_field": mri.bias_field,
    "gibbs_ringing": mri.gibbs_ringing,
    "mr_ghosting": mri.mr_ghosting,
    "rician_noise": mri.rician_noise,
    "ct_ring": ct.ct_ring,
    "beam_hardening": ct.beam_hardening,
    "photon_starvation": ct.photon_starvation,
    "grid_banding": xray.grid_banding,
    "vignette": optical.vignette,
    "illumination_shadow": optical.illumination_shadow,
    "specular_reflection": optical.specular_reflection,
    "double_exposure": optical.double_exposure,
    "fog": optical.fog,
    "dead_pixels": optical.dead_pixels,
}


def _list_built_in() -> dict[str, Operation]:
    lacking = sorted({*tables.operation_tables()} ^ {*_FUNCTIONS})
    if lacking:
        raise DataError(
            f"operation {', '.join(lacking)}: needs a table in levels.toml and a line in _FUNCTIONS of operations.py, "
            "and has one of them"
        )
    return {
        name: Operation(
            name, table.kind, table.version, table.parameters, _FUNCTIONS[name], table.needs, table.needs_in
        )
        for name, table in tables.operation_tables().items()
    }


OPS: dict[str, Operation] = _list_built_in()
"""Every operation by name: the built-in ones, and users' own once :func:`operation` has met them."""

GENERAL: tuple[str, ...] = tuple(name for name, entry in OPS.items() if entry.kind == "general")
"""The pool that LQ-1 to LQ-3 draw from; users' operations never enter it."""


def operation(name: str) -> Operation:
    """Return an operation by name as people type it, looking among installed packages' entry points too.

    A package adds one with the entry point ``name = package.module:OPERATION`` in the group ``dmseg.simulators``.

    Raises:
        UsageError: no such operation, or an entry point that is not an :class:`Operation` of that name.
    """
    if name not in OPS:
        others = {entry.name: entry for entry in metadata.entry_points(group=ENTRY_POINTS)}
        name = resolve_name("operation", name, sorted({*OPS, *others}), _OPERATION_NAMES)
    if name not in OPS:
        entry = others[name]
        loaded = entry.load()
        if not isinstance(loaded, Operation) or loaded.name != name:
            raise UsageError(f'entry point "{name}" ({entry.value}) is not a dmseg.simulators.Operation of that name')
        OPS[name] = loaded
    return OPS[name]


def modality_operations(modality: str) -> list[str]:
    """Return the domain operations of a modality, the optional ones last."""
    table = tables.modality_tables()[check_modality(modality)]
    return [*table.operations, *table.extra]


def home_modality(name: str) -> str | None:
    """Return the first modality that lists the operation, or None (a general operation, or a user's)."""
    listed = tables.modality_tables().items()
    return next((modality for modality, table in listed if name in table.operations + table.extra), None)


def apply(
    op: str,
    image: Any,
    *,
    key: str = "",
    seed: int = 0,
    severity: str | int = "heavy",
    modality: str | None = None,
    window: Window | None = None,
    geometry: Mapping[str, Any] | None = None,
    **params: float,
) -> Image:
    """Apply one operation to one image; parameters that are not given are drawn.

    Args:
        op: name in :data:`OPS`.
        image: uint8, uint16, float32 in [0, 1] or int16 with a window; (H, W) or (H, W, 3); at least 16 px.
        key, seed: what the draws and fields depend on; the same key and seed give the same result anywhere.
        severity: ``light``, ``medium`` or ``heavy`` (or 1, 2, 3), the ranges for drawn parameters.
        modality: default: the first one that has the operation.
        window: grey window in the scanner's units (CT: HU); default: the modality's.
        geometry: ultrasound scan geometry instead of the estimate.
        **params: parameters of the operation; lengths in px at a 512-px short side.

    Returns:
        A new array of the same shape and type.

    Raises:
        UsageError: unknown operation, parameter or severity, a value outside its limits, an unusable image.

    >>> import numpy as np
    >>> grey = np.full((64, 64), 128, np.uint8)
    >>> noisy = apply("gaussian_noise", grey, key="example", sigma=0.1)
    >>> noisy.shape, noisy.dtype.name, bool((noisy != grey).any())
    ((64, 64), 'uint8', True)
    """
    entry = operation(op)
    op, severity = entry.name, tables.check_severity(severity)
    for name in params:
        if name not in entry.parameters:
            raise unknown_name(f"parameter of {op}", name, entry.parameters)
    modality = check_modality(modality) if modality else home_modality(op)
    observed = observe(image, modality=modality, geometry=geometry, window=window)
    drawn = tables.draw(op, entry.parameters, key=key, seed=seed, modality=modality)[severity]
    for name in params:
        if name not in drawn:
            raise UsageError(f"{op} has no {name} for {modality}; it has: {', '.join(drawn)}")
    values = {name: float(text) for name, text in drawn.items()} | dict(params)
    return apply_operation(entry, image, observed, (seed, key, op), values)


def apply_operation(
    entry: Operation,
    image: Image,
    observed: Mapping[str, Any],
    parts: tuple[str | int, ...],
    values: Mapping[str, float],
) -> Image:
    """Apply one operation to an image of any accepted type (int16 through its window)."""
    window = observed["window"]
    declared = None if window is None else Window(*window)
    before = make_working(image, declared)
    where = Scene(observed, parts, before)
    after = entry(before, where, values)
    if image.dtype.kind == "i" and declared is not None:
        return imaging.add_change(image, before, after, declared)
    return after.astype(image.dtype, copy=False)  # its byte order
