"""The chain of operations of a batch: each image by its own plan, images with the same operation together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from dmseg.errors import UsageError
from dmseg.simulators import pixels, visibility
from dmseg.simulators.batched import domain, general, marks, tomography
from dmseg.simulators.batched.tensors import put
from dmseg.simulators.operations import operation
from dmseg.simulators.plan import Plan, PlanStep
from dmseg.simulators.scene import Scene
from dmseg.simulators.tables import default_window
from dmseg.types import Image, check_level

OPERATIONS: Mapping[str, domain.Function] = {
    "gaussian_noise": general.gaussian_noise,
    "salt_pepper": general.salt_pepper,
    "motion_blur": general.motion_blur,
    "gaussian_blur": general.gaussian_blur,
    "brightness_contrast": general.brightness_contrast,
    "gamma": general.gamma,
    "jpeg": general.jpeg,
    "glare": general.glare,
    "speckle": domain.speckle,
    "acoustic_shadow": domain.acoustic_shadow,
    "bias_field": domain.bias_field,
    "gibbs_ringing": domain.gibbs_ringing,
    "mr_ghosting": domain.mr_ghosting,
    "rician_noise": domain.rician_noise,
    "ct_ring": domain.ct_ring,
    "grid_banding": domain.grid_banding,
    "vignette": domain.vignette,
    "illumination_shadow": domain.illumination_shadow,
    "fog": domain.fog,
    "gel_reflection": marks.gel_reflection,
    "specular_reflection": marks.specular_reflection,
    "double_exposure": marks.double_exposure,
    "dead_pixels": marks.dead_pixels,
    "beam_hardening": tomography.beam_hardening,
    "photon_starvation": tomography.photon_starvation,
}
"""Torch versions of all operations that ship: ``function(x, clear, scenes, values) -> x``, by their names on arrays.

x and clear are uint8, or float32 in [0, 1], (B, C, H, W) with C of 1 or 3; the result is a new tensor of the same type.
"""

_FACTS = {
    "brightness_contrast": ("mean",),
    "speckle": ("geometry",),
    "acoustic_shadow": ("geometry", "reflectors"),
    "fog": ("bright",),
    "gel_reflection": ("geometry", "interface"),
    "specular_reflection": ("sites",),
    "photon_starvation": ("body width",),
}
"""What an operation must know of Clear that only :meth:`Plan.observe` measures."""
_FACTS_IN = {
    ("bias_field", "ultrasound"): ("geometry",),
    ("dead_pixels", "ultrasound"): ("geometry",),
    ("beam_hardening", "ct"): ("body width",),
    ("vignette", "ultrasound"): ("geometry",),
    ("vignette", "dental"): ("field_of_view",),
    ("vignette", "endoscopy"): ("field_of_view",),
}


@dataclasses.dataclass(frozen=True)
class _Act:
    """One operation on one image."""

    name: str
    scene: Scene
    values: Mapping[str, float]


def apply_batch(
    images: Tensor, plans: Sequence[Plan], level: str | Sequence[str], *, on_arrays: bool | None = None
) -> Tensor:
    """Return a batch of images, each degraded by its own plan: what :meth:`Plan.apply` gives, on the images' device.

    Args:
        images: Clear, uint8 or floats in [0, 1] (half precision is worked on as float32), (B, C, H, W), C of 1 or 3.
        plans: one for each image. On a device they must have been observed (``plan(..., image=...)`` in the loader)
            where an operation needs facts of Clear; nothing is read back from the device.
        level: of all images, or one for each.
        on_arrays: run the operations on arrays, which is faster on a CPU; None: where the tensor is on the CPU.

    Returns:
        A new tensor of the same type, shape and device. Equal to the arrays' on uint8 for noise, impulses, motion blur,
        brightness, gamma and JPEG; within one grey of 255 for the others.

    Raises:
        UsageError: another shape or type, an operation of a user (no torch version), facts that were not observed.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or min(images.shape[2:]) < pixels.MINIMUM_SIDE:
        raise UsageError(
            f"batch of shape {tuple(images.shape)}; give (B, C, H, W) with C of 1 or 3, at least 16 px a side"
        )
    if images.dtype != torch.uint8 and not images.dtype.is_floating_point:
        raise UsageError(f"batch of type {images.dtype}; give uint8 or floats in [0, 1]")
    levels = [level] * len(images) if isinstance(level, str) else list(level)
    if len(plans) != len(images) or len(levels) != len(images):
        raise UsageError(f"{len(images)} images, {len(plans)} plans, {len(levels)} levels; give one for each image")
    working = images if images.dtype == torch.uint8 else images.float()
    if images.device.type == "cpu" if on_arrays is None else on_arrays:
        made = _apply_on_arrays(working, plans, levels)
    else:
        chains = [_list_acts(drawn, one, images.shape) for drawn, one in zip(plans, levels, strict=True)]
        made = _run(working, chains)
    return made.to(images.dtype)


