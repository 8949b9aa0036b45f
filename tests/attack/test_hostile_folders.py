"""Hostile folders: names that no tool expects, links that go round or out, pipes as images, annotations that leave."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dmseg import cli
from dmseg.datasets import tree
from dmseg.datasets.recipes import from_file
from dmseg.errors import DataError
from dmseg.imaging import write_png

RECIPE = """id = "mine"
version = 1
title = "t"
modalities = ["ultrasound"]
anatomy = "a"
structures = ["object"]
reader = "own_images"
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
NAMES: tuple[bytes, ...] = (
    b"a\nb", b"a" * 240, b"-rf", b"con", b"NUL", b"a:b", b"  ", "a\u202eb".encode(), b"$(touch x)",
    b"\"';--", b"<b>x", b"=1+1", b"%s%n%00", b"a\tb", b"\x1b[2J", b"...a", b"..\\..\\x", b"{id}", "e\u0301".encode(),
    b"*?[a]", b"~root", b'a,"b"', "a\u200bb".encode(), "\U0001f9e0".encode(),
)  # fmt: skip
"""Line ends, devices of Windows, what a shell, a page or a spreadsheet would run, what looks like a path."""


def call(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def write_pair(raw: Path, name: bytes) -> None:
    mask = np.zeros((40, 44), dtype=bool)
    mask[10:30, 12:32] = True
    pixels = np.where(mask, 180, 60).astype(np.uint8) + np.arange(44, dtype=np.uint8)
    for folder, ending, values in (("images", b"", pixels), ("masks", b"_mask", mask.astype(np.uint8) * 255)):
        (raw / "mine" / folder).mkdir(parents=True, exist_ok=True)
        write_png(raw / "plain.png", values)
        (raw / "plain.png").rename(os.fsdecode(os.fsencode(raw / "mine" / folder) + b"/" + name + ending + b".png"))


def list_outside(base: Path, *inside: Path) -> set[Path]:
    """Return every file below a folder that is not below one of some."""
    return {path for path in base.rglob("*") if not any(path.is_relative_to(folder) for folder in inside)}


def build(tmp_path: Path, recipe: str = RECIPE) -> int:
    (tmp_path / "r.toml").write_text(recipe)
    places = ("--raw", tmp_path / "raw", "--out", tmp_path / "out", "--recipe", tmp_path / "r.toml")
    return call("build", *places, "--levels", "clear")


def test_images_with_any_name_are_built_under_plain_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    for name in NAMES:
        try:
            write_pair(tmp_path / "raw", name)
        except OSError:
            (tmp_path / "raw" / "plain.png").unlink()
    write_pair(tmp_path / "raw", b"plain")
    before = list_outside(tmp_path, tmp_path / "out")
    code = build(tmp_path)
    said = capsys.readouterr()
    assert code in (0, 1) and "Traceback" not in said.err + said.out, said.err
    assert list_outside(tmp_path, tmp_path / "out") - before <= {tmp_path / "r.toml"}
    built = sorted(path.stem for path in (tmp_path / "out" / "images").rglob("*.png"))
    assert len(built) >= 15
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in built)


def test_a_name_that_is_no_text_is_refused_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "raw").mkdir()
    try:
        write_pair(tmp_path / "raw", b"a\xff\xfe")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert build(tmp_path) == 2
    assert "xff" in capsys.readouterr().err


def _link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


