"""From parts to a finished run folder: tables, audit file, run.json last. Memory does not grow with the rows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dmseg.files import atomic_path
from dmseg.jobs import Ledger, write_json
from dmseg.results.audit import AUDIT_FILE, PREDICTIONS_FILE, SHOWN_FILE, AuditRecord, AuditWriter, is_audited
from dmseg.results.columns import ENVIRONMENT_FILE, RUN_FILE, TABLES, gives_text, run_schema
from dmseg.results.shown import list_shown

_GROUP_ROWS = 20_000
"""Rows of a group of a Parquet file, and held at a time."""


def merge(out: Path, ledger: Ledger, info: Mapping[str, Any], names: Sequence[str]) -> None:
    """Write the tables from all parts, in the order of the work units, then run.json.

    Args:
        out: the run folder, held alone.
        ledger: holds the parts.
        info: run.json without the counts.
        names: of all work units, in order.

    Raises:
        DataError: a part is missing or damaged.
    """
    digest = str(info["benchmark"]["manifest_digest"])
    hardest, last = info["benchmark"]["levels"][-1], info["protocol"]["steps"]
    final: dict[str, dict[str, float]] = {}
    masks: set[str] = set()
    errors = halvings = 0
    with contextlib.ExitStack() as stack:
        text = gives_text(info["protocol"]["preset"])
        tables = {name: stack.enter_context(_TableWriter(out, name, text)) for name in TABLES}
        files = (AUDIT_FILE, PREDICTIONS_FILE, SHOWN_FILE)
        audited, kept, shown = (stack.enter_context(AuditWriter(out / name)) for name in files)
        for part in ledger.stream(names):
            for name, rows in part["tables"].items():
                tables[name].add(rows)
            for fields in part["audit"]:
                record = AuditRecord(**fields)
                kept.add(record)
                if is_audited(digest, record.mask_id):
                    audited.add(record)
            for fields in part.get("shown", ()):  # parts of an older dmseg have none
                shown.add(AuditRecord(**fields))
            for row in part["tables"]["steps"]:
                if row["level"] == hardest and row["step"] == last:
                    final.setdefault(row["split"], {})[row["mask_id"]] = row["dice"]
            masks.update(row["mask_id"] for row in part["tables"]["steps"])
            errors += sum(row["status"] != "ok" for row in part["tables"]["steps"])
            halvings += part["halvings"]
        if kept.number == audited.number:  # only the audited ones were kept
            kept.forget()
        shown.keep_only(list_shown(final))
    write_json(out / ENVIRONMENT_FILE, {"sessions": ledger.sessions()})
    write_json(out / RUN_FILE, {**info, "n_masks": len(masks), "n_errors": errors, "halved_for_memory": halvings})


class _TableWriter(contextlib.ExitStack):
    """Writes one table of a run, group by group; it is there when the block ends well."""

    def __init__(self, out: Path, name: str, text: bool) -> None:
        super().__init__()
        self._schema, self._is_inputs = run_schema(name, text=text), name == "inputs"
        self._waiting: list[dict[str, Any]] = []
        self._path = out / f"{name}.parquet"

    def __enter__(self) -> _TableWriter:
        temporary = self.enter_context(atomic_path(self._path))
        stream = self.enter_context(temporary.open("wb"))
        self._writer = self.enter_context(pq.ParquetWriter(stream, self._schema, compression="zstd"))
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if kind is None:
            self._write()
        return bool(super().__exit__(kind, error, trace))

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add rows after those that were added."""
        if self._is_inputs:
            for row in rows:
                row["thumbprint"] = None if row["thumbprint"] is None else bytes.fromhex(row["thumbprint"])
        self._waiting += rows
        if len(self._waiting) >= _GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting = []
