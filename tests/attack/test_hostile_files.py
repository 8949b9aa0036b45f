"""Hostile files, made here: every reader answers at once with one of dmseg's own errors, and writes nothing."""

from __future__ import annotations

import copy
import errno
import gzip
import json
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_runs import SyntheticSource, write_run
from tiny_benchmark import write_tiny_benchmark

from dmseg import cli
from dmseg.build import open_benchmark
from dmseg.datasets.recipes import from_file
from dmseg.errors import DmsegError
from dmseg.files import atomic_path
from dmseg.harness.replay import read_replay
from dmseg.imaging import decode_rle, read_image, read_mask, read_volume
from dmseg.leaderboard import check, read_challenge
from dmseg.leaderboard.entries import read_entry
from dmseg.manifests import read_manifest
from dmseg.report import write_report
from dmseg.results import open_run, run_digest
from dmseg.results.audit import read_audit

SECONDS = 20.0
FUZZ = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
BAD_VALUES: dict[str, str] = {
    "null": "null", "true": "true", "text": '"x"', "empty text": '""', "list": "[]", "object": "{}", "zero": "0",
    "negative": "-1", "fraction": "0.5", "huge": "1" + "0" * 400, "overflow": "1e999", "NaN": "NaN",
    "infinity": "-Infinity", "surrogate": '"\\ud800"', "NUL": '"\\u0000"', "long": json.dumps("A" * 100_000),
    "path": '"../../../evil"', "absolute": '"/etc/passwd"', "deep": "[" * 5000 + "]" * 5000, "formula": '"=1+1"',
}  # fmt: skip


def answer(read: Callable[[], Any]) -> str:
    """Return how a reader ends: quickly, and with one of dmseg's errors or none."""
    start = time.monotonic()
    try:
        read()
        found = "read"
    except DmsegError as error:
        str(error).encode("utf-8", "backslashreplace")
        found = "refused"
    assert time.monotonic() - start < SECONDS
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_benchmark(tmp_path_factory.mktemp("hostile") / "bench")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    few = {"busi": SyntheticSource("ultrasound", "seen", 2), "flare": SyntheticSource("ct", "unseen", 1, 2)}
    return write_run(tmp_path_factory.mktemp("hostile") / "run", "mine", sources=few)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something could be replaced in a JSON value."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in list(value)[:12]:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def with_text(value: Any, path: tuple[Any, ...], text: str) -> str:
    """Return the JSON text of a value with raw text in one place."""
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "@HERE@"
    return json.dumps(changed).replace('"@HERE@"', text)


@pytest.mark.parametrize("name", BAD_VALUES)
def test_every_field_of_run_json_can_hold_anything(name: str, run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    info = json.loads((run / "run.json").read_text())
    for path in places(info):
        (folder / "run.json").write_text(with_text(info, path, BAD_VALUES[name]))
        answer(lambda: open_run(folder).tables)
    for path in [("model", "params"), ("protocol", "steps"), ("benchmark", "split"), ("n_masks",), ("model", "name")]:
        (folder / "run.json").write_text(with_text(info, path, BAD_VALUES[name]))
        assert answer(lambda: check(folder, root=tmp_path / "record")) == "read", "a verdict, never an exception"


@pytest.mark.parametrize("path", ["model.params", "model.trained_on", "metrics", "protocol.corrective", "precision"])
def test_a_page_is_written_or_refused_whatever_run_json_says(path: str, run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    info = json.loads((run / "run.json").read_text())
    for text in BAD_VALUES.values():
        (folder / "run.json").write_text(with_text(info, tuple(path.split(".")), text))
        answer(lambda: write_report(folder, None, tmp_path / "page.html", []))


@pytest.mark.parametrize("name", BAD_VALUES)
def test_every_field_of_benchmark_json_can_hold_anything(name: str, bench: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    folder.mkdir()
    for file in ("images", "masks", "degradations"):
        shutil.copyfile(bench / f"{file}.parquet", folder / f"{file}.parquet")
    info = json.loads((bench / "benchmark.json").read_text())
    for path in places(info):
        (folder / "benchmark.json").write_text(with_text(info, path, BAD_VALUES[name]))
        answer(lambda: read_manifest(folder))


ODD_COLUMNS: dict[str, Callable[[pa.Table, str], pa.Array]] = {
    "nulls": lambda table, name: pa.nulls(len(table), table[name].type),
    "texts": lambda table, name: pa.array(["../../x"] * len(table)),
    "long texts": lambda table, name: pa.array(["A" * 50_000] * len(table)).dictionary_encode(),
    "bytes": lambda table, name: pa.array([b"\xff\xfe"] * len(table)),
    "lists": lambda table, name: pa.array([[1.0]] * len(table)),
    "structs": lambda table, name: pa.array([{"a": 1}] * len(table)),
    "dates": lambda table, name: pa.array([0] * len(table), pa.timestamp("ns")),
    "NaN": lambda table, name: pa.array([float("nan")] * len(table)),
    "infinities": lambda table, name: pa.array([float("inf")] * len(table)),
    "huge": lambda table, name: pa.array([2**62] * len(table)),
    "negative": lambda table, name: pa.array([-(2**62)] * len(table)),
    "flags": lambda table, name: pa.array([True] * len(table)),
}


def _replace_column(source: Path, target: Path, name: str, made: pa.Array) -> None:
    table = pq.read_table(source)
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, made), target)


@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_every_column_of_a_manifest_can_hold_anything(kind: str, bench: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bench, tmp_path / "bench"))
    for table in ("images", "masks", "degradations"):
        original = pq.read_table(bench / f"{table}.parquet")
        for name in original.column_names:
            _replace_column(
                bench / f"{table}.parquet", folder / f"{table}.parquet", name, ODD_COLUMNS[kind](original, name)
            )

            def read() -> None:
                opened = open_benchmark(folder)
                _ = opened.manifest
                opened.image(str(opened.images["image_id"][0]), "lq3")
                opened.mask(str(opened.masks["mask_id"][0]))

            answer(read)
        shutil.copyfile(bench / f"{table}.parquet", folder / f"{table}.parquet")


