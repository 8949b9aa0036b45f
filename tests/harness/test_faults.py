"""What a model does wrong costs its own rows, which are counted; what a user does wrong is one message."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_benchmark import HEIGHT, WIDTH, write_tiny_benchmark

from dmseg import build, harness
from dmseg.baselines import Prediction, load_model
from dmseg.errors import DataError, ModelError, UsageError
from dmseg.harness.calling import Answer, CallFailure, GuardedModel, Question
from dmseg.types import Prompts

METRICS = ["iou", "dice", "pixel_accuracy", "nsd_1", "nsd_2", "nsd_3", "nsd_5"]
VICTIM_POINTS = 3


class WilfulDisk:
    """The disk model, and on top of it whatever a test makes it do wrong."""

    name = "disk-with-a-fault"
    version = "1"
    capabilities = frozenset({"points", "negative_points", "box", "batched_prompts"})

    def __init__(self, fault):
        self._disk, self._fault = load_model("disk"), fault
        self.encoded: list[int] = []

    def encode(self, images):
        self.encoded.append(len(images))
        return self._disk.encode(images)

    def predict(self, embeddings, image_index, prompts, state):
        prediction = self._disk.predict(embeddings, image_index, prompts, state)
        return self._fault(prediction, prompts) or prediction


def hit(prompts):
    """Which masks of a call are the victims: those whose prompts have three foreground points."""
    return [place for place, given in enumerate(prompts) if (given.labels == 1).sum() == VICTIM_POINTS]


def raises(prediction, prompts):
    if hit(prompts):
        raise RuntimeError("no tensor for you\nsecond line")


def gives_nan(prediction, prompts):
    for place in hit(prompts):
        prediction.logits[place, 3, 4] = np.nan


def wrong_shape(prediction, prompts):
    return Prediction(prediction.logits[:, 1:]) if hit(prompts) else None


def too_few(prediction, prompts):
    return Prediction(prediction.logits[:-1]) if hit(prompts) else None


def no_logits(prediction, prompts):
    return {"masks": 1} if hit(prompts) else None


def wrong_dtype(prediction, prompts):
    return Prediction(prediction.logits.astype(str)) if hit(prompts) else None


def states_missing(prediction, prompts):
    return Prediction(prediction.logits, state=[]) if hit(prompts) else None


def leaves(prediction, prompts):
    if hit(prompts):
        raise SystemExit(3)


def out_of_memory(prediction, prompts):
    if hit(prompts):
        raise MemoryError("cannot allocate")


def hangs(prediction, prompts):
    if hit(prompts):
        try:
            time.sleep(30)
        except Exception:
            return


FAULTS = {
    raises: ("error", "RuntimeError: no tensor for you"),
    gives_nan: ("error", "NaN in the logits"),
    wrong_shape: ("error", f"logits of shape (1, {HEIGHT - 1}, {WIDTH}); expected (1, {HEIGHT}, {WIDTH}): masks, rows"),
    too_few: ("error", "logits of shape (0,"),
    no_logits: ("error", "predict returned a mapping with masks; return Prediction"),
    wrong_dtype: ("error", "logits of dtype <U"),
    states_missing: ("error", "0 states for 1 masks"),
    leaves: ("error", "SystemExit: 3"),
    out_of_memory: ("oom", "MemoryError: cannot allocate"),
    hangs: ("timeout", "no answer within 0.1 s"),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_tiny_benchmark(tmp_path_factory.mktemp("benchmark") / "small", levels=("clear", "lq3"))


@pytest.fixture(scope="module")
def sound(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "run"
    harness.evaluate(WilfulDisk(lambda *given: None), small, folder)
    return harness.open_run(folder).steps


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_costs_its_own_rows_only(fault, small, sound, tmp_path):
    summary = harness.evaluate(WilfulDisk(fault), small, tmp_path / "run", timeout=0.1 if fault is hangs else None)
    steps = harness.open_run(tmp_path / "run").steps
    status, message = FAULTS[fault]

    bad = steps[steps["status"] != "ok"]
    assert set(bad["status"]) == {status} and bad["error"].str.startswith(message).all()
    assert (bad[METRICS] == 0).all(axis=None) and not bad["hd95_defined"].any()
    assert np.allclose(bad["hd95"], math.hypot(HEIGHT, WIDTH))
    assert bad["pred_area"].isna().all() and bad["pred_digest"].isna().all()

    key = ["mask_id", "level", "step"]
    keyed, expected = steps.set_index(key).sort_index(), sound.set_index(key).sort_index()
    first = bad.groupby(["mask_id", "level"])["step"].min()
    for (mask_id, level), step in first.items():
        assert (keyed.loc[(mask_id, level)].loc[step:, "status"] == status).all()
        assert expected.loc[(mask_id, level, step), "points_pos"] == VICTIM_POINTS
        assert keyed.loc[(mask_id, level)].loc[step + 1 :, "new_x"].isna().all()
    good = keyed.index[keyed["status"] == "ok"]
    one, other = (frame.loc[good].drop(columns="error") for frame in (keyed, expected))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)
    assert keyed.loc[good, "error"].isna().all()
    victims = sound[sound["points_pos"] == VICTIM_POINTS].groupby(["mask_id", "level"])["step"].min()
    assert first.equals(victims)

    assert summary.exit_code == 1 and summary.n_errors == len(bad)
    assert harness.open_run(tmp_path / "run").info["n_errors"] == len(bad)


def test_pictures_are_encoded_once_per_image_and_level(small, tmp_path):
    model = WilfulDisk(lambda *given: None)
    harness.evaluate(model, small, tmp_path / "run")
    assert model.encoded == [1] * (5 * 2)
    batched = WilfulDisk(lambda *given: None)
    harness.evaluate(batched, small, tmp_path / "batched", batch_images=4)
    assert batched.encoded == [4, 4, 2]
    assert harness.open_run(tmp_path / "batched").steps.equals(harness.open_run(tmp_path / "run").steps)


def test_a_model_that_cannot_encode_has_rows_for_every_object(small, tmp_path):
    class Blind(WilfulDisk):
        def encode(self, images):
            if any(image[-1, -1, 0] < 55 for image in images):
                raise ValueError("too dark")
            return super().encode(images)

    harness.evaluate(Blind(lambda *given: None), small, tmp_path / "run", batch_images=10)
    opened = harness.open_run(tmp_path / "run")
    assert set(opened.steps[opened.steps["status"] == "error"]["level"]) == {"lq3"}
    assert (opened.steps[opened.steps["level"] == "clear"]["status"] == "ok").all()
    assert set(opened.prompts[opened.prompts["level"] == "lq3"]["step"]) == {1}


def test_a_model_that_paints_over_what_it_is_given_changes_nothing_for_others(small, sound, tmp_path):
    class ImageVandal(WilfulDisk):
        def encode(self, images):
            embeddings = super().encode(images)
            for image in images:
                image[:] = 0
            return embeddings

        def predict(self, embeddings, image_index, prompts, state):
            prediction = super().predict(embeddings, image_index, prompts, state)
            for given in prompts:
                given.points[:] = -1
                given.labels[:] = 0
                if given.box is not None:
                    given.box[:] = 7
            return prediction

    harness.evaluate(ImageVandal(lambda *given: None), small, tmp_path / "run")
    opened = harness.open_run(tmp_path / "run")
    assert opened.steps.equals(sound)
    clear = opened.inputs.set_index(["image_id", "level"])["thumbprint"]
    assert clear[("alpha__a1", "clear")] != bytes(256)


def test_models_see_neither_reference_nor_level(small, tmp_path):
    seen = []

    class Spy(WilfulDisk):
        def encode(self, images):
            seen.extend((image.dtype, image.shape, image.flags.owndata) for image in images)
            return super().encode(images)

        def predict(self, embeddings, image_index, prompts, state):
            assert all(type(given) is Prompts for given in prompts)
            return super().predict(embeddings, image_index, prompts, state)

    harness.evaluate(Spy(lambda *given: None), small, tmp_path / "run", limit=1)
    assert set(seen) == {(np.dtype(np.uint8), (HEIGHT, WIDTH, 3), True)}
    assert (harness.open_run(tmp_path / "run").steps["status"] == "ok").all()


def test_calls_hold_equal_prompt_counts_of_one_image_and_no_more_than_the_chunk(tmp_path):
    discs = tuple((8 + 7 * k, 10 + 4 * k, 4 + k % 3) for k in range(7))
    folder = write_tiny_benchmark(
        tmp_path / "bench", levels=("clear",), pictures=(("alpha", "a", "seen", "p", None, discs),)
    )
    calls = []

    class Counting(WilfulDisk):
        def predict(self, embeddings, image_index, prompts, state):
            calls.append([(len(given.points), given.box is not None, given.step) for given in prompts])
            assert len(embeddings) == 1 and set(image_index) == {0}
            return super().predict(embeddings, image_index, prompts, state)

    harness.evaluate(Counting(lambda *given: None), folder, tmp_path / "run", chunk=2)
    assert all(len(set(call)) == 1 and len(call) <= 2 for call in calls)
    assert any(len(call) == 2 for call in calls)
    assert sum(len(call) for call in calls) == 7 * 5


def test_state_comes_back_to_its_own_mask(small, tmp_path):
    class Remembering(WilfulDisk):
        def predict(self, embeddings, image_index, prompts, state):
            prediction = super().predict(embeddings, image_index, prompts, state)
            for given, before in zip(prompts, state, strict=True):
                assert (before is None) == (given.step == 1)
                assert before is None or np.array_equal(before, given.points[:-1])
            return Prediction(prediction.logits, state=[given.points.copy() for given in prompts])

    assert harness.evaluate(Remembering(lambda *given: None), small, tmp_path / "run").n_errors == 0


def test_out_of_memory_halves_the_batch_and_goes_on():
    largest = 3
    sizes = []

    class Hungry(WilfulDisk):
        def predict(self, embeddings, image_index, prompts, state):
            sizes.append(len(prompts))
            if len(prompts) > largest:
                raise RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")
            return super().predict(embeddings, image_index, prompts, state)

    guarded = GuardedModel(Hungry(lambda *given: None))
    given = Prompts(np.array([[5, 5]], np.float32), np.ones(1, np.int8), None, 1)
    questions = [Question(given, None, np.zeros((12, 14), bool))] * 8
    assert all(isinstance(answer, Answer) for answer in guarded.predict((12, 14), questions))
    assert sizes == [8, 4, 2, 2, 2, 2] and guarded.halvings == 2
    sizes.clear()
    guarded.predict((12, 14), questions)
    assert sizes == [2, 2, 2, 2]


def test_halving_is_recorded_in_the_run(tmp_path):
    class Hungry(WilfulDisk):
        def predict(self, embeddings, image_index, prompts, state):
            if len(prompts) > 1:
                raise MemoryError
            return super().predict(embeddings, image_index, prompts, state)

    discs = tuple((8 + 7 * k, 10 + 4 * k, 4) for k in range(4))
    folder = write_tiny_benchmark(
        tmp_path / "bench", levels=("clear",), pictures=(("alpha", "a", "seen", "p", None, discs),)
    )
    summary = harness.evaluate(Hungry(lambda *given: None), folder, tmp_path / "run", preset="3pos")
    assert summary.n_errors == 0
    assert harness.open_run(tmp_path / "run").info["halved_for_memory"] == 2


def test_a_search_takes_what_failed_as_the_worst(small, tmp_path):
    calls = []

    def fails_once(prediction, prompts):
        calls.append(len(prompts))
        if len(calls) == 2:
            prediction.logits[0, 0, 0] = np.nan

    options = {"preset": "breps-max", "splits": ("unseen",), "limit": 1, "levels": ("clear",)}
    assert harness.evaluate(WilfulDisk(fails_once), small, tmp_path / "max", **options).n_errors == 0
    calls.clear()
    options["preset"] = "breps-min"
    assert harness.evaluate(WilfulDisk(fails_once), small, tmp_path / "min", **options).n_errors == 1


def test_a_damaged_picture_is_rows_too(tmp_path):
    folder = write_tiny_benchmark(tmp_path / "bench", levels=("clear",))
    picture = next(folder.rglob("alpha__a2.png"))
    picture.write_bytes(picture.read_bytes()[:60])
    summary = harness.evaluate("disk", folder, tmp_path / "run")
    opened = harness.open_run(tmp_path / "run")
    assert set(opened.steps[opened.steps["status"] == "error"]["image_id"]) == {"alpha__a2"}
    assert summary.n_errors == 5 and summary.exit_code == 1
    assert opened.inputs.set_index("image_id").loc["alpha__a2", "thumbprint"] is None


def test_a_preset_that_needs_more_than_the_model_takes_is_refused_before_the_run(small, tmp_path):
    class ClickCounter(WilfulDisk):
        capabilities = frozenset({"points", "negative_points"})

    model = ClickCounter(lambda *given: None)
    with pytest.raises(UsageError, match=r'"dmseg" needs box, which model "disk-with-a-fault" does not take.*--preset'):
        harness.evaluate(model, small, tmp_path / "run")
    assert not (tmp_path / "run").exists() and not model.encoded
    assert harness.evaluate(model, small, tmp_path / "run", preset="3pos", limit=1).n_errors == 0


def test_a_plain_function_is_a_model(small, tmp_path):
    def bright(image, points, labels, box, previous):
        return image[..., 0].astype(float) - 120

    assert harness.evaluate(bright, small, tmp_path / "run").n_errors == 0
    opened = harness.open_run(tmp_path / "run")
    assert opened.info["model"]["name"] == "bright" and opened.info["chunk"] == 1
    assert opened.steps[opened.steps["level"] == "clear"]["dice"].mean() > 0.3


def test_a_model_object_cannot_be_sent_to_workers(small, tmp_path):
    with pytest.raises(UsageError, match="name the model"):
        harness.evaluate(WilfulDisk(raises), small, tmp_path / "run", jobs=2)


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"preset": "dmsegg"}, UsageError, 'unknown preset "dmsegg".*did you mean "dmseg"'),
        ({"corrective": "centre"}, UsageError, "unknown corrective rule"),
        ({"splits": ("test",)}, UsageError, 'unknown split "test"'),
        ({"precision": "fp8"}, UsageError, "unknown precision"),
        ({"boundary": "vortex"}, UsageError, "unknown boundary"),
        ({"chunk": 0}, UsageError, "chunk is 0"),
        ({"limit": 0}, UsageError, "limit is 0"),
        ({"timeout": -1.0}, UsageError, "timeout is -1"),
        ({"shard": (3, 2)}, UsageError, "shard 3/2"),
        ({"weights": "x.pth"}, UsageError, "has no weights"),
    ],
)
def test_wrong_choices_are_one_message_and_nothing_is_written(small, tmp_path, choices, error, message):
    with pytest.raises(error, match=message):
        harness.evaluate("disk", small, tmp_path / "run", **choices)
    assert not (tmp_path / "run").exists()


def test_a_benchmark_that_is_none(tmp_path):
    with pytest.raises(DataError):
        harness.evaluate("disk", tmp_path / "absent", tmp_path / "run")


def test_a_manifest_without_masks_cannot_be_scored(tmp_path):
    folder = write_tiny_benchmark(tmp_path / "bench", levels=("clear",))
    masks = pq.read_table(folder / "masks.parquet")
    place = masks.column_names.index("rle")
    pq.write_table(
        masks.set_column(place, masks.schema.field("rle"), pa.nulls(len(masks), pa.string())), folder / "masks.parquet"
    )
    with pytest.raises(DataError, match="masks of alpha, beta are not in this manifest"):
        harness.evaluate("disk", folder, tmp_path / "run")


def test_self_tests_of_users_do_not_get_the_reference(tmp_path, small):
    path = tmp_path / "cheat.py"
    path.write_text("from dmseg.baselines.selftest import Oracle\nclass Mine(Oracle):\n    name = 'mine'\n")
    with pytest.raises(ModelError, match="only those of dmseg"):
        harness.evaluate(f"{path}:Mine", small, tmp_path / "run")


def test_a_failure_has_one_short_line():
    class Verbose(WilfulDisk):
        def encode(self, images):
            raise ValueError("x" * 5000 + "\ny")

    (failure,) = GuardedModel(Verbose(None)).encode([np.zeros((4, 4, 3), np.uint8)])
    assert isinstance(failure, CallFailure) and len(failure.message) == 300 and "\n" not in failure.message


def test_an_opened_benchmark_may_be_given(small, tmp_path):
    assert harness.evaluate("disk", build.open_benchmark(small), tmp_path / "run", limit=1).finished


def test_a_folder_that_cannot_be_written_is_one_message(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file.*the same command goes on"):
        harness.evaluate("disk", small, tmp_path / "file" / "run")
