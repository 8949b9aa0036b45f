"""Scribbles and lassos: from a file of prompts to models that take them, and refused by those that do not."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dmseg import harness
from dmseg.baselines import load_model
from dmseg.build import open_benchmark
from dmseg.errors import DataError, ModelError, UsageError
from dmseg.protocol import prompts_from_rows
from dmseg.types import Prompts, Stroke

NOTHING = (np.zeros((0, 2), np.float32), np.zeros(0, np.int8))


def list_pieces(step: int, kind: str, path: list[tuple[int, int]], label: int = 1, index: int = 0) -> list[Any]:
    corners = [(*a, *b) for a, b in itertools.pairwise(path)]
    return [
        {"step": step, "index": index, "kind": kind, "x": None, "y": None, "label": label}
        | dict(zip(("x0", "y0", "x1", "y1"), map(float, piece), strict=True))
        for piece in corners
    ]


def point(step: int, x: int, y: int) -> dict[str, Any]:
    return {
        "step": step,
        "index": 0,
        "kind": "point",
        "x": x,
        "y": y,
        "label": 1,
        **dict.fromkeys(("x0", "y0", "x1", "y1")),
    }


ROWS = [
    *list_pieces(1, "scribble", [(10, 10), (14, 11), (18, 15)]),
    point(2, 12, 12),
    *list_pieces(3, "lasso", [(5, 5), (30, 5), (30, 30)], label=0, index=1),
]


def write_prompts(path: Path, tiny: Path, rows: list[dict[str, Any]]) -> Path:
    masks = open_benchmark(tiny).masks["mask_id"]
    table = [{"mask_id": mask, "level": "clear", "seed": 0, **row} for mask in masks for row in rows]
    pd.DataFrame(table).astype({"label": "Int32", "step": "int32", "index": "int32"}).to_parquet(path)
    return path


class Watching:
    name, version = "watching", "1"
    capabilities = frozenset({"points", "negative_points", "box", "scribbles", "lassos"})

    def __init__(self) -> None:
        self.seen: list[Prompts] = []

    def encode(self, images: Any) -> Any:
        return [image.shape[:2] for image in images]

    def predict(self, embeddings: Any, image_index: Any, prompts: Any, state: Any) -> Any:
        self.seen += prompts
        return np.full((len(prompts), *embeddings[0]), -1.0, np.float32)


def test_rows_become_strokes_and_a_dot_is_one_point() -> None:
    given = prompts_from_rows([*ROWS, *list_pieces(4, "scribble", [(7, 8), (7, 8)], index=2)])
    assert [(one.kind, one.label) for one in given.strokes] == [("scribble", 1), ("lasso", 0), ("scribble", 1)]
    assert given.strokes[0].path.tolist() == [[10, 10], [14, 11], [18, 15]]
    assert given.strokes[2].path.tolist() == [[7, 8]]
    assert given.points.tolist() == [[12, 12]] and given.box is None
    assert [one.kind for one in prompts_from_rows(ROWS, 2).strokes] == ["scribble"]
    torn = list_pieces(1, "scribble", [(1, 1), (2, 2)]) + list_pieces(1, "scribble", [(5, 5), (6, 6)])
    with pytest.raises(DataError, match="should go on at"):
        prompts_from_rows(torn)


def test_a_run_gives_them_step_by_step_and_writes_them_again(tiny: Path, tmp_path: Path) -> None:
    file, model = write_prompts(tmp_path / "given.parquet", tiny, ROWS), Watching()
    run = harness.open_run(harness.evaluate(model, tiny, tmp_path / "run", levels=("clear",), prompts=file).path)
    assert set(run.steps["status"]) == {"ok"} and set(run.steps["prompt_kind"]) == {"scribble", "points"}
    by_step = {given.step: given for given in model.seen}
    assert [len(by_step[step].strokes) for step in (1, 2, 3)] == [1, 1, 2]
    assert [len(by_step[step].points) for step in (1, 2, 3)] == [0, 1, 1]
    written = pd.read_parquet(tmp_path / "run" / "prompts.parquet")
    one = written[written["mask_id"] == written["mask_id"].iloc[0]]
    assert prompts_from_rows(one.to_dict("records")).strokes[1].path.tolist() == [[5, 5], [30, 5], [30, 30]]
    again = Watching()
    harness.evaluate(again, tiny, tmp_path / "again", levels=("clear",), prompts=tmp_path / "run" / "prompts.parquet")
    assert [given.points.tolist() for given in again.seen] == [given.points.tolist() for given in model.seen]


@pytest.mark.parametrize("name", ["watershed", "geodesic", "random-walker"])
def test_classical_models_take_them(name: str) -> None:
    rows, columns = np.mgrid[:60, :80]
    image = np.repeat(
        (40 + 150 * ((columns - 40) ** 2 + (rows - 30) ** 2 < 200)).astype(np.uint8)[..., None], 3, axis=2
    )
    model = load_model(name)
    scribble = Stroke("scribble", np.array([[36, 28], [44, 31]], np.float32), 1)
    lasso = Stroke("lasso", np.array([[24, 14], [56, 14], [56, 46], [24, 46]], np.float32), 1)
    for stroke in (scribble, lasso):
        answer = model.predict(model.encode([image]), [0], [Prompts(*NOTHING, None, 1, (stroke,))], [None])  # type: ignore[union-attr]
        mask = np.asarray(answer.logits)[0] > 0
        assert mask[30, 40] and not mask[2, 2], stroke.kind
    around = np.ones((60, 80), bool)
    around[14:47, 24:57] = False
    assert not (mask & around).any()


def test_models_that_do_not_take_them_say_so(tiny: Path, tmp_path: Path) -> None:
    file = write_prompts(tmp_path / "given.parquet", tiny, ROWS)
    with pytest.raises(UsageError, match='lassos and scribbles; model "disk" takes none'):
        harness.evaluate("disk", tiny, tmp_path / "run", levels=("clear",), prompts=file)
    assert not (tmp_path / "run").exists()
    (tmp_path / "plain.py").write_text(
        "def plain(image, points, labels, box, previous):\n    return image[..., 0] - 9.0\n"
    )
    model: Any = load_model(f"{tmp_path / 'plain.py'}:plain")
    stroke = Stroke("scribble", np.array([[3, 4]], np.float32), 1)
    with pytest.raises(ModelError, match="takes no scribbles"):
        model.predict(
            model.encode([np.zeros((9, 9, 3), np.uint8)]), [0], [Prompts(*NOTHING, None, 1, (stroke,))], [None]
        )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (list_pieces(1, "lasso", [(5, 5), (9, 9)]), "a lasso of 2 points"),
        (list_pieces(1, "scribble", [(5, 5), (900, 9)]), "outside of the image"),
        (list_pieces(1, "scribble", [(5, 5), (9, 9)], label=3), "label 3"),
        (list_pieces(1, "doodle", [(5, 5), (9, 9)]), "one of box, lasso, point, scribble"),
        ([*ROWS, *list_pieces(2, "scribble", [(5, 5), (9, 9)])], "one point or one stroke at most"),
    ],
)
def test_strokes_that_are_none_are_refused(tiny: Path, tmp_path: Path, rows: list[Any], message: str) -> None:
    file = write_prompts(tmp_path / "given.parquet", tiny, rows)
    with pytest.raises(DataError, match=message):
        harness.evaluate(Watching(), tiny, tmp_path / "run", levels=("clear",), prompts=file)


def test_they_cross_a_bridge(tmp_path: Path) -> None:
    (tmp_path / "drawn.py").write_text(
        "import numpy as np\n"
        "class Drawn:\n"
        "    name, version, capabilities = 'drawn', '1', ['scribbles', 'points']\n"
        "    def encode(self, images):\n"
        "        return [image.shape[:2] for image in images]\n"
        "    def predict(self, embeddings, image_index, prompts, state):\n"
        "        logits = np.full((1, *embeddings[0]), -1.0, np.float32)\n"
        "        for x, y in prompts[0].strokes[0].path.astype(int):\n"
        "            logits[0, y, x] = prompts[0].strokes[0].label\n"
        "        return logits\n"
    )
    (tmp_path / "drawn.toml").write_text(f'model = "drawn.py:Drawn"\npython = "{sys.executable}"\n')
    model: Any = load_model(f"bridge:{tmp_path / 'drawn.toml'}")
    stroke = Stroke("scribble", np.array([[3, 4], [6, 2]], np.float32), 1)
    answer = model.predict(
        model.encode([np.zeros((9, 9, 3), np.uint8)]), [0], [Prompts(*NOTHING, None, 1, (stroke,))], [None]
    )
    assert np.argwhere(np.asarray(answer.logits)[0] > 0).tolist() == [[2, 6], [4, 3]]
