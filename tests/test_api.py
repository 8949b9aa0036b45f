"""The public names: documented, typed, with examples that run, and with errors that help."""

from __future__ import annotations

import doctest
import importlib
import inspect

import numpy as np
import pytest
from tiny_benchmark import write_tiny_benchmark

import dmseg
from dmseg.errors import DataError, UsageError
from dmseg.types import LEVELS

CLEAR = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))


@pytest.mark.parametrize("module", ["dmseg.api", "dmseg.errors", "dmseg.rng", "dmseg.canonical", "dmseg.metrics"])
def test_examples_run(module: str) -> None:
    loaded = importlib.import_module(module)
    public = (getattr(loaded, name) for name in getattr(loaded, "__all__", ()))
    documented = [loaded, *(thing for thing in public if callable(thing))]
    finder, runner = doctest.DocTestFinder(recurse=True), doctest.DocTestRunner()
    tests = {test.name: test for thing in documented for test in finder.find(thing) if test.examples}
    assert tests, "no example"
    for test in tests.values():
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", [name for name in dmseg.__all__ if name != "__version__"])
def test_public_names_are_documented_with_an_example(name: str) -> None:
    documented = inspect.getdoc(getattr(dmseg, name)) or ""
    assert "Args:" in documented and "Returns:" in documented
    assert ">>>" in documented


def test_dir_lists_the_public_names_and_unknown_ones_are_refused() -> None:
    assert set(dmseg.__all__) <= set(dir(dmseg))
    with pytest.raises(AttributeError, match="no attribute 'degrad'"):
        dmseg.degrad  # noqa: B018


def test_a_dataset_of_two_modalities_needs_one_and_the_error_names_both() -> None:
    with pytest.raises(UsageError, match=r"CHAOS.*ct.*mri"):
        dmseg.plan("x", dataset="CHAOS")
    ct, mri = (dmseg.plan("x", dataset="CHAOS", modality=one, image=CLEAR) for one in ("ct", "mri"))
    assert "ct_ring" in ct.describe("lq3plus") and "bias_field" in mri.describe("lq3plus")


def test_a_dataset_of_one_modality_needs_none() -> None:
    assert dmseg.plan("x", dataset="BUSI").to_json() == dmseg.plan("x", dataset="BUSI", modality="ultrasound").to_json()
    with pytest.raises(UsageError, match="ultrasound"):
        dmseg.plan("x", dataset="BUSI", modality="ct")
    with pytest.raises(UsageError, match='did you mean "Kvasir-SEG"'):
        dmseg.plan("x", dataset="Kvasir")


def test_degrade_is_the_plans_apply_and_keeps_shape_and_type() -> None:
    plan = dmseg.plan("case", modality="mri", image=CLEAR, seed=3)
    for level in LEVELS:
        degraded = dmseg.degrade(CLEAR, level, modality="mri", key="case", seed=3)
        assert np.array_equal(degraded, plan.apply(CLEAR, level))
        assert degraded.shape == CLEAR.shape and degraded.dtype == CLEAR.dtype
    assert np.array_equal(dmseg.degrade(CLEAR, "clear", modality="mri"), CLEAR)
    with pytest.raises(UsageError, match="unknown level"):
        dmseg.degrade(CLEAR, "lq4", modality="mri")


def test_named_operations_replace_the_drawn_ones() -> None:
    blurred = dmseg.degrade(CLEAR, "lq2", ops=["gaussian_blur"], key="k")
    assert blurred.dtype == CLEAR.dtype and not np.array_equal(blurred, CLEAR)


def test_opening_what_is_no_benchmark(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="dmseg build"):
        dmseg.open(tmp_path)


def test_a_model_without_a_choice_of_precision_refuses_one() -> None:
    assert dmseg.load_model("watershed", precision="fp32").name == "watershed"
    with pytest.raises(UsageError, match="no choice of precision; leave out --precision bf16"):
        dmseg.load_model("watershed", precision="bf16")


def test_twelve_bit_samples_look_like_the_same_picture_in_eight_bit() -> None:
    deep = CLEAR.astype(np.uint16) * 16
    degraded = dmseg.degrade(deep, "lq3", key="k", bits=12)
    assert degraded.dtype == np.uint16
    assert degraded.max() <= 4095
    seen = dmseg.degrade(deep.astype(np.float32) / np.float32(4095), "lq3", key="k")
    assert np.abs(degraded / 4095 - seen).max() < 1 / 4000
    for bits, image in ((8, deep), (12, CLEAR.astype(np.float32) / 255), (17, deep)):
        with pytest.raises(UsageError, match="bits"):
            dmseg.degrade(image, "lq3", bits=bits)


def test_a_masked_array_keeps_its_mask_and_what_it_covers() -> None:
    mask = np.zeros(CLEAR.shape, bool)
    mask[:10] = True
    image = np.ma.MaskedArray(np.where(mask, 250, CLEAR).astype(np.uint8), mask=mask, fill_value=250)
    degraded = dmseg.degrade(image, "lq3", ops=["gaussian_blur"], key="k")
    assert isinstance(degraded, np.ma.MaskedArray)
    assert np.array_equal(np.ma.getmaskarray(degraded), mask)
    assert (degraded.data[mask] == 250).all()
    assert degraded.fill_value == 250
    plain = dmseg.degrade(
        np.where(mask, CLEAR[~mask].min(), CLEAR).astype(np.uint8), "lq3", ops=["gaussian_blur"], key="k"
    )
    assert np.array_equal(degraded.data[~mask], plain[~mask])


def test_the_last_level_needs_a_modality_in_python_as_on_the_command_line() -> None:
    with pytest.raises(UsageError, match="modality="):
        dmseg.degrade(CLEAR, "lq3plus", key="k")
    assert dmseg.degrade(CLEAR, "lq3plus", ops=["gamma"], key="k").shape == CLEAR.shape


def test_dir_holds_nothing_but_public_names() -> None:
    assert {"Any", "annotations", "importlib", "TYPE_CHECKING"}.isdisjoint(dir(dmseg))
    for name in dir(dmseg):
        assert getattr(dmseg, name) is not None


def test_plans_and_models_say_what_they_are_in_a_line() -> None:
    plan = dmseg.plan("case", modality="mri", image=CLEAR)
    assert repr(plan).startswith('Plan("case", mri, seed 0') and len(repr(plan)) < 300
    assert "LQ-3+" in plan._repr_html_()
    model = dmseg.load_model("watershed")
    assert repr(model).startswith("<model watershed:") and "&lt;model" in model._repr_html_()  # type: ignore[union-attr]


def test_benchmarks_and_runs_are_looked_at(tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = write_tiny_benchmark(tmp_path / "bench", levels=("clear", "lq3"))
    benchmark = dmseg.open(bench)
    assert "2 levels" in repr(benchmark) and "<table" in benchmark._repr_html_()
    picture = benchmark.show(benchmark.images["image_id"][0])
    assert picture.width > 2 * 192 and picture.mode == "RGB"
    run = dmseg.evaluate("disk", bench, tmp_path / "run")
    assert "disk on" in repr(run) and "<table" in run._repr_html_() and list(run.dice.columns) == ["clear", "lq3"]
    assert run.show_worst(1).width > 2 * 240
    bench.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="benchmark="):
        run.show_worst()
    assert run.show_worst(1, benchmark=tmp_path / "moved").width > 2 * 240
    with pytest.raises(UsageError, match="does not lie"):
        dmseg.show(CLEAR, mask=np.ones((3, 3), dtype=bool))
