"""The small public API: what ``import dmseg`` offers. A facade over the layers below, without rules of its own.

It joins the two things that know nothing of each other: the recipes (which degradations a dataset gets at LQ-3+) and
the simulators (what those degradations are).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmseg.errors import UsageError
from dmseg.types import Image, Mask, Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image as Pillow

    from dmseg.baselines import ModelAdapter, SelfTestAdapter
    from dmseg.baselines.explanation import StepMaps
    from dmseg.build import Benchmark
    from dmseg.harness.evaluating import ModelLike
    from dmseg.protocol import Click
    from dmseg.report import ShownRun
    from dmseg.simulators import Plan


def _resolve_modality(modality: str | None, dataset: str | None) -> tuple[str | None, tuple[str, ...] | None]:
    """Return the image's modality and its domain operations; without a dataset the modality's default list (None)."""
    if dataset is None:
        return modality, None
    from dmseg import datasets

    recipe = datasets.recipe(dataset)
    return recipe.modality(modality), recipe.domain_ops(modality)


def plan(
    key: str,
    *,
    modality: str | None = None,
    dataset: str | None = None,
    image: Image | None = None,
    seed: int = 0,
    window: Window | None = None,
    order: str = "paper",
) -> Plan:
    """Draw the degradations of one image at every level, without touching a pixel.

    Args:
        key: names the image; the same key and seed give the same plan on every machine.
        modality: one of :data:`dmseg.types.MODALITIES`, as people type it or as a DICOM tag has it (``"MR"``,
            ``pydicom.dcmread(file).Modality``); may be left out where ``dataset`` has only one.
        dataset: one of the 17 datasets, whose list of domain degradations (paper, Table 28) is then used at LQ-3+.
        image: the Clear image, (H, W) or (H, W, 3), which is measured once (scan sector, mean, bright sites).
        seed: another seed gives another benchmark.
        window: grey window of CT and X-ray values; default: the modality's.
        order: of LQ-3+: ``paper`` has the general operations before those of the domain, as the benchmark;
            ``acquisition`` has the domain's first.

    Returns:
        A :class:`dmseg.simulators.Plan`; ``plan.apply(image, level)`` is pure, ``plan.to_json()`` replays anywhere.

    Raises:
        UsageError: an unknown dataset or modality, or a dataset of two modalities without ``modality``.

    >>> import numpy as np
    >>> clear = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    >>> drawn = plan("case-7", dataset="CHAOS", modality="ct", image=clear)
    >>> degraded = drawn.apply(clear, "lq3plus")
    >>> degraded.shape == clear.shape and degraded.dtype == clear.dtype
    True
    """
    from dmseg import simulators

    modality, domain = _resolve_modality(modality, dataset)
    return simulators.plan(key, modality=modality, domain=domain, image=image, seed=seed, window=window, order=order)


def degrade(
    image: Image,
    level: str,
    *,
    modality: str | None = None,
    dataset: str | None = None,
    ops: Sequence[str] | None = None,
    key: str = "",
    seed: int = 0,
    window: Window | None = None,
    bits: int | None = None,
    order: str = "paper",
) -> Image:
    """Degrade one image to one level.

    Args:
        image: (H, W) or (H, W, 3); uint8, uint16, float32 in [0, 1], or int16 with a window.
        level: ``clear``, ``lq1``, ``lq2``, ``lq3`` or ``lq3plus``, as people type it (``"LQ-3+"``).
        modality: one of :data:`dmseg.types.MODALITIES`; decides the domain degradations of LQ-3+.
        dataset: instead of, or beside, ``modality``: the dataset's own list (paper, Table 28).
        ops: exactly these operations, in this order, instead of the drawn ones.
        key: names the image; give every image of a set its own.
        seed: another seed gives another draw.
        window: grey window of CT and X-ray values; default: the modality's.
        bits: significant bits of unsigned samples, such as 12 in uint16; default: all of the type.
        order: of LQ-3+, as in :func:`plan`.

    Returns:
        A new array of the same shape, dtype and range. No geometry changes, so masks stay valid. A masked array
        keeps its mask and the values below it.

    Raises:
        UsageError: an unknown name, LQ-3+ without modality, dataset or ops, values that do not fit ``bits``, or a
            dataset of two modalities without ``modality``.

    >>> import numpy as np
    >>> clear = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    >>> lq1, lq3 = (degrade(clear, level, modality="mri", key="case-7") for level in ("lq1", "lq3"))
    >>> damage = [float(np.abs(x.astype(float) - clear).mean()) for x in (lq1, lq3)]
    >>> damage[0] < damage[1]
    True
    """
    from dmseg import simulators

    modality, domain = _resolve_modality(modality, dataset)
    return simulators.degrade(
        image,
        level,
        modality=modality,
        domain=domain,
        ops=ops,
        key=key,
        seed=seed,
        window=window,
        bits=bits,
        order=order,
    )


def load_model(
    name: str, weights: str | Path | None = None, device: str = "auto", precision: str = "fp32", **arguments: Any
) -> ModelAdapter | SelfTestAdapter:
    """Load a model by name (``dmseg models`` lists them), by ``pkg.mod:Class`` or by ``file.py:Class``.

    Args:
        name: the model.
        weights: a checkpoint file; None means the installed or shipped weights, never random ones; ``"random"`` gives
            seeded random weights, for tests.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``, or ``bf16`` or ``fp16`` (autocast), for networks; logits are float32 with each.
        arguments: passed to the model's constructor.

    Returns:
        An adapter with ``encode(images)`` and ``predict(embeddings, image_index, prompts, state)``.

    Raises:
        UsageError: an unknown name or precision, with a suggestion, or an option that the model has no use for.
        ModelError: weights that are missing or unusable; the message says how to get them.

    >>> sorted(load_model("watershed").capabilities)
    ['batched_prompts', 'box', 'lassos', 'negative_points', 'points', 'scribbles']
    """
    from dmseg import baselines

    return baselines.load_model(name, weights=weights, device=device, precision=precision, arguments=arguments)


def explain(
    model: ModelAdapter | SelfTestAdapter,
    image: Image,
    *,
    reference: Mask | None = None,
    clicks: Sequence[Click] = (),
    box: NDArray[np.float32] | None = None,
    steps: int = 5,
    key: str = "",
    seed: int = 0,
) -> tuple[Image, list[StepMaps]]:
    """Draw what a SAM-style network makes of one object, step by step: prompts, guidance, features, masks.

    Args:
        model: of :func:`load_model`.
        image: uint8 (H, W) or (H, W, 3) RGB.
        reference: (H, W) bool, the object; without clicks and box the evaluation's own user prompts towards it.
        clicks: each is one step (:class:`dmseg.protocol.Click`).
        box: (4,) x0, y0, x1, y1 in pixels, a step before the clicks.
        steps: how many, where the reference prompts.
        key: names the object in the draw of its first prompts.
        seed: of that draw.

    Returns:
        The image, uint8 (H', W', 3) RGB, and what it shows: one :class:`dmseg.baselines.explanation.StepMaps` per step.

    Raises:
        UsageError: a model without such features, a mask of another size, prompts outside of the image, or none.

    >>> model = load_model("mini-pge-sam")  # doctest: +SKIP
    >>> picture, steps = explain(model, image, reference=mask)  # doctest: +SKIP
    """
    from dmseg.baselines import explanation

    explained = explanation.explain(
        model, image, reference=reference, clicks=clicks, box=box, steps=steps, key=key, seed=seed
    )
    return explanation.explanation_picture(image, explained, reference), explained


def open(path: str | Path) -> Benchmark:
    """Open a built benchmark folder.

    Args:
        path: the folder that ``dmseg build`` wrote.

    Returns:
        A :class:`dmseg.build.Benchmark`: ``images``, ``masks`` and ``degradations`` as data frames, ``levels``,
        ``image(image_id, level)`` and ``mask(mask_id)`` as arrays.

    Raises:
        DataError: the folder is no benchmark, or of an unknown schema version.

    >>> import tempfile
    >>> from dmseg import build, phantoms
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     raw, bench = Path(folder, "raw"), Path(folder, "bench")
    ...     _ = phantoms.write_phantoms(raw, per_dataset=1, datasets=["Kvasir-SEG"])
    ...     _ = build.build(raw, bench, levels=["clear", "lq3"])
    ...     benchmark = open(bench)
    ...     image_id = benchmark.images.image_id[0]
    ...     benchmark.levels, benchmark.image(image_id, "lq3").dtype.name
    (('clear', 'lq3'), 'uint8')
    """
    from dmseg import build

    return build.open_benchmark(Path(path))


def evaluate(model: ModelLike, benchmark: str | Path | Benchmark, out: str | Path, **choices: Any) -> ShownRun:
    """Run a model under the click protocol and score every step; goes on where an earlier run stopped.

    Args:
        model: a name of ``dmseg models``, ``pkg.mod:Class``, ``file.py:Class``, an adapter, or a plain function.
        benchmark: the folder that ``dmseg build`` wrote, or the open benchmark.
        out: the run folder: new, empty, or one that was begun with the same choices.
        choices: ``preset``, ``splits``, ``levels``, ``seed``, ``limit``, ``jobs`` ...: see
            :func:`dmseg.harness.prepare`.

    Returns:
        The finished run, as of :func:`open_run`. What the model did wrong are rows with a status.

    Raises:
        UsageError: an unknown name, a preset that the model cannot serve, a folder that holds another run, or a shard
            of a run whose others are not done.
        DataError: an unusable benchmark.

    >>> import tempfile
    >>> from dmseg import build, phantoms
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     raw, bench = Path(folder, "raw"), Path(folder, "bench")
    ...     _ = phantoms.write_phantoms(raw, per_dataset=1, datasets=["Kvasir-SEG"])
    ...     _ = build.build(raw, bench, levels=["clear", "lq3"])
    ...     run = evaluate("disk", bench, Path(folder, "run"), splits=["train", "seen", "unseen"])
    ...     run.dice.columns.tolist()
    ['clear', 'lq3']
    """
    from dmseg import harness

    summary = harness.evaluate(model, benchmark, out, **choices)
    if not summary.finished:
        raise UsageError(f"{summary.path}: {summary.blocks_left} work units are left to the other shards")
    return open_run(summary.path)


def open_run(path: str | Path) -> ShownRun:
    """Open a finished run folder.

    Args:
        path: the folder that ``dmseg evaluate`` wrote.

    Returns:
        A :class:`dmseg.report.ShownRun`: ``info``, ``steps``, ``prompts`` as data frames, ``dice``,
        ``show_worst()`` as a picture.

    Raises:
        DataError: no run there, one that is not finished, or an unknown schema version.

    >>> open_run("runs/mine").show_worst()  # doctest: +SKIP
    """
    from dmseg.report import open_shown_run

    return open_shown_run(path)


def show(image: Image, *, mask: Mask | None = None, prediction: Mask | None = None, size: int = 384) -> Pillow.Image:
    """Return an image with outlines as a picture that a notebook shows.

    Args:
        image: uint8 (H, W) or (H, W, 3) RGB.
        mask: (H, W) bool, outlined in blue.
        prediction: (H, W) bool, outlined in orange.
        size: longest side of the picture, pixels.

    Returns:
        A Pillow image, RGB.

    Raises:
        UsageError: no such image, or a mask of another size.

    >>> import numpy as np
    >>> show(np.zeros((20, 40), np.uint8), mask=np.eye(20, 40, dtype=bool), size=80).size
    (80, 40)
    """
    from PIL import Image as Pillow

    from dmseg.figures import panel

    try:
        return Pillow.fromarray(panel(image, mask, prediction, None, size=size))
    except ValueError as error:
        raise UsageError(str(error)) from None