@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_every_column_of_a_run_can_hold_anything(kind: str, run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    readers: dict[str, Callable[[], Any]] = {
        "steps": lambda: (open_run(folder).tables, run_digest(folder)),
        "prompts": lambda: read_replay(folder / "prompts.parquet"),
    }
    for table, read in readers.items():
        original = pq.read_table(run / f"{table}.parquet")
        for name in original.column_names:
            _replace_column(
                run / f"{table}.parquet", folder / f"{table}.parquet", name, ODD_COLUMNS[kind](original, name)
            )
            answer(read)
        assert answer(lambda: check(folder, root=tmp_path / "record")) == "read"
        shutil.copyfile(run / f"{table}.parquet", folder / f"{table}.parquet")


RLES: list[Any] = [
    {}, {"size": [4, 4]}, {"size": [4, 4], "counts": ""}, {"size": [4, 4], "counts": "\ud800"},
    {"size": [10**9, 10**9], "counts": "0"}, {"size": [-4, 4], "counts": "0"}, {"size": ["4", "x"], "counts": "0"},
    {"size": [4], "counts": "0"}, {"size": [4, 4], "counts": [16, -1, 1]}, {"size": [4, 4], "counts": [10**30]},
    {"size": [4, 4], "counts": [1.5, 14.5]},
    {"size": [4, 4], "counts": [0.25, 16.5]}, {"size": [4, 4], "counts": [True, 15]},
    {"size": [4, 4], "counts": [float("nan")]}, {"size": None, "counts": "0"},
    {"size": [4, 4], "counts": [[1], [2]]}, {"size": [4, 4], "counts": "oooooooooooooooooo"}, [], None, "x",
    {"size": [True, True], "counts": {}}, {"size": [4, 4], "counts": ["a"]}, {"size": {}, "counts": b"\xff"},
]  # fmt: skip


@pytest.mark.parametrize("rle", RLES, ids=map(str, range(len(RLES))))
def test_run_lengths_of_any_kind(rle: Any) -> None:
    assert answer(lambda: decode_rle(rle)) == "refused"


RECIPE = """id = "mine"
version = 1
title = "t"
modalities = ["ultrasound"]
anatomy = "a"
structures = ["object"]
reader = "own_pictures"
role = "unseen"
expected_images = 0
target_rule = "t"
case_rule = "c"
citation = ""
licence = "l"
url = ""
how_to_get = "h"
tree = ""
[domain]
ultrasound = []
[parameters]
image = "images/{id}"
mask = "masks/{id}_mask"
"""
RECIPES = {
    "id that leaves": ('id = "mine"', 'id = "../../evil"'),
    "id absolute": ('id = "mine"', 'id = "/tmp/evil"'),
    "id hidden": ('id = "mine"', 'id = ".ssh"'),
    "id a device": ('id = "mine"', 'id = "con"'),
    "id empty": ('id = "mine"', 'id = ""'),
    "id with NUL": ('id = "mine"', 'id = "a\\u0000b"'),
    "id long": ('id = "mine"', f'id = "{"a" * 300}"'),
    "pattern that leaves": ("images/{id}", "../../../etc/{id}"),
    "pattern absolute": ("images/{id}", "/etc/{id}"),
    "version negative": ("version = 1", "version = -1"),
    "version huge": ("version = 1", "version = " + "9" * 40),
    "version NaN": ("version = 1", "version = nan"),
    "expected negative": ("expected_images = 0", "expected_images = -5"),
    "window": ("[domain]", "[windows]\nultrasound = {center = 0.0, width = -1.0}\n[domain]"),
    "window infinite": ("[domain]", "[windows]\nultrasound = {center = 0.0, width = inf}\n[domain]"),
    "structure with a line end": ('["object"]', '["ob\\nject"]'),
    "modality": ('["ultrasound"]', '["sound"]'),
    "deep": ('title = "t"', "title = " + "[" * 3000),
    "not TOML": ('title = "t"', "title = "),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_that_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(RECIPE)
    old, new = RECIPES[name]
    assert old in RECIPE
    (tmp_path / "bad.toml").write_text(RECIPE.replace(old, new, 1))
    assert answer(lambda: from_file(tmp_path / "bad.toml")) == "refused"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop", "absent", "empty", "noise"])
def test_files_that_are_none(kind: str, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "x"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
        "absent": lambda: None,
        "empty": path.touch,
        "noise": lambda: path.write_bytes(bytes(range(256)) * 40),
    }[kind]()
    folder = Path(shutil.copytree(run, tmp_path / "run"))

    def replace_file(name: str) -> Path:
        (folder / name).unlink(missing_ok=True)
        if kind != "absent":
            (folder / name).symlink_to(path)
        return folder

    with pytest.raises((DmsegError, OSError)):
        from_file(path)
    with pytest.raises((DmsegError, OSError)):
        read_challenge(path)
    with pytest.raises((DmsegError, OSError)):
        read_replay(path)
    with pytest.raises((DmsegError, OSError)):
        read_manifest(path)
    for name in ("steps.parquet", "run.json"):
        assert answer(lambda n=name: check(replace_file(n), root=tmp_path / "record")) == "read"
        with pytest.raises((DmsegError, OSError)):
            open_run(folder).table("steps")
    with pytest.raises(DmsegError):
        read_entry(folder)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@FUZZ
@given(data=st.data())
def test_fuzz_run_json(data: st.DataObject, run: Path, tmp_path: Path) -> None:
    info = json.loads((run / "run.json").read_text())
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(places(info), key=str)))
        try:
            info = json.loads(with_text(info, path, json.dumps(data.draw(JSON_VALUES))))
        except (TypeError, KeyError, IndexError):
            continue
    (folder / "run.json").write_text(json.dumps(info))
    answer(lambda: open_run(folder))
    assert answer(lambda: check(folder, root=tmp_path / "record")) == "read"


