"""The page's other side: right answers for each session, files that replay, one line for every bad request."""

from __future__ import annotations

import concurrent.futures
import json
import types

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette", reason="the extra click is not installed")
from starlette.testclient import TestClient

from dmseg import harness, imaging
from dmseg.click import Answerer, gallery_of_benchmark, read_clicks
from dmseg.click.answers import Prompt
from dmseg.click.messages import run_lengths
from dmseg.click.server import build_app
from dmseg.click.views import ShownView
from dmseg.errors import UsageError
from dmseg.results import open_run

ADDRESS = "http://127.0.0.1:8123"
IMAGE, MASK = "alpha__a1", "alpha__a1__disc__0"


def first_mask(gallery, image_id=IMAGE):
    return next(iter(gallery.entry(image_id).masks))


@pytest.fixture
def page(gallery, models, tmp_path):
    app, token = build_app(gallery, models, tmp_path / "clicks")
    client = TestClient(app, base_url=ADDRESS, headers={"x-token": token}, raise_server_exceptions=False)
    client.token, client.out = token, tmp_path / "clicks"
    return client


def message(*prompts, image_id=IMAGE, level="clear", model="disk", **more):
    view = {"image_id": image_id, "level": level, "operations": more.pop("operations", [])}
    return {"view": view, "model": model, "prompts": [*prompts], **more}


def point(x, y, label=1):
    return {"kind": "point", "values": [x, y, label]}


def test_the_gallery_lists_images_objects_levels_and_models(page, gallery):
    told = page.get("/gallery").json()
    assert [image["image_id"] for image in told["images"]] == [entry.image_id for entry in gallery.entries]
    assert [level["label"] for level in told["levels"]] == ["Clear", "LQ-1", "LQ-2", "LQ-3", "LQ-3+"]
    assert [model["name"] for model in told["models"]] == ["disk", "watershed"]


def test_a_limit_takes_the_images_that_an_evaluation_with_it_takes():
    images = pd.DataFrame(
        [
            (f"{dataset}__{k}", dataset, split, "ct", 8, 8)
            for dataset in "ab"
            for k, split in enumerate(("train", "seen"))
        ],
        columns=["image_id", "dataset", "split", "modality", "height", "width"],
    )
    masks = pd.DataFrame({"mask_id": images["image_id"] + "__m", "image_id": images["image_id"], "evaluate": True})
    masks["structure"] = "m"
    benchmark = types.SimpleNamespace(
        images=images, masks=masks, info={"edition": "x", "version": "1"}, image=str, mask=str
    )
    assert [entry.image_id for entry in gallery_of_benchmark(benchmark, 1).entries] == ["a__1", "b__1"]
    assert [entry.image_id for entry in gallery_of_benchmark(benchmark, 2).entries] == ["a__0", "a__1", "b__0", "b__1"]


