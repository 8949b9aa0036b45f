"""Kept predictions come back as they were, in the same bytes whatever the order, and damage is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dmseg.errors import DataError
from dmseg.results.audit import audit_record, is_audited, read_audit, write_audit
from dmseg.rng import Stream

RECORDS = [
    audit_record(f"m{m}", level, 0, step, Stream("test-audit", m, level, step).uniforms(35).reshape(5, 7) < 0.5)
    for m in range(3)
    for level in ("clear", "lq1")
    for step in (1, 2)
]


def test_records_round_trip_sorted_in_the_same_bytes(tmp_path: Path) -> None:
    write_audit(tmp_path / "a.gz", RECORDS)
    write_audit(tmp_path / "b.gz", RECORDS[::-1])
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    found = {(r.mask_id, r.level, r.step): r.mask() for r in read_audit(tmp_path / "a.gz")}
    assert len(found) == len(RECORDS)
    assert all(np.array_equal(found[r.mask_id, r.level, r.step], r.mask()) for r in RECORDS)


def test_an_absent_file_has_no_records(tmp_path: Path) -> None:
    assert list(read_audit(tmp_path / "audit.jsonl.gz")) == []


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"{}\n"), gzip.compress(b"[1]\n")[:-6], gzip.compress(b"x")],
    ids=["no gzip", "no record", "truncated", "no JSON"],  # not the bytes: they hold the time of day
)
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz line \d"):
        list(read_audit(tmp_path / "a.gz"))


def test_two_per_cent_of_the_masks_are_audited_and_the_choice_depends_on_the_benchmark() -> None:
    chosen = {digest: {i for i in range(20_000) if is_audited(digest, f"m{i}")} for digest in ("a", "b")}
    assert all(340 <= len(masks) <= 460 for masks in chosen.values())
    assert len(chosen["a"] & chosen["b"]) < 30
