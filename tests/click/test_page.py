"""The page in a real browser: clicks, box, undo, level, two models, keys, saving; and recorded answers."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("starlette", reason="the extra click is not installed")
pytest.importorskip("uvicorn", reason="the extra click is not installed")
from axe import find_violations
from browser import open_address, open_page

from dmseg import harness, imaging, simulators
from dmseg.click import Answerer, gallery_of_benchmark, gallery_of_file, write_recorded_page
from dmseg.click.server import build_app, serve
from dmseg.click.views import ImageGallery
from dmseg.errors import UsageError
from dmseg.results import open_run
from dmseg.types import Window

pytestmark = pytest.mark.browser


@contextmanager
def serve_page(gallery, models, out, shown):
    """Yield the address of a running page; its thread ends with the tests."""
    app, token = build_app(gallery, models, out, shown)
    told, ready = [], threading.Event()

    def announce(address):
        told.append(address)
        ready.set()

    threading.Thread(target=serve, args=(app, token, 0, announce), daemon=True).start()
    assert ready.wait(20)
    yield told[0]


@contextmanager
def visit(address, **look):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with open_address(address, **look) as (page, events):
        sync_api.expect(page.locator("#status")).to_contain_text("Click on the object", timeout=30000)
        yield page, events, sync_api.expect


def click_at(page, x, y, which=0, **how):
    """Click the pixel (x, y) of the 64 x 48 images."""
    stage = page.locator(".stage").nth(which)
    box = stage.bounding_box()
    scale = min(box["width"] / 64, box["height"] / 48)
    left, top = (box["width"] - 64 * scale) / 2, (box["height"] - 48 * scale) / 2
    stage.click(position={"x": left + (x + 0.5) * scale, "y": top + (y + 0.5) * scale}, **how)


def test_clicks_box_undo_levels_two_models_and_saving(gallery, models, tmp_path):
    with (
        serve_page(gallery, models, tmp_path / "clicks", ["disk", "watershed"]) as address,
        visit(address) as (page, events, expect),
    ):
        status = page.locator("#status")
        expect(page.locator(".stage")).to_have_count(2)
        click_at(page, 20, 20)
        expect(status).to_contain_text(re.compile("After 1 prompt: disk: Dice .*; watershed: Dice"))
        click_at(page, 48, 30, which=1, button="right")
        expect(status).to_contain_text("After 2 prompts")
        page.keyboard.press("z")
        expect(status).to_contain_text("After 1 prompt:")
        expect(page.locator("#box")).to_be_disabled()
        page.locator("#level").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#levelname")).to_have_text("LQ-1")
        expect(status).to_contain_text("After 1 prompt")
        page.keyboard.press("s")
        expect(page.locator("#saved")).to_contain_text("prompts.parquet")
        rows = pd.read_parquet(tmp_path / "clicks" / "prompts.parquet")
        assert rows[["level", "step", "x", "y", "label"]].values.tolist() == [["lq1", 1, 20, 20, 1]]
        page.keyboard.press("r")
        expect(status).to_contain_text("Click on the object")
        page.keyboard.press("b")
        box = page.locator(".stage").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.3)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.6, steps=4)
        page.mouse.up()
        expect(status).to_contain_text("After 1 prompt")
        assert events == []


def test_masks_saved_on_the_page_are_those_of_a_replay(gallery, models, tiny, tmp_path):
    out = tmp_path / "clicks"
    with serve_page(gallery, models, out, ["watershed"]) as address, visit(address) as (page, events, expect):
        status, objects = page.locator("#status"), page.locator("#object option")
        for image in page.locator("#image option").evaluate_all("all => all.map(one => one.value)"):
            page.locator("#image").select_option(image)
            for mask_id in filter(None, objects.evaluate_all("all => all.map(one => one.value)")):
                page.locator("#object").select_option(mask_id)
                expect(status).to_contain_text("Click on the object")
                for step, (x, y) in enumerate(((20, 20), (31, 24)), 1):
                    click_at(page, x, y)
                    expect(status).to_contain_text(f"After {step} prompt")
                page.locator("#save").click()
                expect(page.locator("#saved")).to_contain_text(mask_id)
        assert events == []
    harness.evaluate(
        "watershed", tiny, tmp_path / "run", levels=["clear"], splits=["train", "seen", "unseen"],
        prompts=out / "prompts.parquet",
    )  # fmt: skip
    last = open_run(tmp_path / "run").steps.query("step == 2").set_index("mask_id")["pred_area"]
    saved = {path.name.split(".")[0]: imaging.read_mask(path).sum() for path in (out / "masks").glob("*.png")}
    assert len(saved) == len(last) > 1 and saved == last.to_dict()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("light", 400)])
def test_no_serious_accessibility_violation(gallery, models, tmp_path, scheme, width):
    with (
        serve_page(gallery, models, tmp_path, ["disk", "watershed"]) as address,
        visit(address, scheme=scheme, width=width) as (page, _, expect),
    ):
        click_at(page, 20, 20)
        expect(page.locator("#status")).to_contain_text("After 1 prompt")
        page.locator("#operations summary").click()
        page.locator(".help summary").click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert find_violations(page) == []


def test_the_keyboard_alone_is_enough(gallery, models, tmp_path):
    with serve_page(gallery, models, tmp_path, ["disk"]) as address, visit(address) as (page, events, expect):
        page.locator(".stage").focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_contain_text("After 1 prompt")
        page.keyboard.press("n")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_contain_text("After 2 prompts")
        page.keyboard.press("4")
        expect(page.locator("#levelname")).to_have_text("LQ-3")
        assert events == []


def test_touch_on_a_narrow_dark_screen(gallery, models, tmp_path):
    with (
        serve_page(gallery, models, tmp_path, ["disk"]) as address,
        visit(address, width=400, height=800, has_touch=True, scheme="dark") as (page, events, expect),
    ):
        page.locator(".stage").tap()
        expect(page.locator("#status")).to_contain_text("After 1 prompt")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert events == []


def test_single_degradations_are_switched(gallery, models, tmp_path):
    with serve_page(gallery, models, tmp_path, ["disk"]) as address, visit(address) as (page, events, expect):
        page.locator("#operations summary").click()
        page.get_by_label("gaussian noise").check()
        expect(page.locator("#levelname")).to_have_text("Clear, then")
        expect(page.locator("#status")).to_contain_text("Click on the object")
        assert events == []


def test_a_page_of_phantoms_says_so(tiny, models, tmp_path, gallery):
    drawn = ImageGallery("phantoms", gallery.entries, synthetic=True)
    with serve_page(drawn, models, tmp_path, ["disk"]) as address, visit(address) as (page, _, expect):
        expect(page.locator("#banner")).to_contain_text("Synthetic images")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_recorded_answers_need_no_server(tiny, models, tmp_path, scheme):
    from dmseg import build

    gallery = gallery_of_benchmark(build.open_benchmark(tiny), limit=1)
    write_recorded_page(Answerer(gallery, models), tmp_path / "page.html", steps=3)
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with open_page(tmp_path / "page.html", scheme=scheme) as (page, events):
        for step in (1, 2, 3):
            page.locator("#next").click()
            sync_api.expect(page.locator("#status")).to_contain_text(f"After {step} prompt")
        sync_api.expect(page.locator("#next")).to_be_disabled()
        page.locator("#level").focus()
        page.keyboard.press("ArrowRight")
        sync_api.expect(page.locator("#status")).to_contain_text("After 3 prompts")
        sync_api.expect(page.locator("#banner")).to_contain_text("simulated user")
        assert events == []


def test_own_files_are_shown_in_their_window(tmp_path, monkeypatch):
    nibabel = pytest.importorskip("nibabel")
    hounsfield = np.full((6, 40, 50), -1000, np.int16)
    hounsfield[:, 10:30, 12:34] = 60
    spacing = np.diag([1.0, 1.0, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(hounsfield.transpose(2, 1, 0), spacing), tmp_path / "ct.nii.gz")
    nibabel.save(
        nibabel.Nifti1Image((hounsfield.transpose(2, 1, 0) > 0).astype(np.uint8), spacing), tmp_path / "label.nii.gz"
    )
    gallery = gallery_of_file(tmp_path / "ct.nii.gz", "ct", reference=tmp_path / "label.nii.gz", slice_index=2)
    (entry,) = gallery.entries
    assert entry.image_id == "ct_z002" and (entry.height, entry.width) == (40, 50)
    clear = entry.read_level("clear")
    (mask_id,) = entry.masks
    mask = gallery.reference(entry.image_id, mask_id)
    assert clear.dtype == np.uint8 and clear[~mask].max() == 0 and clear[mask].min() > 100
    plan, windows = simulators.plan, []
    monkeypatch.setattr(simulators, "plan", lambda *a, **given: windows.append(given["window"]) or plan(*a, **given))
    lung = Window(-600, 1500)
    for chosen in (None, lung):
        (entry,) = gallery_of_file(tmp_path / "ct.nii.gz", "ct", chosen).entries
        assert entry.image_id == "ct_z003", "the middle one"
        entry.read_level("lq1")
    assert windows == [simulators.default_window("ct"), lung], "what an image is seen through decides how it degrades"
    with pytest.raises(UsageError, match=r"--slice 6: .*has axial slices 0 to 5"):
        gallery_of_file(tmp_path / "ct.nii.gz", "ct", slice_index=6)
    imaging.write_png(tmp_path / "photo.png", np.dstack([clear] * 3))
    colour = gallery_of_file(tmp_path / "photo.png", None)
    assert not colour.entries[0].masks and colour.entries[0].image_id == "photo"
    with pytest.raises(UsageError, match=r"photo\.png holds one image; leave out --slice"):
        gallery_of_file(tmp_path / "photo.png", None, slice_index=0)
