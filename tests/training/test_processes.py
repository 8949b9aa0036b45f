"""Runs in processes of their own: killed at any moment, and two that share a batch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from safetensors.torch import load_file  # noqa: E402
from small_training import SMALL  # noqa: E402

from dmseg.training.config import load_config  # noqa: E402
from dmseg.training.networks import build_trainable_model  # noqa: E402

pytestmark = pytest.mark.slow
LIMIT_S = 600


def command(bench: Path, out: Path, preset: str, *options: str, changes: tuple[str, ...] = ()) -> list[str]:
    sets = [text for change in (*SMALL, *changes) for text in ("--set", change)]
    where = ["--data", str(bench), "--out", str(out), "--device", "cpu"]
    return [sys.executable, "-m", "dmseg", "train", preset, *where, *sets, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def run(arguments: list[str]) -> None:
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def count_processes(folder: Path) -> int:
    """Return how many processes of the run in a folder live, its readers counted."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += os.fsencode(folder) in path.read_bytes()
    return found


def test_a_run_killed_at_any_moment_ends_in_the_same_bytes_and_leaves_no_reader(bench: Path, tmp_path: Path) -> None:
    changes = ("batches=12", "stages=[{until=0.5, side=64, batch=2}, {until=1.0, side=96, batch=2}]")
    run(command(bench, tmp_path / "whole", "mini-sam", changes=changes))
    arguments = command(bench, tmp_path / "killed", "mini-sam", "--jobs", "2", changes=changes)
    state = tmp_path / "killed" / "last.ckpt"
    for _ in range(2):
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(arguments, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        give_up, most = time.monotonic() + LIMIT_S, 0
        while process.poll() is None and time.monotonic() < give_up:
            if state.exists() and state.stat().st_mtime_ns > before:
                break
            most = max(most, count_processes(tmp_path / "killed"))
            time.sleep(0.01)
        assert most >= 3, "the run and two readers"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert state.exists()
        give_up = time.monotonic() + 10
        while left := count_processes(tmp_path / "killed"):
            assert time.monotonic() < give_up, f"{left} readers outlive their run"
            time.sleep(0.1)
    assert not (tmp_path / "killed" / "weights.safetensors").exists(), "it was done before it was killed"
    run(arguments)
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]


def test_two_processes_give_what_one_gives(bench: Path, base: Path, tmp_path: Path) -> None:
    """Sums are taken in another order, so nearly; full precision, and no batch normalisation in the decoder."""
    same = ("batches=3", "warmup=1", "stages=[{until=1.0, side=64, batch=4}]")
    prompted = ("trained=['mask_decoder', 'prompt_encoder']", "learning_rate.prompt_encoder=1e-3", "interactions=1")
    for preset, changes in (("mini-ft", same), ("mini-pge-sam", same), ("mini-ft", (*same, *prompted))):
        weights = ("--base-weights", str(base))
        written = []
        for devices in ("1", "2"):
            out = tmp_path / f"{preset}-{len(changes)}" / devices
            run(command(bench, out, preset, "--devices", devices, *weights, changes=changes))
            written.append(load_file(out / "weights.safetensors"))
        config = load_config(preset, (*SMALL, *changes))
        start = build_trainable_model(config, base, torch.device("cpu")).network.state_dict()
        one, two = written
        for part in {name.partition(".")[0] for name in one}:
            names = [name for name in one if name.startswith(f"{part}.")]
            distance = sum(float((one[name] - two[name]).square().sum()) for name in names)
            moved = sum(float((one[name] - start[name]).square().sum()) for name in names)
            assert moved > 0 and distance < 1e-2 * moved, part
        # What no prompt of a batch touched has no gradient in any process, and stays as it is.
        still = [{name for name, value in found.items() if torch.equal(value, start[name])} for found in written]
        assert still[0] == still[1]
        masks = {name for name in one if name.startswith("prompt_encoder.mask_downscaling.")}
        assert masks <= still[0]  # there is no mask at the first interaction
        assert bool(masks) == (changes != same)
