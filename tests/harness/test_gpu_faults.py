"""What a GPU makes of a run: preparation beside the network, lack of memory, errors after which nothing answers.

With stand-ins for the GPU.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import types

import numpy as np
import pytest

from dmseg import harness
from dmseg.baselines import load_model
from dmseg.errors import MachineError
from dmseg.harness.calling import Answer, CallFailure, GuardedModel, Question
from dmseg.types import Prompts

ONE_CLICK = Prompts(np.array([[5, 5]], np.float32), np.ones(1, np.int8), None, 1)
QUESTION = Question(ONE_CLICK, None, np.zeros((12, 14), bool))


class Preparing:
    """The disk model, said to be on a GPU, which prepares images apart; notes who is where at the same time."""

    name = "preparing"
    version = "1"
    device = "cuda:0"
    capabilities = frozenset({"points", "negative_points", "box", "batched_prompts"})

    def __init__(self):
        self._disk, self._inside = load_model("disk"), threading.Lock()
        self._working = threading.Event()
        self.overlaps, self.beside = 0, 0

    def prepare(self, image):
        if self._working.wait(0.05):  # another image is at the network now
            self.beside += 1
        return image

    def encode(self, images):
        raise AssertionError("images are prepared apart")

    def encode_prepared(self, prepared):
        return self._alone(self._disk.encode, prepared)

    def predict(self, *given):
        return self._alone(self._disk.predict, *given)

    def _alone(self, call, *given):
        if not self._inside.acquire(blocking=False):
            self.overlaps += 1
            return call(*given)
        self._working.set()
        try:
            time.sleep(0.005)
            return call(*given)
        finally:
            self._working.clear()
            self._inside.release()


def test_images_are_prepared_while_others_are_at_the_network(tiny, tmp_path):
    model = Preparing()
    harness.evaluate(model, tiny, tmp_path / "gpu")
    harness.evaluate("disk", tiny, tmp_path / "cpu")
    assert harness.run_digest(tmp_path / "gpu") == harness.run_digest(tmp_path / "cpu")
    assert model.overlaps == 0 and model.beside > 0


def test_an_image_that_cannot_be_prepared_costs_its_own_masks_only(tiny, tmp_path):
    class Fussy(Preparing):
        def prepare(self, image):
            if image[0, 0, 0] % 2:
                raise ValueError("odd")
            return image

    images = [np.full((12, 14, 3), value, np.uint8) for value in (2, 3, 4)]
    guarded = GuardedModel(Fussy())
    first, failed, third = guarded.encode(images)
    assert isinstance(failed, CallFailure) and failed.message == "ValueError: odd"
    assert not isinstance(first, CallFailure) and not isinstance(third, CallFailure)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 3 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried ...",
    ],
)
def test_every_wording_of_too_little_memory_halves_the_batch(message):
    class Hungry(Preparing):
        def predict(self, embeddings, image_index, prompts, state):
            if len(prompts) > 2:
                raise RuntimeError(message)
            return self._disk.predict(embeddings, image_index, prompts, state)

    guarded = GuardedModel(Hungry())
    answers = guarded.predict((12, 14), [QUESTION] * 4)
    assert all(isinstance(answer, Answer) for answer in answers) and guarded.halvings == 1


def test_too_many_masks_for_the_decoder_do_not_split_batches_of_images():
    sizes = []

    class Hungry(Preparing):
        def encode_prepared(self, prepared):
            sizes.append(len(prepared))
            return self._disk.encode(prepared)

        def predict(self, embeddings, image_index, prompts, state):
            if len(prompts) > 1:
                raise MemoryError
            return self._disk.predict(embeddings, image_index, prompts, state)

    guarded = GuardedModel(Hungry())
    guarded.predict((12, 14), [QUESTION] * 4)
    guarded.encode([np.zeros((12, 14, 3), np.uint8)] * 4)
    assert sizes == [4]


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: device-side assert triggered",
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: unspecified launch failure",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
    ],
)
def test_a_gpu_that_gave_up_ends_the_run_and_makes_no_rows(message, tiny, tmp_path):
    broken = []

    class Lost(Preparing):
        def predict(self, *given):
            broken.append(1)
            if len(broken) > 9:
                raise RuntimeError(f"{message}\nCUDA kernel errors might be asynchronously reported")
            return super().predict(*given)

    with pytest.raises(MachineError, match=r"the GPU gave up during the call .* goes on from where it stopped"):
        harness.evaluate(Lost(), tiny, tmp_path / "run")
    harness.evaluate(Preparing(), tiny, tmp_path / "run")  # the same command goes on, on a sound machine
    assert set(harness.open_run(tmp_path / "run").steps["status"]) == {"ok"}


def test_an_error_of_one_launch_is_that_calls_own():
    class Wrong(Preparing):
        def predict(self, *given):
            raise RuntimeError("CUDA error: invalid configuration argument")

    (answer,) = GuardedModel(Wrong()).predict((12, 14), [QUESTION])
    assert isinstance(answer, CallFailure) and answer.status == "error"


def test_the_gpu_is_waited_for_within_the_call_that_gave_it_work(monkeypatch):
    waits = []
    torch = types.ModuleType("torch")
    torch.cuda = types.SimpleNamespace(is_available=lambda: True, synchronize=waits.append)
    monkeypatch.setitem(sys.modules, "torch", torch)
    guarded = GuardedModel(Preparing())
    (embedding,) = guarded.encode([np.zeros((12, 14, 3), np.uint8)])
    assert waits[-1:] == ["cuda:0"]
    guarded.predict(embedding, [QUESTION])
    assert len(waits) >= 2


MODEL = """
from dmseg.baselines.disk import Disk

class M(Disk):
    name = "m"
    version = "1"

    def __init__(self):
        super().__init__(0.1)
"""


@pytest.mark.parametrize("options", [{"timeout": 20.0}, {"jobs": 2}])
@pytest.mark.slow
def test_the_model_is_not_kept_beside_those_of_the_worker_processes(options, tiny, tmp_path):
    path = tmp_path / "m.py"
    path.write_text(MODEL)
    plan = harness.prepare(f"{path}:M", tiny, tmp_path / "run", **options)
    (module,) = [one for name, one in sys.modules.items() if getattr(one, "__file__", None) == str(path)]
    gc.collect()
    assert [one for one in gc.get_objects() if isinstance(one, module.M)] == []
    assert set(harness.perform(plan).path.iterdir())
