"""From parts to a finished run folder: tables, audit file, run.json last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dmseg.files import atomic_path, remove_temporaries
from dmseg.harness.parts import Parts, write_json
from dmseg.results.audit import AUDIT_FILE, PREDICTIONS_FILE, AuditRecord, is_audited, write_audit
from dmseg.results.columns import ENVIRONMENT_FILE, RUN_FILE, TABLES, run_schema


def merge(parts: Parts, info: Mapping[str, Any], n_blocks: int) -> None:
    """Write the tables from all parts, then run.json, then remove the parts.

    The order of rows is that of the work units, whoever did them. Two processes that finish at once may both merge:
    they write the same files, and the one that finds the other's work done has nothing left to do.
    """
    try:
        _merge(parts, info, n_blocks)
    except FileNotFoundError:
        if not (parts.out / RUN_FILE).is_file():
            raise


def _merge(parts: Parts, info: Mapping[str, Any], n_blocks: int) -> None:
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    audit: list[AuditRecord] = []
    halvings = 0
    for result in parts.read(n_blocks):
        for name, some in result.tables.items():
            rows[name] += some
        audit += [AuditRecord(**record) for record in result.audit]
        halvings += result.halvings
    sessions = parts.sessions()
    for row in rows["inputs"]:
        row["thumbprint"] = None if row["thumbprint"] is None else bytes.fromhex(row["thumbprint"])
    for name, content in rows.items():
        _write_table(parts.out / f"{name}.parquet", pa.Table.from_pylist(content, schema=run_schema(name)))
    _write_predictions(parts.out, str(info["benchmark"]["manifest_digest"]), audit)
    write_json(parts.out / ENVIRONMENT_FILE, {"sessions": sessions})
    counts = {
        "n_masks": len({row["mask_id"] for row in rows["steps"]}),
        "n_errors": sum(row["status"] != "ok" for row in rows["steps"]),
        "halved_for_memory": halvings,
    }
    write_json(parts.out / RUN_FILE, {**info, **counts})
    parts.remove()
    remove_temporaries(parts.out)


def _write_predictions(out: Path, manifest_digest: str, kept: list[AuditRecord]) -> None:
    """Write the audited predictions, and beside them all that were kept where the run was asked to keep them."""
    audited = [record for record in kept if is_audited(manifest_digest, record.mask_id)]
    write_audit(out / AUDIT_FILE, audited)
    if len(audited) < len(kept):
        write_audit(out / PREDICTIONS_FILE, kept)


def _write_table(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