@FUZZ
@given(data=st.data())
def test_fuzz_benchmark_json(data: st.DataObject, bench: Path, tmp_path: Path) -> None:
    info = json.loads((bench / "benchmark.json").read_text())
    path = data.draw(st.sampled_from(sorted(places(info), key=str)))
    (tmp_path / "benchmark.json").write_text(with_text(info, path, json.dumps(data.draw(JSON_VALUES))))
    for name in ("images", "masks", "degradations"):
        if not (tmp_path / f"{name}.parquet").exists():
            shutil.copyfile(bench / f"{name}.parquet", tmp_path / f"{name}.parquet")
    answer(lambda: read_manifest(tmp_path))


@FUZZ
@given(text=st.text(max_size=300), place=st.integers(0, len(RECIPE)), gone=st.integers(0, 40))
def test_fuzz_recipes(text: str, place: int, gone: int, tmp_path: Path) -> None:
    content = RECIPE[:place] + text + RECIPE[place + gone :]
    (tmp_path / "r.toml").write_bytes(content.encode("utf-8", "surrogatepass"))
    answer(lambda: from_file(tmp_path / "r.toml"))


def _damage(content: bytes, seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    damaged = bytearray(content)
    for _ in range(int(generator.integers(1, 12))):
        damaged[int(generator.integers(0, len(damaged)))] = int(generator.integers(0, 256))
    cut = int(generator.integers(0, 4))
    return bytes(damaged if cut else damaged[: int(generator.integers(1, len(damaged)))])


def _fuzz_parquet(seeds: range, run: Path, bench: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    manifest = Path(shutil.copytree(bench, tmp_path / "bench"))
    for seed in seeds:
        for name in ("steps.parquet", "prompts.parquet"):
            (folder / name).write_bytes(_damage((run / name).read_bytes(), seed))
        answer(lambda: open_run(folder).tables)
        answer(lambda: read_replay(folder / "prompts.parquet"))
        assert answer(lambda: check(folder, root=tmp_path / "record")) == "read"
        (manifest / "masks.parquet").write_bytes(_damage((bench / "masks.parquet").read_bytes(), seed))
        answer(lambda: read_manifest(manifest))
        (tmp_path / "a.gz").write_bytes(_damage((run / "audit.jsonl.gz").read_bytes(), seed))
        answer(lambda: list(read_audit(tmp_path / "a.gz")))


def test_fuzz_parquet(run: Path, bench: Path, tmp_path: Path) -> None:
    _fuzz_parquet(range(25), run, bench, tmp_path)


@pytest.mark.slow
def test_fuzz_parquet_long(run: Path, bench: Path, tmp_path: Path) -> None:
    _fuzz_parquet(range(25, 400), run, bench, tmp_path)


def make_tiff(next_page: int) -> bytes:
    """Return a 16 x 16 TIFF whose page is followed by the one at ``next_page`` of the file, 0 for none."""
    tags = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 126), (277, 1), (278, 16), (279, 256)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    page = struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_page)
    return (b"II*\0" + struct.pack("<I", 8) + page).ljust(126, b"\0") + bytes(range(256))


