"""What a network makes of one object, step by step: prompts, mask, guidance, features before and after enhancement."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmseg.baselines.pge_sam import EnhancedNetwork, prompt_maps
from dmseg.baselines.prompted import Embedding, InputFrame, PromptedAdapter, bilinear
from dmseg.errors import UsageError
from dmseg.figures import contact_sheet, draw_signed_heat, heat, panel
from dmseg.metrics import score
from dmseg.protocol import Click, first_prompts, next_click, preset, with_click
from dmseg.types import Image, Mask, Prompts, as_rgb

Map = NDArray[np.float32]
_CELL = 224
_LOW, _HIGH = 1.0, 99.0  # percentiles of a row that its colours span


@dataclass(frozen=True, slots=True)
class StepMaps:
    """One interaction. All maps lie on the canvas, (H, W) float32.

    Attributes:
        prompts: all so far.
        mask: (H, W) bool, the answer.
        features: first principal component of the embedding, (before, after) enhancement; after is None without an
            enhancer. One component for all: that of the features of all steps together, padding left out, its sign such
            that the last answer is high.
        drawn: clicks and box as they enter the guidance, -1 to 1; None without guidance.
        guidance: distance of the guidance feature from its median over all positions; None without guidance.
        change: length of the difference of the features after and before; None without an enhancer.
        shift: the same difference along its own first principal axis, signed; None without an enhancer. Features before
            and after look alike, since the image is most of both: this is what the enhancer added.
    """

    prompts: Prompts
    mask: Mask
    features: tuple[Map, Map | None]
    drawn: Map | None
    guidance: Map | None
    change: Map | None
    shift: Map | None = None


def explain(
    model: Any,
    image: Image,
    *,
    reference: Mask | None = None,
    clicks: Sequence[Click] = (),
    box: NDArray[np.float32] | None = None,
    steps: int = 5,
    key: str = "",
    seed: int = 0,
) -> list[StepMaps]:
    """Prompt a network for one object and return what it made of every step.

    Args:
        model: a SAM-style model of :func:`dmseg.load_model`.
        image: uint8 (H, W) or (H, W, 3) RGB.
        reference: (H, W) bool; without ``clicks`` and ``box`` the evaluation's own user prompts towards it.
        clicks, box: prompts in pixels of the image; the box is a step of its own, then each click is one.
        steps: how many, where the reference prompts.
        key, seed: name the object in the draw of its first prompts.

    Raises:
        UsageError: a model without such features, a mask of another size, prompts outside of the image, or none.
    """
    if not isinstance(model, PromptedAdapter):
        name = getattr(model, "name", type(model).__name__)
        raise UsageError(f'model "{name}" has no features to show; give one of the networks of dmseg models')
    _check(image, reference, clicks, box)
    colour = as_rgb(image)
    (embedding,) = model.encode([colour])
    seen: list[_Seen] = []
    state: Any = None
    given: Prompts | None = _first(reference, clicks, box, key, seed)
    while given is not None:
        with _watch(model.network) as watched:
            answer = model.predict([embedding], [0], [given], [state])
        state = answer.state[0] if answer.state is not None else None
        mask = (answer.logits[0] > 0).cpu().numpy()
        seen.append(_Seen(given, mask, watched))
        given = _next(given, mask, reference, clicks, box, steps, key, seed)
    return _steps(embedding, model.network.side, seen)


def explanation_picture(image: Image, steps: Sequence[StepMaps], reference: Mask | None = None) -> NDArray[np.uint8]:
    """Draw an explanation: a row per step; features before and after share one colour scale, stated in the label."""
    columns = ["prompts, answer"]
    if steps[0].drawn is not None:
        columns += ["prompt map", "guidance"]
    columns += ["features" if steps[0].change is None else "features before"]
    if steps[0].change is not None:
        columns += ["features after", "what was added", "how much"]
    shifts = [np.abs(step.shift) for step in steps if step.shift is not None]
    limit = max((float(np.percentile(one, _HIGH)) for one in shifts), default=0.0)
    rows = [_row(image, step, reference, limit) for step in steps]
    return contact_sheet(rows, [_label(step, reference) for step in steps], columns, cell=_CELL)


def _row(image: Image, step: StepMaps, reference: Mask | None, limit: float) -> list[NDArray[np.uint8]]:
    """Return the cells of a step; ``limit``: of the shift's colours, the same for all steps, so that they compare."""
    object_mask = step.mask if reference is None else reference
    row = [panel(image, reference, step.mask, step.prompts, size=_CELL)]
    if step.drawn is not None and step.guidance is not None:
        row += [draw_signed_heat(step.drawn), heat(step.guidance, 0.0, float(step.guidance.max()))]
    low, high = _span(*step.features)
    row += [heat(one, low, high) for one in step.features if one is not None]
    if step.change is not None and step.shift is not None:
        for one in (draw_signed_heat(step.shift, max(limit, 1e-12)), heat(step.change, 0.0, float(step.change.max()))):
            row.append(panel(one, object_mask, None, None, size=_CELL))
    return row


