"""The benchmark that a run is checked against: a published manifest, or the one the caller has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dmseg.imaging import decode_rle
from dmseg.leaderboard.checks.findings import Findings
from dmseg.manifests import (
    LOCAL_EDITION,
    Manifest,
    expand_expressions,
    find_published,
    find_published_header,
    list_published,
)
from dmseg.results.columns import gives_text
from dmseg.types import MEDICAL, Mask

FILE = "run.json"
_MASK_COLUMNS = ["mask_id", "image_id", "structure", "rle", "evaluate", "area", "mask_sha256"]


@dataclass(frozen=True, eq=False)
class Reference:
    """A manifest, looked up by the ids of a run's rows; ``text``: of a run whose preset gives sentences."""

    manifest: Manifest
    text: bool = False

    @cached_property
    def masks(self) -> dict[str, dict[str, Any]]:
        """mask_id -> row of the manifest's masks, with its image's dataset, case, split, modality, size, spacing."""
        columns = ["image_id", "dataset", "case_id", "split", "modality", "height", "width", "spacing_y", "spacing_x"]
        images = {row["image_id"]: row for row in self.manifest.images.select(columns).to_pylist()}
        columns = [*_MASK_COLUMNS, *(("expressions", "expressions_sha256") if self.text else ())]
        rows: Iterable[dict[str, Any]] = self.manifest.masks.select(columns).to_pylist()
        if self.text:
            rows = (one for row in rows for one in expand_expressions(row))
        return {row["mask_id"]: images[row["image_id"]] | row for row in rows}

    @cached_property
    def plans(self) -> dict[tuple[str, str], tuple[str, bytes]]:
        """(image_id, level) -> (plan_digest, thumbprint)."""
        rows = self.manifest.degradations.select(["image_id", "level", "plan_digest", "thumbprint"]).to_pylist()
        return {(row["image_id"], row["level"]): (row["plan_digest"], row["thumbprint"]) for row in rows}

    def list_evaluated(self, splits: list[str]) -> set[str]:
        """Return the ids of the evaluation subset of some splits."""
        return {mask_id for mask_id, row in self.masks.items() if row["evaluate"] and row["split"] in splits}

    def mask(self, mask_id: str) -> Mask | None:
        """Return a reference mask, None where the manifest came without it."""
        rle = self.masks[mask_id]["rle"]
        return None if rle is None else decode_rle(rle)


def reference_of(info: Mapping[str, Any], own: Manifest | None, findings: Findings) -> Reference | None:
    """Return the manifest that the run names, and note where it names none that is known.

    Args:
        own: the manifest of a benchmark that the caller has, or None.
    """
    benchmark, text = info["benchmark"], gives_text(info["protocol"]["preset"])
    name, digest = f"{benchmark['edition']}-{benchmark['version']}", benchmark["manifest_digest"]
    if own is not None and own.digest == digest:
        if benchmark["edition"] == LOCAL_EDITION:
            note_local(findings)
        return Reference(own, text)
    if benchmark["edition"] == LOCAL_EDITION:
        if (header := find_published_header(digest)) is not None:
            what = f"edition is {LOCAL_EDITION}, but the digest is that of {header['edition']} {header['version']}"
            findings.add("E302", FILE, what, "send run.json as dmseg evaluate wrote it")
        note_local(findings)
        return None
    if name not in list_published():
        fix = f"published are: {', '.join(list_published()) or 'none'}"
        findings.add("E302", FILE, f"edition {benchmark['edition']} {benchmark['version']} is not known", fix)
        return None
    manifest = find_published(name)
    if manifest.digest != digest:
        what = f"manifest_digest {str(digest)[:12]} is not that of {name} ({manifest.digest[:12]})"
        findings.add("E302", FILE, what, "build the edition again with this dmseg and repeat the run")
        return None
    declared, known = (record.get("track") or MEDICAL for record in (benchmark, manifest.info))
    if declared != known:
        findings.add("E302", FILE, f"track is {declared}, that of {name} is {known}", "send the run unchanged")
        return None
    return Reference(manifest, text)


def note_local(findings: Findings) -> None:
    """W403."""
    fix = "it will be listed unranked; evaluate on a published edition to be ranked"
    findings.add("W403", FILE, "the benchmark equals no published edition", fix)
