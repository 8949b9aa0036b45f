"""The predictions that a challenge asks for, made again by the model of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmseg import harness
from dmseg.errors import UsageError
from dmseg.harness.options import differences
from dmseg.results import Run
from dmseg.results.audit import AuditRecord


def repeat_masks(
    run: Run,
    masks: Sequence[str],
    benchmark: Path,
    model: str,
    *,
    weights: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> Iterator[AuditRecord]:
    """Return the predictions of some masks of a run, made again with all of its choices.

    Args:
        run: a finished run.
        masks: ids of some of its masks.
        benchmark: the folder it was made on.
        model, weights, arguments, device: as for :func:`dmseg.harness.prepare`.

    Raises:
        UsageError: the model, the weights or this dmseg are not those of the run; the message says what differs.
    """
    info = run.info
    protocol, source, metrics = info["protocol"], info["benchmark"], info["metrics"]
    plan = harness.prepare(
        model, benchmark, run.path, preset=protocol["preset"], corrective=protocol["corrective"],
        seed=protocol["seed"], splits=source["split"], levels=source["levels"], limit=source.get("limit"),
        weights=weights, device=device, arguments=arguments, precision=info["precision"], chunk=info["chunk"],
        batch_images=info["batch_images"], grid=None if metrics["grid"] == "native" else metrics["grid"],
        boundary=metrics["boundary"], hd95=metrics["hd95"], submitter=info.get("submitter"),
    )  # fmt: skip
    if plan.info["run_key"] != info["run_key"]:
        what = "; ".join(differences(info, plan.info)) or "another version of dmseg"
        raise UsageError(f"{run.path} was made in another way than this would be: {what}")
    return harness.repeat_predictions(plan, masks)