def _span(*maps: Map | None) -> tuple[float, float]:
    """Return the numbers that the colours of a row span: all but the outermost percentiles of maps on one scale."""
    values = np.concatenate([one.ravel() for one in maps if one is not None])
    low, high = np.percentile(values, [_LOW, _HIGH])
    return float(low), float(high)


def _label(step: StepMaps, reference: Mask | None) -> str:
    n = len(step.prompts.points)
    parts = [f"{n} click{'s' if n != 1 else ''}"] if n else []
    parts += ["box"] if step.prompts.box is not None else []
    lines = [f"step {step.prompts.step}", ", ".join(parts)]
    if reference is not None:
        lines.append(f"Dice {score(reference, step.mask).dice:.3f}")
    if step.guidance is not None:
        lines.append(f"guidance 0 to {float(step.guidance.max()):.2g}")
    lines.append("features {:.2g} to {:.2g}".format(*_span(*step.features)))
    if step.change is not None:
        lines.append(f"change 0 to {float(step.change.max()):.2g}")
    return "\n".join(lines)


# Prompts


def _check(image: Image, reference: Mask | None, clicks: Sequence[Click], box: Any) -> None:
    height, width = image.shape[:2]
    if reference is not None and reference.shape != (height, width):
        raise UsageError(f"the mask is {reference.shape[1]} x {reference.shape[0]}, the image {width} x {height}")
    if reference is None and not len(clicks) and box is None:
        raise UsageError("nothing points at an object: give a mask, clicks or a box")
    corners = [] if box is None else [tuple(box[:2]), tuple(box[2:])]
    for x, y in [*((click.x, click.y) for click in clicks), *corners]:
        if not (0 <= x < width and 0 <= y < height):
            raise UsageError(f"{x:g},{y:g} lies outside of the image of {width} x {height}")


def _first(
    reference: Mask | None, clicks: Sequence[Click], box: NDArray[np.float32] | None, key: str, seed: int
) -> Prompts:
    if reference is not None and not clicks and box is None:
        return first_prompts(preset("dmseg"), reference, key, seed)
    nothing = Prompts(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), box, 1 if box is not None else 0)
    return nothing if box is not None else with_click(nothing, clicks[0])


def _next(
    given: Prompts,
    mask: Mask,
    reference: Mask | None,
    clicks: Sequence[Click],
    box: Any,
    steps: int,
    key: str,
    seed: int,
) -> Prompts | None:
    if clicks or box is not None:
        done = len(given.points)
        return with_click(given, clicks[done]) if done < len(clicks) else None
    if reference is None or given.step >= steps:
        return None
    click = next_click(reference, mask, prompts=given, mask_id=key, seed=seed)
    return with_click(given, click) if click is not None else None


# Features


@dataclass(frozen=True, slots=True)
class _Seen:
    prompts: Prompts
    mask: Mask
    watched: dict[str, Tensor]


@contextlib.contextmanager
def _watch(network: Any) -> Iterator[dict[str, Tensor]]:
    """Note, while the network answers, what goes through its enhancer."""
    noted: dict[str, Tensor] = {}
    hooks = []
    if isinstance(network, EnhancedNetwork):
        config = network.config

        def keep_guidance(module: Any, given: tuple[Any, ...], result: Tensor) -> None:
            points, labels, box, dense, side = given
            drawn = [one for one in prompt_maps(points, labels, box, side, dense.shape[-1], config) if one is not None]
            noted["guidance"] = result[0]
            noted["drawn"] = _strongest(drawn) if drawn else torch.zeros_like(result[0, 0])

        def keep_enhanced(module: Any, given: tuple[Any, ...], result: Tensor) -> None:
            noted["after"] = result[0]

        hooks.append(network.enhancer.register_forward_hook(keep_enhanced))
        if network.guidance is not None:
            hooks.append(network.guidance.register_forward_hook(keep_guidance))
    try:
        yield noted
    finally:
        for hook in hooks:
            hook.remove()