def test_pages_that_come_back_to_the_first_are_refused(tmp_path: Path) -> None:
    (tmp_path / "good.tif").write_bytes(make_tiff(0))
    (tmp_path / "loop.tif").write_bytes(make_tiff(8))
    assert answer(lambda: read_image(tmp_path / "good.tif")) == "read"
    assert answer(lambda: read_image(tmp_path / "loop.tif")) == "refused"


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.dcm", "x.nii", "x.nii.gz", "x.mha"])
def test_pipes_and_devices_are_no_images(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", Path("/dev/zero")):
        path = tmp_path / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        for read in (read_image, read_volume, read_mask):
            assert answer(lambda r=read, p=path: r(p)) == "refused"


def test_a_run_in_a_folder_whose_name_is_no_text_is_read(run: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/run-\xff\xfe"))
    try:
        shutil.copytree(run, folder)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert run_digest(folder) == run_digest(run)
    assert list(open_run(folder).tables) == list(open_run(run).tables)
    write_report(folder, None, folder / "page.html", [])
    assert b"run-\\xff" in (folder / "page.html").read_bytes()


def test_an_image_whose_name_is_no_text_is_degraded_under_its_name(tmp_path: Path) -> None:
    name = os.fsdecode(b"scan-\xff.tif")
    (tmp_path / "in").mkdir()
    try:
        (tmp_path / "in" / name).write_bytes(make_tiff(0))
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(SystemExit) as left:
        cli.main(["degrade", "--level", "lq3", str(tmp_path / "in"), str(tmp_path / "out"), "--modality", "ultrasound"])
    assert left.value.code == 0 and [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_failed_write_says_where(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too large") as caught, atomic_path(tmp_path / "page.html"):
        raise OSError(errno.EFBIG, "File too large")
    assert caught.value.filename == str(tmp_path / "page.html") and list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_text_is_shown_where_it_cannot_be_carried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        "a/bad-\udcff.png".encode()

    monkeypatch.setattr(cli.group, "main", lambda **_: fail())
    with pytest.raises(SystemExit) as left:
        cli.main(["info"])
    assert left.value.code == 2 and "bad-" in capsys.readouterr().err


def test_audit_lines_of_any_kind(tmp_path: Path) -> None:
    good = {"mask_id": "m", "level": "lq1", "seed": 0, "step": 1, "rle": {"size": [4, 4], "counts": "`0"}}
    for path in places(good):
        for text in BAD_VALUES.values():
            line = with_text(good, path, text)
            (tmp_path / "a.gz").write_bytes(gzip.compress(line.encode("utf-8", "surrogatepass")))
            answer(lambda: [record.mask() for record in read_audit(tmp_path / "a.gz")])
