"""Models that never come back, or take their process with them, cost their own rows only."""

from __future__ import annotations

import multiprocessing
import types

import pytest

from dmseg import harness
from dmseg.jobs import limits

MODEL = """
import ctypes, os, signal, time
from dmseg.baselines import load_model

def deaf_sleep(prompts):
    "Hangs in C code that hears no alarm."
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    ctypes.CDLL(None).sleep(60)

def crash(prompts):
    os._exit(11)

def nap(prompts):
    time.sleep(60)

class Model:
    name = "model"
    version = "1"
    capabilities = frozenset({"points", "negative_points", "box", "batched_prompts"})

    def __init__(self, habit=None):
        self._disk, self._habit = load_model("disk"), globals().get(habit)

    def encode(self, images):
        return self._disk.encode(images)

    def predict(self, embeddings, image_index, prompts, state):
        if self._habit and any((given.labels == 1).sum() == 3 and given.step == 1 for given in prompts):
            self._habit(prompts)
        return self._disk.predict(embeddings, image_index, prompts, state)
"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return f"{path}:Model"


def steps(model, tiny, out, **choices):
    harness.evaluate(model, tiny, out, levels=("clear",), splits=("unseen",), **choices)
    return harness.open_run(out).steps.drop(columns="error")


@pytest.mark.parametrize(("habit", "status"), [("nap", "timeout"), ("deaf_sleep", "timeout"), ("crash", "error")])
@pytest.mark.slow
def test_it_costs_its_own_rows(tiny, tmp_path, model, monkeypatch, habit, status):
    monkeypatch.setattr(limits, "GRACE_S", 0.3)
    sound = steps(model, tiny, tmp_path / "sound")
    victims = sound[(sound["step"] == 1) & (sound["points_pos"] == 3)][["mask_id", "level"]]
    assert 0 < len(victims) < 4
    found = steps(model, tiny, tmp_path / "run", timeout=0.3, arguments={"habit": habit})
    bad = found[found["status"] != "ok"]
    assert set(bad["status"]) == {status}
    assert set(map(tuple, bad[["mask_id", "level"]].to_numpy())) == set(map(tuple, victims.to_numpy()))
    assert len(bad) == 5 * len(victims)
    kept = ["mask_id", "step", "dice", "pred_digest"]
    good = found["status"] == "ok"
    assert found.loc[good, kept].equals(sound.loc[good, kept])


@pytest.mark.slow
def test_a_time_limit_changes_nothing_for_a_sound_model(tiny, tmp_path, model):
    sound = harness.evaluate(model, tiny, tmp_path / "sound", limit=2).path
    # So long a limit that no load of the machine makes a sound call late; that limits hold is the test above.
    watched = harness.evaluate(model, tiny, tmp_path / "watched", limit=2, timeout=600, jobs=2).path
    steps = harness.open_run(watched).steps
    assert steps.loc[steps["status"] != "ok", ["mask_id", "level", "step", "status", "error"]].empty
    assert harness.run_digest(sound) == harness.run_digest(watched)


def test_a_process_that_another_thread_has_waited_for_is_not_an_error():
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    child = object.__new__(limits._Child)
    ended = types.SimpleNamespace(pid=process.pid, is_alive=lambda: True, join=lambda: None)
    child.process, child.pipe = ended, types.SimpleNamespace(close=lambda: None)
    child.kill()
