"""The self-check finds each bad habit in a model that has it, and none in the models that ship."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dmseg.baselines import FunctionAdapter, Prediction, load_model
from dmseg.harness.selfcheck import FAILED, OK, WARNING, selfcheck


def verdicts(model, **options):
    return {check.name: check.verdict for check in selfcheck(model, **options)}


class PlainDisk:
    name = "disk"
    capabilities = frozenset({"points", "negative_points", "box", "batched_prompts"})

    def __init__(self):
        self._disk = load_model("disk")

    def encode(self, images):
        return self._disk.encode(images)

    def predict(self, embeddings, image_index, prompts, state):
        return self._disk.predict(embeddings, image_index, prompts, state)


@pytest.mark.parametrize("name", ["disk", "watershed", "oracle", "noisy-oracle"])
def test_what_ships_has_no_bad_habit(name):
    found = verdicts(load_model(name))
    assert set(found.values()) == {OK}


def test_the_empty_model_is_found_out():
    assert verdicts(load_model("empty"))["uses points"] == FAILED


class Restless(PlainDisk):
    calls = 0

    def predict(self, *given):
        self.calls += 1
        prediction = super().predict(*given)
        prediction.logits[:, : self.calls % 7] *= -1
        return prediction


class Forgetful(PlainDisk):
    """Keeps the last image it encoded in place of the one it is asked about."""

    def encode(self, images):
        self._last = images[-1].shape[:2]
        self._first = getattr(self, "_first", self._last)
        return super().encode(images)

    def predict(self, embeddings, image_index, prompts, state):
        prediction = super().predict(embeddings, image_index, prompts, state)
        if self._last != self._first:
            prediction.logits[:] = -1
        return prediction


class Crowded(PlainDisk):
    def predict(self, embeddings, image_index, prompts, state):
        prediction = super().predict(embeddings, image_index, prompts, state)
        prediction.logits[:] += 3.0 * (len(prompts) - 1)
        return prediction


class Rounding(PlainDisk):
    """Differs in a pixel or two between batch and single, as reordered float sums do."""

    def predict(self, embeddings, image_index, prompts, state):
        prediction = super().predict(embeddings, image_index, prompts, state)
        prediction.logits[:, 0, 0] = len(prompts) - 1.5
        return prediction


class Deaf(PlainDisk):
    def predict(self, embeddings, image_index, prompts, state):
        logits = np.full((len(prompts), *embeddings[0]), -1.0, dtype=np.float32)
        logits[:, 10:60, 10:60] = 1.0
        return Prediction(logits)


class Vandal(PlainDisk):
    def predict(self, embeddings, image_index, prompts, state):
        prediction = super().predict(embeddings, image_index, prompts, state)
        for given in prompts:
            given.points[:] = 0
        return prediction


class SetImage(PlainDisk):
    """A predictor with set_image: predict answers on the grid of the image that was encoded last."""

    def encode(self, images):
        self._last = list(super().encode(images))[-1]
        return [None] * len(images)

    def predict(self, embeddings, image_index, prompts, state):
        return super().predict([self._last], [0] * len(prompts), prompts, state)


class Contrary(PlainDisk):
    def predict(self, embeddings, image_index, prompts, state):
        prediction = super().predict(embeddings, image_index, prompts, state)
        return Prediction(-prediction.logits)


class Blunt(PlainDisk):
    def predict(self, embeddings, image_index, prompts, state):
        return Prediction((super().predict(embeddings, image_index, prompts, state).logits > 0).astype(np.uint8))


class Timid(PlainDisk):
    def predict(self, embeddings, image_index, prompts, state):
        for given in prompts:
            if len(given.points) and (given.points[0] == 0).all():
                raise ValueError("a click in the corner")
        return super().predict(embeddings, image_index, prompts, state)


@pytest.mark.parametrize(
    ("model", "check", "verdict"),
    [
        (Restless, "determinism", FAILED),
        (Forgetful, "memory", FAILED),
        (SetImage, "two images", FAILED),
        (Crowded, "batch, mask 1", FAILED),
        (Rounding, "batch, mask 1", WARNING),
        (Deaf, "uses points", FAILED),
        (Deaf, "uses box", FAILED),
        (Vandal, "inputs", WARNING),
        (Contrary, "foreground click", WARNING),
        (Contrary, "background click", WARNING),
        (Blunt, "logits", WARNING),
        (Timid, "points at the frame", FAILED),
    ],
)
def test_a_bad_habit_is_found(model, check, verdict):
    assert verdicts(model())[check] == verdict


def test_a_model_that_remembers_an_image_is_told_what_to_do():
    for model in (Forgetful(), SetImage()):
        failed = [check.detail for check in selfcheck(model) if check.verdict == FAILED]
        assert any("embedding, or evaluate with --serial" in detail for detail in failed)


def test_it_stops_where_nothing_more_can_be_said():
    class Broken(PlainDisk):
        def encode(self, images):
            raise OSError("no weights")

    class Mute(PlainDisk):
        def predict(self, *given):
            return None

    class Slow(PlainDisk):
        def predict(self, *given):
            time.sleep(10)

    class Odd(PlainDisk):
        capabilities = frozenset({"points", "telepathy"})

    assert [c.detail for c in selfcheck(Broken())][-1] == "OSError: no weights"
    assert selfcheck(Mute())[-1].name == "answer" and selfcheck(Mute())[-1].verdict == FAILED
    assert "timeout" in selfcheck(Slow(), timeout=0.05)[-1].detail
    assert verdicts(Odd())["capabilities"] == FAILED


def test_a_slow_model_encodes_no_picture_only_to_be_timed(monkeypatch):
    class Counted(PlainDisk):
        pictures = 0

        def encode(self, images):
            self.pictures += len(images)
            return super().encode(images)

    fast, slow = Counted(), Counted()
    verdicts(fast)
    monkeypatch.setattr("dmseg.harness.selfcheck._SLOW_MS", 0.0)
    timed = [check.detail for check in selfcheck(slow) if check.name == "time"]
    # A batch of two, another image, the first one again (this is timed), and one that is not a copy.
    assert (slow.pictures, fast.pictures) == (5, 7)
    assert timed[0].startswith("encode ") and "nan" not in timed[0]


def test_only_what_a_model_takes_is_tried():
    class BoxOnlyDisk(PlainDisk):
        capabilities = frozenset({"box"})

        def predict(self, embeddings, image_index, prompts, state):
            assert all(given.box is not None and len(given.points) == 0 for given in prompts)
            return super().predict(embeddings, image_index, prompts, state)

    found = verdicts(BoxOnlyDisk())
    assert FAILED not in found.values() and "uses points" not in found and found["batch"] == OK


def test_a_plain_function_can_be_checked():
    def bright(image, points, labels, box, previous):
        return image[..., 0].astype(np.float32) - 128

    found = verdicts(FunctionAdapter(bright))
    assert found["determinism"] == OK and found["uses points"] == FAILED