FOLDERS: dict[str, Callable[[Path], None]] = {
    "a link to itself": lambda mine: _link(mine / "images" / "loop", "loop"),
    "links to where they are": lambda mine: [_link(mine / "images" / name, ".") for name in "abcd"] and None,
    "links to above": lambda mine: [_link(mine / "masks" / name, "../..") for name in "abcd"] and None,
    "a link that is refused": lambda mine: _link(mine / "images" / "x", "/proc/self/map_files"),
    "a link to a device": lambda mine: _link(mine / "images" / "x.png", "/dev/zero"),
    "a link to nothing": lambda mine: _link(mine / "images" / "x.png", "/nothing/there"),
    "a pipe": lambda mine: os.mkfifo(mine / "images" / "x.png"),
    "a mask that is a pipe": lambda mine: os.mkfifo(mine / "masks" / "x_mask.png"),
    "a folder called as an image": lambda mine: (mine / "images" / "x.png").mkdir(),
    "nested deeply": lambda mine: (mine / "images" / "/".join("d" * 300)).mkdir(parents=True),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_go_round_or_hold_no_files_are_built_or_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    write_pair(tmp_path / "raw", b"good")
    FOLDERS[name](tmp_path / "raw" / "mine")
    code = build(tmp_path)
    said = capsys.readouterr()
    assert code in (0, 1) and "Traceback" not in said.err + said.out, said.err
    assert any("good" in path.name for path in (tmp_path / "out" / "images").rglob("*.png"))


def test_links_that_go_round_are_followed_once(tmp_path: Path) -> None:
    write_pair(tmp_path, b"good")
    for folder in (tmp_path / "mine", tmp_path / "mine" / "images"):
        for name in "abcdef":
            (folder / name).symlink_to("..")
    assert sorted(path.name for path in tree.files_below(tmp_path / "mine")) == ["good.png", "good_mask.png"]
    assert len(list(tree.folders_below(tmp_path / "mine"))) <= 4


OUT_OF_RAW = {
    "above": ("images/{id}", "../../{id}"), "absolute": ("images/{id}", "/etc/{id}"),
    "mask above": ("masks/{id}_mask", "masks/../../{id}_mask"), "mask absolute": ("masks/{id}_mask", "/{id}"),
    "drive": ("images/{id}", "C:/x/{id}"), "backslashes": ("images/{id}", "..\\\\\\\\{id}"),
    "annotations above": ('mask = "masks/{id}_mask"', 'annotations = ["../../x.json"]\nformat = "coco"'),
    "annotations absolute": ('mask = "masks/{id}_mask"', 'annotations = ["/etc/passwd"]\nformat = "coco"'),
    "a table of paths": ('mask = "masks/{id}_mask"', 'more = {places = ["a/../../b"]}'),
    "only above": ('mask = "masks/{id}_mask"', 'dataset = ".."'),
}  # fmt: skip


@pytest.mark.parametrize("name", OUT_OF_RAW)
def test_recipes_whose_paths_leave_the_raw_folder_are_refused(name: str, tmp_path: Path) -> None:
    old, new = OUT_OF_RAW[name]
    assert old in RECIPE
    (tmp_path / "r.toml").write_text(RECIPE.replace(old, new))
    with pytest.raises(DataError, match=r"below it|one line"):
        from_file(tmp_path / "r.toml")


@pytest.mark.parametrize(
    "image", ["../../secret.png", "/etc/hostname", "..\\..\\secret.png", "a\x00b.png", "", "x" * 5000]
)
def test_annotations_name_no_image_outside_of_their_folder(
    image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "raw").mkdir()
    write_pair(tmp_path / "raw", b"good")
    (tmp_path / "secret.png").write_bytes((tmp_path / "raw" / "mine" / "images" / "good.png").read_bytes())
    shape = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 20, 1, 20, 20]], "iscrowd": 0}
    annotations = {
        "images": [{"id": 1, "file_name": image, "height": 40, "width": 44}],
        "annotations": [shape],
        "categories": [{"id": 1, "name": "object"}],
    }
    (tmp_path / "raw" / "mine" / "a.json").write_text(json.dumps(annotations))
    paths = 'image = "images/{id}"\nmask = "masks/{id}_mask"\n'
    recipe = RECIPE.replace(paths, 'format = "coco"\nannotations = ["a.json"]\n')
    code = build(tmp_path, recipe.replace("own_images", "own_annotations"))
    said = capsys.readouterr()
    assert code in (1, 2) and "Traceback" not in said.err, said.err
    assert not list((tmp_path / "out").rglob("images/**/*.png"))
