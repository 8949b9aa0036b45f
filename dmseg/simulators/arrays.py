"""Arrays that hold more than their pixels: masked arrays, and samples of fewer bits than their type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dmseg import imaging
from dmseg.errors import UsageError
from dmseg.simulators.operations import operation
from dmseg.simulators.plan import SEVERITY_LEVELS, Given, Plan, plan, plan_operations
from dmseg.simulators.tables import check_severity
from dmseg.types import LEVEL_LABELS, MODALITIES, Image, Window, check_level


def check_domain(level: str, modality: str | None, *, given: bool) -> None:
    """Refuse LQ-3+ where nothing says which degradations it adds to LQ-3.

    Args:
        level: of the request.
        modality: of the image, or None.
        given: whether operations are named otherwise (a dataset's, or the caller's own).

    Raises:
        UsageError: there is no modality, and none are named.
    """
    if level == "lq3plus" and modality is None and not given:
        raise UsageError(
            f"{LEVEL_LABELS[level]} adds degradations of the modality: give --modality / modality= "
            f"({', '.join(MODALITIES)}) or --dataset / dataset="
        )


def spread(image: NDArray[Any], bits: int | None) -> Window | None:
    """Return the window from 0 to the largest number of so many bits; None where these are all of the type's.

    Raises:
        UsageError: bits for other than unsigned integers, or a value that does not fit.
    """
    if bits is None:
        return None
    if image.dtype.kind != "u" or not 1 <= bits <= 8 * image.itemsize:
        raise UsageError(f"bits={bits} is for unsigned integers of at least as many bits, the image is {image.dtype}")
    white = (1 << bits) - 1
    if int(image.max(initial=0)) > white:
        raise UsageError(f"the image has values up to {image.max()}, which do not fit {bits} bits")
    return None if bits == 8 * image.itemsize else Window(white / 2, float(white))


def plain_pixels(image: Any) -> Any:
    """Return an image whose masked pixels are as dark as its darkest valid one; other arrays as they are."""
    if not isinstance(image, np.ma.MaskedArray):
        return image
    valid = image.compressed()
    if valid.size == 0:
        raise UsageError("every pixel of the masked image is masked")
    return image.filled(valid.min())


def apply_within(drawn: Plan, image: Any, level: str, window: Window | None) -> Image:
    """Apply a plan that observed :func:`plain_pixels` (through ``window``, where there is one), in the image's type.

    Masked pixels keep their value and their mask.
    """
    plain = plain_pixels(image)
    if window is None:
        made = drawn.apply(plain, level)
    else:
        base = imaging.normalise(plain, window)
        made = imaging.add_change(plain, base, drawn.apply(base, level), window)
        made = np.minimum(made, plain.dtype.type(window.width))
    if not isinstance(image, np.ma.MaskedArray):
        return made
    mask = np.ma.getmaskarray(image)
    return np.ma.MaskedArray(np.where(mask, image.data, made), mask=mask, fill_value=image.fill_value)


def degrade(
    image: Any,
    level: str,
    *,
    modality: str | None = None,
    domain: Sequence[str] | None = None,
    ops: Sequence[str] | None = None,
    key: str = "",
    seed: int = 0,
    window: Window | None = None,
    geometry: Mapping[str, Any] | None = None,
    bits: int | None = None,
    order: str = "paper",
) -> Image:
    """Return one image at one level; see :func:`~dmseg.simulators.plan` and :meth:`Plan.apply`.

    ``bits``: significant bits of unsigned samples, such as 12 in uint16. Masked arrays keep their mask and what it
    covers.

    Raises:
        UsageError: an unknown name, LQ-3+ without a modality, values beyond ``bits``.

    >>> import numpy as np
    >>> degrade(np.full((32, 32), 100, np.uint8), "lq2", modality="mri", key="example").shape
    (32, 32)
    """
    level = check_level(level)
    check_domain(level, modality, given=domain is not None or ops is not None)
    drawn = plan(
        key, modality=modality, domain=domain, seed=seed, window=window, geometry=geometry, ops=ops, order=order
    )
    return _apply_to_any(drawn, image, level, bits)


def _apply_to_any(drawn: Plan, image: Any, level: str, bits: int | None) -> Image:
    plain = plain_pixels(image)
    return apply_within(drawn, image, level, spread(plain, bits) if isinstance(plain, np.ndarray) else None)


def corrupt(
    image: Any,
    op: str,
    severity: int | str = 1,
    *,
    modality: str | None = None,
    key: str = "",
    seed: int = 0,
    window: Window | None = None,
    geometry: Mapping[str, Any] | None = None,
    bits: int | None = None,
    **parameters: Given,
) -> Image:
    """Return an image with one degradation at one severity.

    Args:
        image: (H, W) or (H, W, 3); uint8, uint16, float32 in [0, 1], or int16 with a window; at least 16 px.
        op: name of an operation (:data:`OPS`), as people type it: ``"ct_ring"``, ``"CT ring"``.
        severity: 1, 2 or 3, or ``light``, ``medium`` or ``heavy``: what the operation is at LQ-1, LQ-2 and LQ-3. The
            ranges are those of ``levels.toml``.
        modality: default: the first one that has the operation; general operations need none.
        key, seed: what the draw depends on; the same ones give the same pixels anywhere.
        window: grey window of CT and X-ray values; default: the modality's.
        geometry: ultrasound scan geometry instead of the estimate.
        bits: significant bits of unsigned samples, such as 12 in uint16; default: all of the type.
        **parameters: of the operation, a number or (low, high) to draw from, at every severity; lengths in px at a
            512-px short side. Where none is given, the visibility cap holds as at the levels.

    Returns:
        A new array of the same shape, type and range. Nothing moves, so masks stay valid.

    Raises:
        UsageError: an unknown operation, severity or parameter, a value outside its limits, an unusable image.

    >>> import numpy as np
    >>> clear = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    >>> weak, strong = (corrupt(clear, "gaussian noise", severity, key="case-7") for severity in (1, 3))
    >>> bool(np.abs(weak.astype(int) - clear).mean() < np.abs(strong.astype(int) - clear).mean())
    True
    """
    level = SEVERITY_LEVELS[check_severity(severity)]
    name = operation(op).name
    drawn = plan_operations(key, {name: parameters}, modality=modality, seed=seed, window=window, geometry=geometry)
    return _apply_to_any(drawn, image, level, bits)