def _strongest(maps: Sequence[Tensor]) -> Tensor:
    """Return of several (1, 1, E, E) maps the value farthest from zero at each position, (E, E)."""
    stacked = torch.cat(list(maps))[:, 0]
    return stacked.gather(0, stacked.abs().argmax(0, keepdim=True))[0]


def _steps(embedding: Embedding, side: int, seen: Sequence[_Seen]) -> list[StepMaps]:
    before = embedding.encoded.embedding[0].float().cpu()
    after = [one.watched["after"].float().cpu() if "after" in one.watched else None for one in seen]
    rows, columns = _content_cells(embedding.frame, side, before.shape[-1])
    mean, axis = _component([one[:, rows, columns] for one in (before, *after) if one is not None])

    def fold_to_map(values: Tensor) -> Map:
        return _on_canvas(values, embedding.frame, side)

    def component(features: Tensor) -> Map:
        return fold_to_map(((features - mean) * axis).sum(0))

    first = component(before)
    moved = [None if one is None else one - before for one in after]
    known = [one[:, rows, columns] for one in moved if one is not None]
    _, direction = _component(known) if known else (None, axis)

    def add_up(change: Tensor) -> Map:
        return fold_to_map((change * direction).sum(0))

    last = None if moved[-1] is None else add_up(moved[-1])
    if last is not None and seen[-1].mask.any() and last[seen[-1].mask].mean() < last.mean():
        direction = -direction  # as for the features: the last answer is high

    object_mask = seen[-1].mask
    sign = -1.0 if object_mask.any() and first[object_mask].mean() < first.mean() else 1.0
    return [
        StepMaps(
            prompts=one.prompts,
            mask=one.mask,
            features=(sign * first, None if enhanced is None else sign * component(enhanced)),
            drawn=fold_to_map(one.watched["drawn"].float().cpu()) if "drawn" in one.watched else None,
            guidance=fold_to_map(_distance_from_median(one.watched["guidance"])) if "guidance" in one.watched else None,
            change=None if change is None else fold_to_map(change.norm(dim=0)),
            shift=None if change is None else add_up(change),
        )
        for one, enhanced, change in zip(seen, after, moved, strict=True)
    ]


def _distance_from_median(features: Tensor) -> Tensor:
    """Return of (C, E, E) features how far each position's is from the median, (E, E)."""
    values = features.float().cpu()
    distance: Tensor = (values - values.flatten(1).median(1).values[:, None, None]).norm(dim=0)
    return distance


def _component(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean and the first principal axis, (C, 1, 1) each, of all positions of (C, h, w) features."""
    samples = torch.cat([one.flatten(1) for one in features], 1)
    mean = samples.mean(1, keepdim=True)
    centred = (samples - mean).double()
    axis = torch.linalg.eigh(centred @ centred.T).eigenvectors[:, -1].float()
    return mean[..., None], axis[:, None, None]


def _content_cells(frame: InputFrame, side: int, grid: int) -> tuple[slice, slice]:
    """Return the rows and columns of the grid that show the image, not its padding."""
    starts, sizes = (frame.offset[1], frame.offset[0]), frame.content
    first, second = (
        slice(start * grid // side, max(1, (start + size) * grid // side))
        for start, size in zip(starts, sizes, strict=True)
    )
    return first, second


def _on_canvas(values: Tensor, frame: InputFrame, side: int) -> Map:
    """Return a map (E, E) of the whole input, on the canvas."""
    whole = bilinear(values[None, None], (side, side))
    (x, y), (height, width) = frame.offset, frame.content
    content = whole[..., y : y + height, x : x + width]
    return np.asarray(bilinear(content, frame.canvas)[0, 0].numpy(), dtype=np.float32)
