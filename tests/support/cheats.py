"""Manipulated submissions: what is done to an honest run folder, and what catches it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from synthetic_runs import declare

from dmseg.results.audit import is_audited

Manipulation = Callable[[Path], None]
STEPS, PROMPTS, INPUTS, AUDIT = "steps", "prompts", "inputs", "audit.jsonl.gz"


@dataclass(frozen=True)
class Cheat:
    """One manipulation.

    Attributes:
        name: what was done.
        do: changes a run folder.
        caught_by: codes of which at least one must be found; empty where it is harmless.
        harmless: why it may be listed (never ranked without an audit).
    """

    name: str
    do: Manipulation
    caught_by: frozenset[str]
    harmless: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def rows(table: str, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> Manipulation:
    """Return a manipulation of the rows of one table; types are kept where they fit."""

    def do(run: Path) -> None:
        path = run / f"{table}.parquet"
        stored = pq.read_table(path)
        frame = stored.to_pandas()
        changed = change(frame)
        frame = frame if changed is None else changed
        columns = []
        for name in frame.columns:
            values = pa.Array.from_pandas(frame[name])
            try:
                columns.append(values.cast(stored.schema.field(name).type))
            except (pa.ArrowException, KeyError, ValueError):
                columns.append(values)
        pq.write_table(pa.table(columns, names=list(frame.columns)), path)

    return do


def put(
    column: str, value: Any, *, where: Callable[[pd.DataFrame], Any] | None = None, table: str = STEPS
) -> Manipulation:
    """Return a manipulation that writes a value into a column (default: of row 11)."""

    def change(frame: pd.DataFrame) -> None:
        hit = frame.index == 11 if where is None else where(frame)
        frame.loc[hit, column] = value(frame.loc[hit, column]) if callable(value) else value

    return rows(table, change)


def says(part: str, **values: Any) -> Manipulation:
    """Return a manipulation of run.json that also gives it the right key, as a forger would."""
    return lambda run: declare(run, part, **values)


def both(*steps: Manipulation) -> Manipulation:
    def do(run: Path) -> None:
        for step in steps:
            step(run)

    return do


def raw_json(text: str | bytes) -> Manipulation:
    return lambda run: (run / "run.json").write_bytes(text if isinstance(text, bytes) else text.encode()) and None


def json_with(old: str, new: str) -> Manipulation:
    def do(run: Path) -> None:
        text = (run / "run.json").read_text()
        assert old in text, old
        (run / "run.json").write_text(text.replace(old, new, 1))

    return do


def later(frame: pd.DataFrame) -> Any:
    return (frame["step"] > 1) & frame["new_x"].notna()


def fit_overlap(gain: int) -> Callable[[pd.DataFrame], None]:
    """Raise the true positives by whole pixels and fit IoU, Dice and PA: the arithmetic of overlap cannot tell."""

    def change(frame: pd.DataFrame) -> None:
        both_areas = frame["gt_area"] + frame["pred_area"]
        hits = np.rint(frame["iou"] * both_areas / (1 + frame["iou"]))
        most = np.minimum(frame["gt_area"], frame["pred_area"])
        more = np.minimum(hits + gain, np.where(most == hits, hits, most - 1))
        frame["iou"] = more / (both_areas - more)
        frame["dice"] = 2 * more / both_areas
        frame["pixel_accuracy"] += 2 * (more - hits) / (48 * 64)

    return change


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def forge_digests(manifest_digest: str) -> Callable[[pd.DataFrame], None]:
    """Give the rows of masks that are not audited digests of nothing, equal where they were equal."""

    def change(frame: pd.DataFrame) -> None:
        free = ~frame["mask_id"].map(lambda mask_id: is_audited(manifest_digest, mask_id))
        frame.loc[free, "pred_digest"] = frame.loc[free, "pred_digest"].map(lambda d: digest_of(f"made up {d}"))

    return change


def audit_records(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Manipulation:
    def do(run: Path) -> None:
        lines = gzip.decompress((run / AUDIT).read_bytes()).splitlines()
        made = change([json.loads(line) for line in lines])
        (run / AUDIT).write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in made).encode()))

    return do


def replace_file(name: str, content: bytes) -> Manipulation:
    return lambda run: (run / name).write_bytes(content) and None


def link_file(name: str, target: str) -> Manipulation:
    def do(run: Path) -> None:
        (run / name).unlink()
        (run / name).symlink_to(target)

    return do


def pipe_file(name: str) -> Manipulation:
    def do(run: Path) -> None:
        (run / name).unlink()
        os.mkfifo(run / name)

    return do


def cut_file(name: str, keep: float) -> Manipulation:
    def do(run: Path) -> None:
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: int(len(content) * keep)])

    return do


def bomb(column: str, length: int) -> Manipulation:
    """Repeat one long text in every row: a small file, a large table."""
    return rows(STEPS, lambda frame: frame.assign(**{column: "A" * length}))


def _copy_best_level(frame: pd.DataFrame) -> None:
    """Give every level the scores of Clear."""
    scores = ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5", "hd95", "pred_area"]
    clear = frame[frame["level"] == "clear"].set_index(["mask_id", "step"])[scores]
    keys = pd.MultiIndex.from_frame(frame[["mask_id", "step"]])
    frame[scores] = clear.reindex(keys).to_numpy()


def _copy_last_step(frame: pd.DataFrame) -> None:
    scores = ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5", "hd95", "pred_area", "pred_digest"]
    last = frame[frame["step"] == 5].set_index(["mask_id", "level"])[scores]
    frame[scores] = last.reindex(pd.MultiIndex.from_frame(frame[["mask_id", "level"]])).to_numpy()


def _shuffle_masks(frame: pd.DataFrame) -> None:
    names = sorted(frame["mask_id"].unique())
    frame["mask_id"] = frame["mask_id"].map(dict(zip(names, names[1:] + names[:1], strict=True)))


def _fail_worst(frame: pd.DataFrame) -> None:
    """Call the worst predictions failures without giving them the worst scores."""
    frame.loc[frame["dice"] < frame["dice"].quantile(0.1), "status"] = "error"


def _perfect_unaudited(frame: pd.DataFrame) -> None:
    shares = ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5"]
    frame.loc[frame["step"] == 5, shares] = 1.0
    frame.loc[frame["step"] == 5, "hd95"] = 0.0


_SCORES = ("iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5")


def make_cheats() -> list[Cheat]:
    """Return every manipulation of one run folder."""
    found: list[Cheat] = []

    def add(name: str, do: Manipulation, *codes: str, harmless: str = "") -> None:
        found.append(Cheat(name, do, frozenset(codes), harmless))

    # numbers of rows
    for column in _SCORES:
        add(
            f"{column} changed in every row",
            put(column, lambda v: np.where(v > 0.5, v - 0.0513, v + 0.0513), where=lambda f: f["step"] > 0),
            "E301",
            "E303",
            "E305",
        )
        add(f"{column} NaN", put(column, float("nan")), "E104")
        add(f"{column} above 1", put(column, 1.5), "E106")
    add("hd95 halved", put("hd95", lambda v: v / 2, where=lambda f: f["step"] > 0), "E305", "E303")
    add("hd95 infinite", put("hd95", float("inf")), "E104")
    add("hd95 negative", put("hd95", -1.0), "E106")
    add("hd95 huge", put("hd95", 1e300), "E106")
    add("hd95 in mm of another spacing", put("hd95_mm", 3.0, where=lambda f: f["step"] > 0), "E305")
    add("hd95 said to be undefined", put("hd95_defined", False), "E305")
    add("Dice and IoU fitted, areas left", rows(STEPS, lambda f: f.assign(iou=0.9, dice=1.8 / 1.9)), "E301")
    add("overlap raised by whole pixels", rows(STEPS, fit_overlap(3)), "E303", "E305", "E307", "E306")
    add("reference areas shrunk", put("gt_area", lambda v: v - 5, where=lambda f: f["step"] > 0), "E301", "E202")
    add("reference area 0", put("gt_area", 0), "E106")
    add("predicted areas changed", put("pred_area", lambda v: v + 4, where=lambda f: f["step"] > 0), "E301")
    add("predicted area negative", put("pred_area", -4), "E106")
    add("predicted area beyond the image", put("pred_area", 10**8), "E301")
    add("predicted area missing", put("pred_area", None), "E104")
    add("last step perfect", rows(STEPS, _perfect_unaudited), "E301", "E305", "E307", "E303")
    add("all levels have the scores of Clear", rows(STEPS, _copy_best_level), "E303", "E306", "E307", "E301")
    add("all steps have the scores of the last", rows(STEPS, _copy_last_step), "E303", "E306")
    add("rows moved to the next mask", rows(STEPS, _shuffle_masks), "E202", "E301", "E303")
    add("worst rows called failures", rows(STEPS, _fail_worst), "E106", "E104")
    add("failures hidden in run.json", says("", n_errors=7), "E205")
    add("a case twice", rows(STEPS, lambda f: pd.concat([f, f[f["mask_id"] == f["mask_id"].iloc[0]]])), "E107")
    add(
        "a mask left out",
        both(
            *(rows(t, lambda f: f[f["mask_id"] != "alpha__alpha0__disc__0"]) for t in (STEPS, PROMPTS)),
            says("", n_masks=15),
        ),
        "E201",
    )
    add("a level left out", rows(STEPS, lambda f: f[f["level"] != "lq3plus"]), "E204")
    add("a step left out", rows(STEPS, lambda f: f[f["step"] != 3]), "E203")
    add(
        "a mask from nowhere",
        rows(STEPS, lambda f: f.replace({"mask_id": {"alpha__alpha0__disc__0": "alpha__x__disc__0"}})),
        "E202",
        "E201",
    )
    add("an image of another dataset", rows(STEPS, lambda f: f.assign(dataset="beta")), "E202")
    add("all cases one patient", rows(STEPS, lambda f: f.assign(case_id="alpha__p0")), "E202")
    add("unseen declared seen", rows(STEPS, lambda f: f.assign(split="seen")), "E202")
    add("step 2147483647", put("step", 2**31 - 1), "E106")
    add("step 0", put("step", 0), "E106")
    add("seed of another draw", put("seed", 7, where=lambda f: f["step"] > 0), "E302", "E306")
    add("no rows", rows(STEPS, lambda f: f.iloc[:0]), "E101")
    # digests
    add(
        "digests of nothing in every row",
        put("pred_digest", lambda v: v.map(digest_of), where=lambda f: f["step"] > 0),
        "E303",
    )
    add("digest short", put("pred_digest", "abc"), "E105")
    add("digest upper case", put("pred_digest", lambda v: v.str.upper(), where=lambda f: f["step"] > 0), "E105")
    add("digest missing", put("pred_digest", None), "E104")
    add("digest of an empty mask", put("pred_digest", hashlib.sha256(b"48x64\n" + bytes(384)).hexdigest()), "E307")
    add("one digest everywhere", put("pred_digest", digest_of("x"), where=lambda f: f["step"] > 0), "E307")
    # prompts and clicks
    add(
        "clicks moved in both tables",
        both(
            put("new_x", lambda v: (v + 9) % 64, where=later),
            put("x", lambda v: (v + 9) % 64, where=lambda f: f["step"] > 1, table=PROMPTS),
        ),
        "E306",
        "E303",
    )
    add("clicks moved in steps", put("new_y", lambda v: (v + 1) % 48, where=later), "E306")
    add(
        "click labels flipped",
        both(
            put("new_label", lambda v: 1 - v, where=later),
            put("label", lambda v: 1 - v, where=lambda f: f["step"] > 1, table=PROMPTS),
        ),
        "E306",
    )
    add(
        "clicks outside of the image",
        both(put("new_x", 5000, where=later), put("x", 5000.0, where=lambda f: f["step"] > 1, table=PROMPTS)),
        "E306",
    )
    add("label 3", put("new_label", 3), "E105", "E104", "E106")
    add(
        "more prompts than counted",
        rows(PROMPTS, lambda f: pd.concat([f, f[f["kind"] == "point"].iloc[[0]].assign(index=9)])),
        "E302",
        "E306",
    )
    add(
        "first prompt moved",
        put("x", 3.0, where=lambda f: (f["step"] == 1) & (f["kind"] == "point"), table=PROMPTS),
        "E302",
    )
    add("first box moved", put("x0", 0.0, where=lambda f: f["kind"] == "box", table=PROMPTS), "E302")
    add(
        "prompts of a mask from nowhere",
        rows(PROMPTS, lambda f: pd.concat([f, f.iloc[[0]].assign(mask_id="a__b__c__0")])),
        "E306",
    )
    add("prompts missing", rows(PROMPTS, lambda f: f[f["step"] != 4]), "E306")
    add("points counted otherwise", put("points_pos", lambda v: v - 1, where=lambda f: f["points_pos"] > 1), "E306")
    add("box called points", put("prompt_kind", "points", where=lambda f: f["prompt_kind"] == "box"), "E306")
    add("perfect marked", put("perfect", True, where=lambda f: f["step"] == 1), "E306")
    add(
        "clicks removed",
        both(put("new_x", None, where=later), put("new_y", None, where=later), put("new_label", None, where=later)),
        "E306",
        "E104",
    )
    # inputs
    add(
        "inputs of other pixels",
        put("thumbprint", bytes(256), where=lambda f: f["level"] == "lq3", table=INPUTS),
        "E302",
    )
    add(
        "inputs without thumbprints", put("thumbprint", None, where=lambda f: f["level"] == "lq3", table=INPUTS), "E302"
    )
    add(
        "inputs of another plan",
        put("plan_digest", digest_of("x"), where=lambda f: f["level"] == "lq3", table=INPUTS),
        "E302",
    )
    add("inputs missing", rows(INPUTS, lambda f: f.iloc[5:]), "E302")
    add(
        "inputs of images from nowhere",
        rows(INPUTS, lambda f: pd.concat([f, f.iloc[[0]].assign(image_id="a__b")])),
        "E302",
    )
    # audit file
    add("audit empty", audit_records(lambda r: []), "E303")
    add("audit of the reference", audit_records(lambda r: [x | {"rle": r[0]["rle"]} for x in r]), "E303")
    add("audit twice", audit_records(lambda r: r + r), "E303")
    add(
        "audit of another size",
        audit_records(lambda r: [x | {"rle": {"size": [4, 4], "counts": "`0"}} for x in r]),
        "E303",
    )
    add(
        "audit of a billion pixels",
        audit_records(lambda r: [x | {"rle": {"size": [10**9, 10**9], "counts": "0"}} for x in r]),
        "E303",
    )
    add("audit with huge numbers", audit_records(lambda r: [x | {"step": 10**18} for x in r]), "E303")
    add("audit deep", replace_file(AUDIT, gzip.compress(b"[" * 10**6)), "E303")
    add("audit bomb", replace_file(AUDIT, gzip.compress(bytes(10**8))), "E303")
    add("audit no gzip", replace_file(AUDIT, b"hello"), "E303")
    # run.json
    for key, value in (("grid", 1024), ("boundary", "pixel"), ("hd95", "pooled"), ("taus", [2, 4, 6, 10])):
        add(f"metrics.{key} of another definition", says("metrics", **{key: value}), "E302")
    add("corrective rule of another preset", says("protocol", corrective="edt-max"), "E302", "E306", "E303")
    add("no corrective rule", says("protocol", corrective=None), "E302")
    add("prompts from a file", says("protocol", prompts_sha256=digest_of("p")), "E302")
    add("another seed", says("protocol", seed=5), "E302")
    add("another preset", says("protocol", preset="noc"), "E302", "E303", "E203")
    add("an easier protocol id", says("protocol", id="dmseg-prompt/2"), "E302")
    add("steps 20", says("protocol", steps=20), "E302", "E203")
    add("run_key of another run", says("", run_key=digest_of("k")), "E302")
    add("an edition from nowhere", says("benchmark", edition="dm-seg", version="9.9"), "E302")
    add("manifest digest changed", says("benchmark", manifest_digest=digest_of("m")), "E302")
    add(
        "splits hidden",
        says("benchmark", split=["unseen"]),
        "E201",
        "E202",
        "E204",
        harmless="the rows of the hidden split are then published too",
    )
    add("params 1e400", json_with('"params": 0', '"params": 1' + "0" * 400), "E501")
    add("params negative", says("model", params=-1), "E501")
    add("params NaN", json_with('"params": 0', '"params": NaN'), "E501")
    add("params 1e999", json_with('"params": 0', '"params": 1e999'), "E501")
    add("params text", says("model", params="12"), "E501")
    add("n_masks huge", says("", n_masks=10**30), "E501")
    add("seed huge", json_with('"seed": 0', '"seed": 1' + "0" * 30), "E501")
    add("key twice", json_with('"schema_version": 1', '"schema_version": 1, "schema_version": 1'), "E501")
    add("deep arguments", json_with('"arguments": {', '"arguments": {"x": ' + "[" * 60 + "]" * 60 + ", "), "E501")
    add("many arguments", says("model", arguments={str(i): i for i in range(5000)}), "E501")
    add("run.json not UTF-8", raw_json(b"\xff\xfe{}"), "E501")
    add("run.json a list", raw_json("[]"), "E501")
    add("run.json of 2 MB", raw_json(" " * 2_000_000 + "{}"), "E501")
    # names and texts
    for name in ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\uff1d1+1", " =1+1", "\t=1+1"):
        add(f"formula {name!a}", says("model", name=name), "E108")
    for name in (
        "w\u0430tershed",
        "water\u200bshed",
        "watershed\u202e",
        "\ud800",
        "a" * 500,
        "",
        "../../evil",
        "<b>x</b>",
        "x\ny",
        "\u00e9\u0301",
    ):
        add(f"name {ascii(name)[:24]}", says("model", name=name), "E108", "E501")
    add("licence formula", says("model", license="=cmd()"), "E108")
    add("licence missing", says("model", license=None), "E502")
    add("submitter with markup", says("", submitter="<script>"), "E108")
    add("version formula", says("model", version="=1+1"), "E108")
    for url in (
        "javascript:alert(1)",
        "http://127.0.0.1/x",
        "https://user:pw@host.org/",
        "https://x",
        "file:///etc/passwd",
        "https://a.b/\u202e",
        "https://exa mple.com",
        "http://[::1]/",
        "https://host.org:99999/",
    ):
        add(f"address {ascii(url)[:30]}", says("model", code_url=url), "E503", "E108")
    for weights in ("a" * 64, "0" * 64, "A" * 64, "xyz", 12, digest_of("x")[:-1]):
        add(f"weights {str(weights)[:12]}", says("model", weights_sha256=weights), "E504")
    add("parameters without weights", says("model", params=5), "E504")
    add("a self-test model", says("model", name="Oracle"), "E505")
    add("a self-test model by mode", says("model", mode="self-test"), "E505")
    add("dataset name a formula", rows(STEPS, lambda f: f.assign(dataset="=1+1")), "E108", "E202")
    # files
    for name in ("run.json", "steps.parquet", AUDIT):
        add(f"{name} a link", link_file(name, "/etc/hostname"), "E101")
        add(f"{name} a link to a device", link_file(name, "/dev/zero"), "E101")
        add(f"{name} a pipe", pipe_file(name), "E101")
    add("steps cut in half", cut_file("steps.parquet", 0.5), "E101")
    add("steps without its end", cut_file("steps.parquet", 0.98), "E101")
    add("prompts empty", replace_file("prompts.parquet", b""), "E101")
    add("inputs no parquet", replace_file("inputs.parquet", b"PAR1" + b"\xff" * 64 + b"PAR1"), "E101")
    add("error a long text in every row", bomb("error", 10**6), "E101")
    add("image_id a long text in every row", bomb("image_id", 10**5), "E101")
    add("a column of lists", rows(STEPS, lambda f: f.assign(dice=[[x] for x in f["dice"]])), "E103")
    add("a column of texts for numbers", rows(STEPS, lambda f: f.assign(dice=f["dice"].astype(str) + "x")), "E103")
    add("a column more", rows(STEPS, lambda f: f.assign(extra=1)), "E102")
    add("a column less", rows(STEPS, lambda f: f.drop(columns="mask_id")), "E102")
    add("an id with a slash", rows(STEPS, lambda f: f.assign(image_id="../../x")), "E105")
    # harmless: listed as self-reported, never ranked by it
    add("another name of one's own", says("model", name="my-net"), harmless="a name is the submitter's to choose")
    add("fewer datasets trained on", says("model", trained_on=[]), harmless="cannot be checked; shown as declared")
    add("another real address", says("model", code_url="https://github.com/some/code"), harmless="a link is no result")
    add("another version of the model", says("model", version="2"), harmless="the key follows; nothing else does")
    add(
        "rows in another order",
        rows(STEPS, lambda f: f.sample(frac=1, random_state=1)),
        harmless="same rows, same digest",
    )
    return found
