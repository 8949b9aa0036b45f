"""Each damage gives exactly its code, an honest run gives none, and looking at a run changes nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_runs import declare

from dmseg.leaderboard import CODES, RefusedError, Verdict, add, check, pack
from dmseg.leaderboard.checks.findings import Findings
from dmseg.leaderboard.checks.plausibility import check_plausibility
from dmseg.leaderboard.columns import LEADERBOARD
from dmseg.results import open_run
from dmseg.results.cases import case_tables
from dmseg.results.columns import run_schema

Damage = Callable[[Path], None]


def _edit(table: str, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> Damage:
    """Return a damage that changes the rows of one table."""

    def damage(run: Path) -> None:
        path = run / f"{table}.parquet"
        stored = pq.read_table(path)
        rows = stored.to_pandas()
        changed = change(rows)
        pq.write_table(_cast(rows if changed is None else changed, stored.schema), path)

    return damage


def _cast(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return the rows with the stored types (pandas turns whole numbers with gaps into floats), where they fit."""
    columns = []
    for name in rows.columns:
        values = pa.Array.from_pandas(rows[name])
        fits = name in schema.names and _is_text(values.type) == _is_text(schema.field(name).type)
        columns.append(values.cast(schema.field(name).type) if fits else values)
    return pa.table(columns, names=list(rows.columns))


def _set(column: str, value: Any, row: int = 11, table: str = "steps") -> Damage:
    def change(rows: pd.DataFrame) -> None:
        rows.loc[row, column] = value

    return _edit(table, change)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _declare(part: str, key: str, value: Any) -> Damage:
    def damage(run: Path) -> None:
        declare(run, part, **{key: value})

    return damage


def _drop_key(part: str, key: str) -> Damage:
    def damage(run: Path) -> None:
        info = json.loads((run / "run.json").read_text())
        del (info[part] if part else info)[key]
        (run / "run.json").write_text(json.dumps(info))

    return damage


def _drop_mask(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["mask_id"] != rows["mask_id"].iloc[0]]


def _drop_mask_everywhere(run: Path) -> None:
    for table in ("steps", "prompts"):
        _edit(table, _drop_mask)(run)
    info = json.loads((run / "run.json").read_text())
    _declare("", "n_masks", info["n_masks"] - 1)(run)


def _rename_mask(run: Path) -> None:
    def rename(rows: pd.DataFrame) -> None:
        extra = rows["mask_id"].iloc[0]
        rows["mask_id"] = rows["mask_id"].replace(extra, f"{extra}9")

    for table in ("steps", "prompts"):
        _edit(table, rename)(run)