def test_a_view_is_the_image_of_the_benchmark(page, gallery):
    sent = page.post("/image", json=message(level="lq2"))
    assert sent.headers["content-type"] == "image/png"
    import cv2

    pixels = cv2.imdecode(np.frombuffer(sent.content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(pixels, gallery.pixels(ShownView(IMAGE, "lq2")))


def test_single_degradations_change_the_view(page):
    plain = page.post("/image", json=message()).content
    blurred = page.post("/image", json=message(operations=["gaussian_blur"])).content
    assert plain != blurred
    assert page.post("/image", json=message(operations=["gaussian_blur"])).content == blurred


def test_an_answer_is_the_models_own_after_all_prompts(page, gallery, models):
    prompts = [point(20, 20), point(48, 30, 0), point(22, 24)]
    told = page.post("/answer", json=message(*prompts, model="watershed", mask_id=first_mask(gallery))).json()
    fresh = Answerer(gallery, models).answer(
        "watershed",
        ShownView(IMAGE),
        [Prompt("point", (20, 20, 1)), Prompt("point", (48, 30, 0)), Prompt("point", (22, 24, 1))],
    )
    assert told["runs"] == run_lengths(fresh.mask)
    assert told["area"] == fresh.mask.sum()
    assert 0 < told["dice"] <= 1 and 0 <= told["nsd_2"] <= 1


def test_undo_is_the_shorter_list_of_prompts(page):
    one = page.post("/answer", json=message(point(20, 20))).json()["runs"]
    page.post("/answer", json=message(point(20, 20), point(40, 30)))
    assert page.post("/answer", json=message(point(20, 20))).json()["runs"] == one


def test_ten_sessions_at_once_get_their_own_answers(gallery, models, tmp_path):
    app, token = build_app(gallery, models, tmp_path)
    entries = gallery.entries

    def click(session):
        entry = entries[session % len(entries)]
        client = TestClient(app, base_url=ADDRESS, headers={"x-token": token})
        given, found = [], []
        for step in range(4):
            given.append(point((7 + 5 * session + 9 * step) % entry.width, (5 + 3 * session + 7 * step) % entry.height))
            sent = message(*given, image_id=entry.image_id, model=("disk", "watershed")[session % 2])
            found.append(client.post("/answer", json=sent).json()["runs"])
        return found

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        together = list(pool.map(click, range(10)))
    assert together == [click(session) for session in range(10)]


def test_saved_clicks_replay_to_the_same_masks(page, gallery, tiny, tmp_path):
    mask_id = first_mask(gallery)
    prompts = [point(20, 20), point(30, 20), point(48, 30, 0), point(18, 25), point(24, 16)]
    kept = page.post(
        "/save", json=message(*prompts, level="lq1", mask_id=mask_id, seconds=[1, 2, 3, 4, 5.5], alias="Ada")
    )
    assert kept.status_code == 200, kept.json()
    (recorded,) = read_clicks(page.out)
    assert (recorded.alias, recorded.seconds[-1], recorded.view.level) == ("Ada", 5.5, "lq1")
    rows = pd.read_parquet(page.out / "prompts.parquet")
    assert rows["step"].tolist() == [1, 2, 3, 4, 5]
    # what a replay needs of the others: any first click
    for other in (one for entry in gallery.entries for one in entry.masks if one != mask_id):
        page.post(
            "/save",
            json=message(point(5, 5), image_id=other.rsplit("__", 2)[0], level="lq1", mask_id=other, seconds=[0]),
        )
    harness.evaluate(
        "disk", tiny, tmp_path / "run", levels=["lq1"], splits=["train", "seen", "unseen"],
        prompts=page.out / "prompts.parquet", keep_predictions=True,
    )  # fmt: skip
    steps = open_run(tmp_path / "run").steps.query("mask_id == @mask_id and step == 5")
    mask = imaging.read_mask(page.out / "masks" / f"{mask_id}.lq1.disk.png")
    assert steps["pred_area"].item() == mask.sum()
    told = page.post("/answer", json=message(*prompts, level="lq1", mask_id=mask_id)).json()
    assert steps["dice"].item() == pytest.approx(told["dice"], abs=1e-4)


def test_a_box_comes_first_and_is_replayed(page, gallery):
    mask_id = first_mask(gallery)
    box = {"kind": "box", "values": [10, 10, 30, 30]}
    assert page.post("/answer", json=message(box, point(20, 20))).status_code == 200
    page.post("/save", json=message(box, point(20, 20), mask_id=mask_id, seconds=[0, 1]))
    rows = pd.read_parquet(page.out / "prompts.parquet")
    assert rows["kind"].tolist() == ["box", "point"]
    refused = page.post("/answer", json=message(point(20, 20), box))
    assert refused.status_code == 400 and "first prompt" in refused.json()["error"]


def test_single_degradations_are_kept_but_not_replayed(page, gallery):
    sent = message(point(20, 20), operations=["gamma"], mask_id=first_mask(gallery), seconds=[0])
    assert page.post("/save", json=sent).status_code == 200
    assert len(read_clicks(page.out)) == 1
    assert len(pd.read_parquet(page.out / "prompts.parquet")) == 0


@pytest.mark.parametrize(
    "sent",
    [
        message(),
        message(point(-1, 5)),
        message(point(5, 1e9)),
        message(point(5, 5, 2)),
        message(point(5, 5, 0)),
        message(point(5, 5), image_id="nobody"),
        message(point(5, 5), image_id="../../etc/passwd"),
        message(point(5, 5), level="lq9"),
        message(point(5, 5), model="nobody"),
        message(point(5, 5), mask_id="nobody"),
        message(point(5, 5), operations=["no_such"]),
        message(point(5, 5), operations=["gamma"], level="lq1"),
        message({"kind": "point", "values": ["5", 5, 1]}),
        message({"kind": "scribble", "values": [1, 2, 3]}),
        message(*[point(5, 5)] * 101),
        {"view": 3, "prompts": []},
        [],
        "text",
    ],
)
@pytest.mark.parametrize("path", ["/answer", "/save"])
def test_a_bad_request_is_one_line(page, path, sent):
    refused = page.post(path, json=sent)
    assert refused.status_code == 400
    assert 5 < len(refused.json()["error"]) < 600 and "Traceback" not in refused.text
    assert not page.out.exists()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"view": NaN}'])
def test_what_is_no_json_is_refused(page, body):
    assert page.post("/answer", content=body).status_code == 400


def test_long_messages_are_refused(page):
    assert page.post("/answer", content=b" " * 70000).status_code == 413


@pytest.mark.parametrize("alias", ["x" * 41, "<script>", "../up", "=SUM(A1)"])
def test_an_alias_is_a_plain_name(page, alias, gallery):
    sent = message(point(20, 20), mask_id=first_mask(gallery), seconds=[0], alias=alias)
    assert page.post("/save", json=sent).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"x-token": "wrong"},
        {"x-token": ""},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8123"},
    ],
)
def test_other_origins_hosts_and_missing_tokens_are_refused(page, headers):
    for refused in (
        page.get("/gallery", headers=headers),
        page.post("/answer", json=message(point(5, 5)), headers=headers),
    ):
        assert refused.status_code == 403