def _apply_on_arrays(images: Tensor, plans: Sequence[Plan], levels: Sequence[str]) -> Tensor:
    made = torch.empty_like(images, device="cpu", memory_format=torch.contiguous_format)
    for target, image, drawn, level in zip(made, images.cpu(), plans, levels, strict=True):
        pixel = image.numpy()
        grey = len(pixel) == 1
        result = drawn.apply(pixel[0] if grey else np.ascontiguousarray(pixel.transpose(1, 2, 0)), level)
        target.copy_(torch.from_numpy(result[None] if grey else result.transpose(2, 0, 1)))
    return made.to(images.device)


def _list_acts(drawn: Plan, level: str, shape: Sequence[int]) -> list[_Act]:
    """Return what is done to one image, with everything the host must know."""
    unseen = drawn.observed is None
    if unseen:
        window = drawn.window or default_window(drawn.modality)
        known = None if window is None else [window.center, window.width]
        drawn = dataclasses.replace(drawn, observed={"modality": drawn.modality, "window": known})
    steps = drawn.steps(check_level(level))
    acts = []
    for step, severity in steps:
        _check(drawn, step, unseen)
        capped = any(step is each for each in drawn.general)
        factor = 1.0 if not capped or drawn.visibility is None else drawn.visibility
        values = visibility.weaker(step.operation, step.numbers(severity), factor)
        scene = drawn.make_scene(step, _NOTHING)
        acts.append(_Act(step.operation, scene, operation(step.operation).scale(values, tuple(shape[2:]))))
    return acts


_NOTHING: Image = np.empty((0, 0), np.uint8)
"""Clear stays on the device; no operation here asks a scene for it."""


def _check(drawn: Plan, step: PlanStep, unseen: bool) -> None:
    """Refuse what cannot be done on a device: operations without a torch version, facts that nobody measured."""
    name = step.operation
    if name not in OPERATIONS:
        raise UsageError(
            f"{name} has no torch version (there are: {', '.join(OPERATIONS)}); degrade on the CPU, or on_arrays=True"
        )
    missing = [*_FACTS.get(name, ()), *_FACTS_IN.get((name, drawn.modality or ""), ())] if unseen else []
    if name in visibility.CAPPED and drawn.visibility is None:
        missing.append("visibility cap")
    if missing:
        raise UsageError(
            f'{name} needs the {", ".join(missing)} of Clear and the plan "{drawn.key}" was not observed: draw it with '
            "image=, or call its observe(image), before the batch goes to the device"
        )


def _run(images: Tensor, chains: Sequence[Sequence[_Act]]) -> Tensor:
    """Run the chains side by side: at each position, images with the same operation are one batch."""
    x = images.clone()
    for position in range(max((len(chain) for chain in chains), default=0)):
        groups: dict[str, list[int]] = {}
        for number, chain in enumerate(chains):
            if position < len(chain):
                groups.setdefault(chain[position].name, []).append(number)
        for name, members in groups.items():
            acts = [chains[number][position] for number in members]
            scenes, values = [act.scene for act in acts], [act.values for act in acts]
            if len(members) == len(images):
                x = OPERATIONS[name](x, images, scenes, values)
                continue
            index = put(np.asarray(members), images.device)
            made = OPERATIONS[name](x.index_select(0, index), images.index_select(0, index), scenes, values)
            x = x.index_copy(0, index, made)
    return x
