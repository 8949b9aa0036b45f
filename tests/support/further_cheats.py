"""Manipulations that take more than one value: audited masks turned, levels and steps exchanged, rows packed oddly."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from cheats import AUDIT, PROMPTS, STEPS, Cheat, Manipulation, audit_records, both, digest_of, later, put, rows, says
from numpy.typing import NDArray

from dmseg.imaging import decode_rle, encode_rle

SCORES = ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5", "hd95", "pred_area", "pred_digest"]


def turn_audit(turn: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]) -> Manipulation:
    """Return a manipulation of every audited mask."""
    return audit_records(lambda records: [r | {"rle": encode_rle(turn(decode_rle(r["rle"])))} for r in records])


def write_runs(change: Callable[[list[int]], list[Any]]) -> Manipulation:
    """Write the run lengths of every audited mask as a list, changed."""

    def count(rle: Any) -> list[int]:
        flat = decode_rle(rle).T.ravel()
        edges = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
        return [0, *runs] if flat[0] else runs

    return audit_records(lambda rs: [r | {"rle": {**r["rle"], "counts": change(count(r["rle"]))}} for r in rs])


def exchange_levels(first: str, second: str, dataset: str = "") -> Manipulation:
    """Exchange two levels whole, in rows, prompts and kept predictions, of all datasets or one."""
    other = {first: second, second: first}

    def exchange(frame: pd.DataFrame) -> None:
        inside = frame["mask_id"].str.startswith(dataset)
        frame.loc[inside, "level"] = frame.loc[inside, "level"].map(lambda level: other.get(level, level))

    def turn(record: dict[str, Any]) -> dict[str, Any]:
        inside = record["mask_id"].startswith(dataset)
        return record | ({"level": other.get(record["level"], record["level"])} if inside else {})

    def do(run: Path) -> None:
        rows(STEPS, exchange)(run)
        rows(PROMPTS, exchange)(run)
        for name in (AUDIT, "predictions.jsonl.gz"):
            if (run / name).exists():
                lines = gzip.decompress((run / name).read_bytes()).splitlines()
                text = "".join(json.dumps(turn(json.loads(line))) + "\n" for line in lines)
                (run / name).write_bytes(gzip.compress(text.encode()))

    return do


def exchange_steps(frame: pd.DataFrame) -> None:
    """Exchange the predictions of steps 1 and 5."""
    other = {1: 5, 5: 1}
    source = frame.assign(step=frame["step"].map(lambda step: other.get(step, step)))
    keys = ["mask_id", "level", "step"]
    found = source.set_index(keys)[SCORES].reindex(pd.MultiIndex.from_frame(frame[keys]))
    frame[SCORES] = found.to_numpy()


def append_group_again(run: Path) -> None:
    """Write the same row group twice, as if a part had been merged twice."""
    table = pq.read_table(run / "steps.parquet")
    with pq.ParquetWriter(run / "steps.parquet", table.schema) as writer:
        writer.write_table(table)
        writer.write_table(table.slice(0, 25))


def append_better_rows(run: Path) -> None:
    """Give masks a second, better set of rows under another seed."""
    rows(STEPS, lambda f: pd.concat([f, f.assign(seed=1)]))(run)


def write_dictionaries(run: Path) -> None:
    """Store every text as a dictionary with entries that no row has."""
    table = pq.read_table(run / "steps.parquet")
    for name in ("level", "split", "status"):
        column = table[name].combine_chunks().dictionary_encode()
        made = pa.DictionaryArray.from_arrays(column.indices, pa.concat_arrays([column.dictionary, pa.array(["=1+1"])]))
        table = table.set_column(table.schema.get_field_index(name), name, made)
    pq.write_table(table, run / "steps.parquet")


def add_own_files(run: Path) -> None:
    """Send along what the record itself writes."""
    checked = {"date": "2020-01-01", "added": "2020-01-01T00:00:00Z", "tier": "re-run", "run_digest": "ab" * 32}
    (run / "checked.json").write_text(json.dumps(checked | {"owner": "dmseg"}))
    (run / "rerun.json").write_text("{}")


def write_around(before: bytes, after: bytes) -> Manipulation:
    """Write bytes around run.json."""
    return lambda run: (run / "run.json").write_bytes(before + (run / "run.json").read_bytes() + after) and None


def _say_local(run: Path) -> None:
    says("benchmark", edition="local", version="0+mine")(run)


def _prompts_of_neighbour(frame: pd.DataFrame) -> None:
    names = sorted(frame["mask_id"].unique())
    frame["mask_id"] = frame["mask_id"].map(dict(zip(names, names[1:] + names[:1], strict=True)))


def _hide_one_level_failing(frame: pd.DataFrame) -> None:
    """Call one bad sequence failed with its worst scores and nothing to show, but keep a digest."""
    bad = frame["mask_id"] == frame["mask_id"].iloc[0]
    frame.loc[bad, ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5"]] = 0.0
    frame.loc[bad, "status"] = "timeout"


_NAMES = {
    "Greek": "\u03c9atershed", "Cherokee": "\u13b3atershed", "Armenian": "waters\u0570ed", "bold": "\U0001d430atershed",
    "soft hyphen": "water\u00adshed", "filler": "water\u3164shed", "tag": "watershed\U000e0061",
    "variation": "watershed\ufe0f", "no-break space": "water\u00a0shed", "fraction slash": "water\u2044shed",
    "Arabic mark": "water\u061cshed", "circled": "\u24e6atershed",
}  # fmt: skip


def make_further_cheats() -> list[Cheat]:
    """Return them, as :func:`cheats.make_cheats` does."""
    found: list[Cheat] = []

    def add(name: str, do: Manipulation, *codes: str, harmless: str = "") -> None:
        found.append(Cheat(name, do, frozenset(codes), harmless))

    turns: dict[str, Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = {
        "mirrored": lambda m: m[:, ::-1], "upside down": lambda m: m[::-1], "transposed": lambda m: m.T,
        "turned by half": lambda m: m[::-1, ::-1], "moved by one pixel": lambda m: np.roll(m, 1, axis=1),
        "inverted": lambda m: ~m,
    }  # fmt: skip
    for name, turn in turns.items():
        add(f"audited masks {name}", turn_audit(turn), "E303")
    add("audited runs go on beyond the mask", write_runs(lambda runs: [*runs, 5]), "E303")
    add("audited runs end with a negative one", write_runs(lambda runs: [*runs, 7, -7]), "E303")
    add("audited runs are fractions", write_runs(lambda runs: [run + 0.25 for run in runs]), "E303")
    add("audited runs end with empty ones", write_runs(lambda runs: [*runs, 0, 0, 0]),
        harmless="the mask is the same to the pixel, and so is its digest")  # fmt: skip
    add("steps 1 and 5 exchanged", rows(STEPS, exchange_steps), "E303", "E306")
    add("a row group twice", append_group_again, "E107")
    add("all rows again under another seed", append_better_rows, "E302", "E203", "E107")
    add("dictionaries with foreign entries", write_dictionaries, harmless="no row has them, and no table shows them")
    add("files of the record sent along", add_own_files, harmless="they are not copied: the record writes its own")
    add("a published digest called local", _say_local, "E302")
    add("prompts of the next mask", rows(PROMPTS, _prompts_of_neighbour), "E302", "E306")
    add("failures that keep their digests", rows(STEPS, _hide_one_level_failing), "E104", "E106", "E205")
    moved = both(
        put("new_x", lambda v: (v + 1) % 64, where=later),
        put("x", lambda v: (v + 1) % 64, where=lambda f: f["step"] > 1, table=PROMPTS),
    )
    add("clicks moved by one pixel in both tables", moved, "E303", "E306")
    add("scores rounded to six digits", rows(STEPS, lambda f: f.assign(iou=f["iou"].round(6))), "E301")
    add("scores as half numbers", rows(STEPS, lambda f: f.assign(dice=f["dice"].astype("float32"))), "E103", "E301")
    add("mask ids in look-alikes", rows(STEPS, lambda f: f.assign(mask_id=f["mask_id"].str.replace("a", "\u0430"))),
        "E105")  # fmt: skip
    add("mask ids with a space", rows(STEPS, lambda f: f.assign(mask_id=f["mask_id"] + " ")), "E105")
    add("run.json with a mark before it", write_around(b"\xef\xbb\xbf", b""), harmless="a mark of UTF-8 says nothing")
    add("run.json with a second value", write_around(b"", b"{}"), "E501")
    add("weights of a digest that is none", says("model", weights_sha256=digest_of("x").replace("a", "\u0430")), "E504")
    for kind, name in _NAMES.items():
        add(f"name with {kind}", says("model", name=name), "E108", "E501")
    return found
