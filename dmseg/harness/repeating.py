"""A part of a run done again: the predictions of chosen objects, in the work units that the whole run made them in."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from dmseg.errors import UsageError
from dmseg.harness.evaluating import RunPlan
from dmseg.harness.setup import guard_model, make_engine
from dmseg.progress import progress
from dmseg.results.audit import AuditRecord


def repeat_predictions(plan: RunPlan, mask_ids: Collection[str]) -> Iterator[AuditRecord]:
    """Yield the predictions of some objects at every level and step; nothing is written.

    Whole work units are done, so that a model sees the same batches and chunks as in the run.

    Args:
        plan: of :func:`dmseg.harness.prepare`, with the choices of the run.
        mask_ids: objects of the plan's selection.

    Raises:
        UsageError: an object that the plan does not have.
    """
    wanted = set(mask_ids)
    images = {
        image_id
        for image_id, image in plan.selection.images.items()
        if any(target.mask_id in wanted for target in image.targets)
    }
    known = {target.mask_id for name in images for target in plan.selection.images[name].targets}
    if lacking := sorted(wanted - known):
        raise UsageError(f"{len(lacking)} objects are not part of this run, the first is {lacking[0]}")
    setup = dataclasses.replace(plan.setup, options=dataclasses.replace(plan.setup.options, keep_predictions=True))
    engine = make_engine(setup, guard_model(setup, plan.model or setup.model.load()))
    blocks = [block for block in plan.blocks if any(item.image.image_id in images for item in block.items)]
    for block in progress(iter(blocks), len(blocks), "repeat", "work units"):
        yield from (record for record in engine.run(block).audit if record.mask_id in wanted)
