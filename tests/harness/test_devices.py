"""Work units in flight around one model on a GPU, and which device a process takes; with stand-ins for the GPU."""

from __future__ import annotations

import sys
import threading
import types

import pytest

from dmseg import harness
from dmseg.baselines import Prediction, load_model, registry
from dmseg.errors import UsageError


class OnGpu:
    """The disk model, said to be on a GPU; notes whether two calls ever overlap, and which threads call."""

    name = "disk-on-gpu"
    version = "1"
    device = "cuda:0"
    capabilities = frozenset({"points", "negative_points", "box", "batched_prompts"})

    def __init__(self):
        self._disk, self._inside, self.overlaps = load_model("disk"), threading.Lock(), 0
        self.threads = set()

    def _alone(self, call, *given):
        self.threads.add(threading.get_ident())
        if not self._inside.acquire(blocking=False):
            self.overlaps += 1
            return call(*given)
        try:
            return call(*given)
        finally:
            self._inside.release()

    def encode(self, images):
        return self._alone(self._disk.encode, images)

    def predict(self, *given):
        return self._alone(self._disk.predict, *given)


def test_threads_share_the_model_one_call_at_a_time(tiny, tmp_path):
    model = OnGpu()
    harness.evaluate(model, tiny, tmp_path / "gpu")
    harness.evaluate("disk", tiny, tmp_path / "cpu")
    assert harness.run_digest(tmp_path / "gpu") == harness.run_digest(tmp_path / "cpu")
    assert model.overlaps == 0 and len(model.threads) > 1
    assert harness.open_run(tmp_path / "gpu").info["chunk"] == 32
    assert set(harness.open_run(tmp_path / "gpu").timing["device"]) == {"cuda:0"}


def fake_torch(monkeypatch, n_gpus):
    cuda = types.SimpleNamespace(is_available=lambda: n_gpus > 0, device_count=lambda: n_gpus)
    torch = types.ModuleType("torch")
    torch.cuda = cuda
    torch.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "torch", torch)


@pytest.mark.parametrize(("asked", "n", "taken"), [("auto", 0, "cpu"), ("auto", 2, "cuda"), ("cuda:1", 2, "cuda:1")])
def test_the_device_that_is_taken(monkeypatch, asked, n, taken):
    fake_torch(monkeypatch, n)
    assert registry.resolve_device(asked) == taken


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    fake_torch(monkeypatch, 1)
    with pytest.raises(UsageError, match=r'"cuda:1": torch sees 1 CUDA devices'):
        registry.resolve_device("cuda:1")


def test_a_class_is_given_what_its_constructor_names(tmp_path, monkeypatch):
    path = tmp_path / "m.py"
    path.write_text(
        "from dmseg.baselines.disk import Disk\n"
        "class M(Disk):\n"
        "    def __init__(self, weights=None, device='cpu', precision='fp32', **more):\n"
        "        super().__init__(0.1)\n"
        "        self.given = (weights, device, precision, more)\n"
    )
    fake_torch(monkeypatch, 2)
    model = load_model(f"{path}:M", weights="w.pth", device="cuda:1", precision="bf16", arguments={"x": 1})
    assert model.given == ("w.pth", "cuda:1", "bf16", {"x": 1})


def test_each_process_of_torchrun_takes_its_own_gpu(tiny, tmp_path, monkeypatch):
    fake_torch(monkeypatch, 2)
    for key, value in (("RANK", "1"), ("LOCAL_RANK", "1"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(key, value)
    path = tmp_path / "m.py"
    path.write_text(
        "from dmseg.baselines.disk import Disk\n"
        "class M(Disk):\n"
        "    name = 'm'\n"
        "    def __init__(self, device='cpu'):\n"
        "        super().__init__(0.1)\n"
        "        self.asked = device\n"
    )
    plan = harness.prepare(f"{path}:M", tiny, tmp_path / "run")
    assert plan.model.asked == "cuda:1" and plan.shard == (2, 2)


def test_tensors_are_answers_and_their_nan_is_found(tiny, tmp_path):
    torch = pytest.importorskip("torch")

    class Tensors(OnGpu):
        device = "cpu"

        def predict(self, embeddings, image_index, prompts, state):
            logits = torch.from_numpy(super().predict(embeddings, image_index, prompts, state).logits)
            for place, given in enumerate(prompts):
                if (given.labels == 1).sum() == 3:
                    logits[place, 2, 3] = torch.nan
            return Prediction(logits.requires_grad_())

    harness.evaluate("disk", tiny, tmp_path / "plain", levels=("clear",))
    harness.evaluate(Tensors(), tiny, tmp_path / "run", levels=("clear",))
    plain, found = (harness.open_run(tmp_path / name).steps for name in ("plain", "run"))
    victims = plain[plain["points_pos"] == 3].groupby("mask_id")["step"].min()
    bad = found[found["status"] == "error"]
    assert len(victims) and set(bad["error"]) == {"NaN in the logits"}
    assert bad.groupby("mask_id")["step"].min().equals(victims)
    good = found["status"] == "ok"
    assert found.loc[good, "pred_digest"].equals(plain.loc[good, "pred_digest"])