def test_the_page_itself_needs_the_token(page):
    page.headers.pop("x-token")
    assert page.get("/").status_code == 403
    shown = page.get("/", params={"token": page.token})
    assert shown.status_code == 200 and "connect-src 'self'" in shown.text


def test_unknown_places_and_methods_are_refused(page):
    assert page.get("/nobody").status_code == 404
    assert page.get("/answer").status_code == 405


def test_a_model_that_fails_is_named(gallery, tmp_path):
    class Broken:
        name, capabilities = "broken", frozenset({"points", "box"})

        def encode(self, images):
            return list(images)

        def predict(self, *given):
            raise RuntimeError("no tensor\nsecond line")

    app, token = build_app(gallery, {"broken": Broken()}, tmp_path)
    client = TestClient(app, base_url=ADDRESS, headers={"x-token": token})
    told = client.post("/answer", json=message(point(5, 5), model="broken"))
    assert told.status_code == 422
    assert told.json()["error"] == 'model "broken": RuntimeError: no tensor'


def test_self_tests_are_no_models_for_people(gallery):
    from dmseg import load_model

    with pytest.raises(UsageError, match="self-test"):
        Answerer(gallery, {"oracle": load_model("oracle")})


def test_run_lengths_give_the_mask_back():
    rng = np.random.default_rng(0)
    for mask in (rng.random((13, 17)) < 0.5, np.ones((3, 4), bool), np.zeros((3, 4), bool)):
        runs, flat = run_lengths(mask), []
        for place, length in enumerate(runs):
            flat += [place % 2 == 1] * length
        assert np.array_equal(np.array(flat).reshape(mask.shape), mask)
        json.dumps(runs)