def _drop_level(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[~((rows["mask_id"] == rows["mask_id"].iloc[0]) & (rows["level"] == "lq2"))]


def _other_prompt(rows: pd.DataFrame) -> None:
    first = rows.index[(rows["kind"] == "point") & (rows["step"] == 1)][0]
    rows.loc[first, "x"] = 1.0


def _mix_editions(rows: pd.DataFrame) -> None:
    rows.loc[rows["level"] == "lq3", "plan_digest"] = "e" * 64


def _other_pixels(rows: pd.DataFrame) -> None:
    darker = [bytes((np.frombuffer(t, np.uint8) // 2).tolist()) for t in rows["thumbprint"]]
    rows["thumbprint"] = darker


def _swap_audit(run: Path) -> None:
    """Store at every place the prediction of another mask of the same size."""
    path = run / "audit.jsonl.gz"
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    by_place = {(r["mask_id"], r["level"], r["step"]): r for r in records}
    names = sorted({r["mask_id"] for r in records})
    follower = dict(zip(names, names[1:] + names[:1], strict=True))
    for (mask_id, level, step), record in list(by_place.items()):
        source = next(r for r in records if (r["mask_id"], r["level"], r["step"]) == (follower[mask_id], level, step))
        record["moved"] = source["rle"]
    for record in records:
        record["rle"] = record.pop("moved")
    path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))


def _constant(rows: pd.DataFrame) -> None:
    rows["iou"], rows["dice"] = 0.5, 2 / 3


def _upside_down(rows: pd.DataFrame) -> None:
    """Make LQ-3+ the best level by far, keeping Dice = 2 IoU / (1 + IoU)."""
    place = rows["level"].map({"clear": 0.2, "lq1": 0.3, "lq2": 0.4, "lq3": 0.5, "lq3plus": 0.6})
    spread = rows["mask_id"].map(lambda text: int(hashlib.sha256(text.encode()).hexdigest(), 16) % 7 / 1000)
    rows["iou"] = place + spread + 0.01 * rows["step"]
    rows["dice"] = 2 * rows["iou"] / (1 + rows["iou"])


def _perfect(rows: pd.DataFrame) -> None:
    rows.loc[rows["mask_id"].isin(sorted(set(rows["mask_id"]))[:10]), ["iou", "dice"]] = 1.0


def _lose_file(run: Path) -> None:
    (run / "inputs.parquet").unlink()


def _break_parquet(run: Path) -> None:
    path = run / "steps.parquet"
    path.write_bytes(path.read_bytes()[:2000])


DAMAGES: dict[str, tuple[Damage, set[str]]] = {
    "file missing": (_lose_file, {"E101"}),
    "truncated parquet": (_break_parquet, {"E101"}),
    "column missing": (_edit("steps", lambda rows: rows.drop(columns="hd95")), {"E102"}),
    "column unknown": (_edit("steps", lambda rows: rows.assign(extra=1)), {"E102"}),
    "column of another type": (_edit("steps", lambda rows: rows.assign(dice=rows["dice"].astype(str))), {"E103"}),
    "NaN": (_set("dice", float("nan")), {"E104"}),
    "infinity": (_set("hd95", float("inf")), {"E104"}),
    "level lq4": (_set("level", "lq4"), {"E105"}),
    "Dice above 1": (_set("dice", 1.2), {"E106"}),
    "key twice": (_edit("steps", lambda rows: pd.concat([rows, rows.iloc[[7]]])), {"E107"}),
    "formula": (_declare("model", "name", "=HYPERLINK(1)"), {"E108", "E501"}),
    "HTML in the name": (_declare("model", "name", "<img src=x onerror=alert(1)>"), {"E108", "E501"}),
    "mask missing": (_drop_mask_everywhere, {"E201"}),
    "mask unknown": (_rename_mask, {"E201", "E202"}),
    "case of another patient": (_edit("steps", lambda r: r.assign(case_id=r["case_id"] + "x")), {"E202"}),
    "step missing": (_edit("steps", lambda rows: rows.drop(index=8)), {"E203", "E306"}),
    "level missing": (_edit("steps", _drop_level), {"E204", "E306"}),
    "count wrong": (_declare("", "n_errors", 3), {"E205"}),
    "Dice typed in": (_set("dice", 0.987654, row=40), {"E301", "E307"}),
    "wrong version": (_declare("benchmark", "version", "2.0"), {"E302"}),
    "wrong manifest": (_declare("benchmark", "manifest_digest", "0" * 64), {"E302"}),
    "two editions mixed": (_edit("inputs", _mix_editions), {"E302"}),
    "other pixels": (_edit("inputs", _other_pixels), {"E302"}),
    "other metric grid": (_declare("metrics", "grid", 1024), {"E302"}),
    "other first prompt": (_edit("prompts", _other_prompt), {"E302"}),
    "other predictions": (_swap_audit, {"E303"}),
    "audit damaged": (lambda run: (run / "audit.jsonl.gz").write_bytes(b"no"), {"E303"}),
    "schema unknown": (_declare("", "schema_version", 99), {"E501"}),
    "key of run.json missing": (_drop_key("benchmark", "split"), {"E501"}),
    "no licence": (_declare("model", "license", ""), {"E502"}),
    "placeholder address": (_declare("model", "code_url", "https://example.com/your-code"), {"E503"}),
    "script address": (_declare("model", "paper_url", "javascript:alert(1)"), {"E503"}),
    "weights hash": (_declare("model", "weights_sha256", "deadbeef"), {"E504"}),
    "self-test model": (_declare("model", "name", "oracle"), {"E505"}),
}


def _codes(verdict: Verdict) -> set[str]:
    return {finding.code for finding in verdict.findings}


def _state(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_honest_run_has_no_errors_and_is_rescored(published: Any, tmp_path: Path) -> None:
    verdict = check(published.runs["watershed"], root=tmp_path)
    assert [str(f) for f in verdict.findings if f.is_error] == []
    assert verdict.accepted and verdict.rescored


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_gives_exactly_its_code_and_changes_nothing(name: str, published: Any, tmp_path: Path) -> None:
    damage, codes = DAMAGES[name]
    run = published.copy("watershed", tmp_path / "run")
    damage(run)
    before = _state(tmp_path)
    with pytest.raises(RefusedError) as caught:
        add(run, tmp_path / "record")
    verdict = caught.value.verdict
    assert _codes(verdict) == codes, [str(finding) for finding in verdict.findings]
    assert all(finding.fix and finding.where for finding in verdict.findings)
    assert _state(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [(_constant, "E304"), (_upside_down, "W401"), (_perfect, "W401")],
    ids=["same", "order", "perfect"],
)
def test_implausible_results(change: Callable[[pd.DataFrame], None], code: str, published: Any) -> None:
    """Looked at alone: such rows also break the arithmetic, unless somebody fits every column."""
    run = open_run(published.runs["watershed"])
    rows = run.steps.copy()
    change(rows)
    findings = Findings()
    check_plausibility(run.info, case_tables(rows), [], findings)
    assert code in {finding.code for finding in findings.items}


def test_equal_results_under_another_name(published: Any, tmp_path: Path) -> None:
    root = tmp_path / "record"
    add(published.runs["watershed"], root)
    run = published.copy("watershed", tmp_path / "copy")
    _declare("model", "name", "my-own-idea")(run)
    assert "E304" in _codes(check(run, root=root))


def test_training_overlap_is_a_warning(published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")
    _declare("model", "trained_on", ["Alpha"])(run)
    verdict = check(run, root=tmp_path / "record")
    assert "W402" in _codes(verdict) and verdict.accepted


def test_several_damages_are_all_reported(published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")
    for damage in (_declare("model", "license", ""), _set("dice", 1.2), _set("level", "lq4", row=30), _swap_audit):
        damage(run)
    verdict = check(run, root=tmp_path / "record")
    assert {"E502", "E105", "E106"} <= _codes(verdict)
    text = next(str(finding) for finding in verdict.findings if finding.code == "E105")
    assert text.startswith('E105 steps.parquet row 31: level "lq4"') and "one of clear, lq1" in text


def test_a_declared_partial_run_is_accepted_with_a_warning(published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")
    _drop_mask_everywhere(run)
    _declare("benchmark", "limit", 3)(run)
    verdict = check(run, root=tmp_path / "record")
    assert "W404" in _codes(verdict) and verdict.accepted


def _zip(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def _link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("run.json")
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("../run.json", b"{}")], "leaves the folder"),
        ([("/etc/run.json", b"{}")], "leaves the folder"),
        ([("..\\run.json", b"{}")], "leaves the folder"),
        ([(_link(), b"/etc/passwd")], "is a link"),
        ([("virus.exe", b"MZ")], "does not belong"),
        ([("steps.parquet", b"\0" * 40_000_000)], "-fold"),
    ],
)
def test_unsafe_zips_are_refused_before_unpacking(
    members: list[tuple[str | zipfile.ZipInfo, bytes]], words: str, tmp_path: Path
) -> None:
    path = _zip(tmp_path / "x.zip", members)
    before = _state(tmp_path)
    verdict = check(path, root=tmp_path / "record")
    assert _codes(verdict) == {"E101"} and words in str(verdict.findings[0])
    assert _state(tmp_path) == before and not Path("/etc/run.json").exists()


def test_not_a_zip(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"hello")
    assert _codes(check(tmp_path / "x.zip", root=tmp_path)) == {"E101"}


def test_pack_is_deterministic_and_round_trips_byte_for_byte(published: Any, tmp_path: Path) -> None:
    run, root = published.runs["watershed"], tmp_path / "record"
    pack(run, tmp_path / "a.zip", root=root)
    pack(run, tmp_path / "b.zip", root=root)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    entry = add(tmp_path / "a.zip", root).folder
    for name in zipfile.ZipFile(tmp_path / "a.zip").namelist():
        assert (entry / name).read_bytes() == (run / name).read_bytes()
    pack(entry, tmp_path / "c.zip", root=tmp_path / "other")
    assert (tmp_path / "c.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()


def test_a_run_with_errors_is_not_packed(published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")
    _declare("model", "license", "")(run)
    with pytest.raises(RefusedError, match="E502"):
        pack(run, tmp_path / "x.zip", root=tmp_path)
    assert not (tmp_path / "x.zip").exists()


def test_a_table_beyond_the_limits_is_not_read(published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmseg.leaderboard.checks.tables.MAX_ROWS", dict.fromkeys(("steps", "prompts", "inputs"), 100))
    verdict = check(published.runs["watershed"], root=tmp_path)
    assert {(f.code, f.where) for f in verdict.findings} >= {("E101", "steps.parquet"), ("E101", "prompts.parquet")}
    assert _codes(verdict) == {"E101"}


def _truncate_masks(run: Path) -> None:
    path = run / "audit.jsonl.gz"
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for record in records:
        record["rle"]["counts"] = record["rle"]["counts"][:-2]
    path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))


def _half_of_the_audit(run: Path) -> None:
    path = run / "audit.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(lines[::2])))


@pytest.mark.parametrize(
    ("damage", "words"), [(_truncate_masks, "not masks on the grid"), (_half_of_the_audit, "not stored")]
)
def test_incomplete_audits_are_named(damage: Damage, words: str, published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")
    damage(run)
    verdict = check(run, root=tmp_path / "record")
    assert _codes(verdict) == {"E303"} and not verdict.rescored
    assert any(words in str(finding) for finding in verdict.findings)


def test_a_made_up_click_is_found(published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")

    def shift(rows: pd.DataFrame) -> None:
        rows["new_x"] = (rows["new_x"] + 1) % 64

    _edit("steps", shift)(run)
    verdict = check(run, root=tmp_path / "record")
    assert _codes(verdict) == {"E303", "E306"}
    assert any("clicks do not follow" in str(finding) for finding in verdict.findings)


def test_every_error_code_is_exercised() -> None:
    covered = set().union(*(codes for _, codes in DAMAGES.values())) | {"E304", "W401", "W402", "W403", "W404"}
    assert covered | {"E305", "E306", "E307", "E308", "E506", "W405"} == set(CODES), "those are in tests/attack"


def test_the_schema_of_a_run_is_what_the_checks_expect(published: Any) -> None:
    assert pq.read_schema(published.runs["watershed"] / "steps.parquet").names == run_schema("steps").names


def test_the_documentation_lists_every_code_and_column() -> None:
    text = (Path(__file__).parents[2] / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    assert all(f"| {code} | {rule} |" in text for code, rule in CODES.items())
    assert all(f"| {column.name} | {column.meaning} |" in text for column in LEADERBOARD)


def test_manifest_of_the_callers_benchmark_is_used_for_a_local_edition(published: Any, tmp_path: Path) -> None:
    run = published.copy("watershed", tmp_path / "run")
    _declare("benchmark", "edition", "local")(run)
    assert not check(run, root=tmp_path / "r").rescored
    assert check(run, root=tmp_path / "r", benchmark=published.benchmark).rescored
    _edit("prompts", _other_prompt)(run)
    assert "E302" in _codes(check(run, root=tmp_path / "r", benchmark=published.benchmark))
    declare(run, "benchmark", manifest_digest="12" * 32)
    assert "E302" not in _codes(check(run, root=tmp_path / "r")), "nothing to derive the prompts from"
