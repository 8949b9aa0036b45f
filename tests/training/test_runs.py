"""Whole runs: what changes, what does not, and that being stopped leaves no trace."""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")
pytest.importorskip("lightning_fabric", reason="training needs the extra [train]")

from click.testing import CliRunner  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from small_training import PLAIN, SIDE, SMALL, small  # noqa: E402
from tiny_benchmark import PICTURES, write_tiny_benchmark  # noqa: E402

from dmseg.baselines.checkpoints import load_trained, read_trained  # noqa: E402
from dmseg.build import open_benchmark  # noqa: E402
from dmseg.cli import group  # noqa: E402
from dmseg.errors import DataError, ImageFileError, ModelError, UsageError  # noqa: E402
from dmseg.jobs import WorkerLostError, limit_time  # noqa: E402
from dmseg.training import (  # noqa: E402
    TrainConfig,
    loop,
    losses,
    samples,
    train,
)
from dmseg.training import learner as learning  # noqa: E402
from dmseg.training.networks import build_trainable_model  # noqa: E402
from dmseg.training.validation import Validator  # noqa: E402

CPU = torch.device("cpu")
PARTS = {
    "all": ("image_encoder.", "prompt_encoder.", "mask_decoder."),
    "mask_decoder": ("mask_decoder.",),
    "prompt_encoder": ("prompt_encoder.",),
    "output_token": ("mask_decoder.mask_tokens.",),
    "enhancer": ("enhancer.", "guidance."),
}


def run(config: TrainConfig, bench: Path, out: Path, base: Path | None = None) -> dict[str, torch.Tensor]:
    """Train, and return the weights written."""
    train(config, bench, out, base_weights=base, device="cpu", jobs=1)
    return load_file(out / "weights.safetensors")


def state(config: TrainConfig, base: Path | None) -> dict[str, torch.Tensor]:
    """All tensors of a network before training."""
    network = build_trainable_model(config, base, CPU).network
    return {name: value.clone() for name, value in network.state_dict().items()}


def for_part(part: str) -> TrainConfig:
    if part == "all":
        return small("mini-sam", "batches=1", "warmup=1")
    preset = "mini-pge-sam" if part == "enhancer" else "mini-ft"
    rates = f"learning_rate={{{part}=1e-2}}"
    return small(preset, "batches=1", "warmup=1", f"trained=['{part}']", rates)


@pytest.mark.parametrize("part", PARTS)
def test_exactly_the_parts_meant_to_train_change(
    part: str, bench: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, weights = for_part(part), None if part == "all" else base
    trainees = []

    def watch(*arguments: object) -> object:
        trainees.append(build_trainable_model(*arguments))  # type: ignore[arg-type]
        return trainees[-1]

    monkeypatch.setattr("dmseg.training.loop.build_trainable_model", watch)
    before, written = state(config, weights), run(config, bench, tmp_path, weights)
    network = trainees[0].network
    after = network.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith(PARTS[part]) for name in changed)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in network.named_parameters() if name.startswith(PARTS[part])}
    if part != "all":  # every frozen tensor, batch normalisation's statistics too, is the same to the last bit
        assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("image_encoder."))
    assert changed <= set(written) and all(torch.equal(written[name], after[name]) for name in written)


def test_a_gradient_reaches_nearly_every_trained_parameter(bench: Path, base: Path, tmp_path: Path) -> None:
    """Those that stay have no part in the answer: the no-mask embedding once there is a mask, and the like."""
    config = small("mini-pge-sam", "batches=3", "warmup=1", "stages=[{until=1.0, side=64, batch=4}]")
    before, after = state(config, base), run(config, bench, tmp_path, base)
    still = [name for name, value in after.items() if torch.equal(value, before[name])]
    assert not [name for name in still if name.startswith(("enhancer.", "guidance."))]
    assert len(still) <= 2


@pytest.mark.parametrize("preset", ["mini-sam", "mini-pge-sam"])
def test_a_run_that_was_stopped_equals_one_that_was_not(
    preset: str, bench: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = ("batches=3", "ema=0.9", "stages=[{until=0.5, side=64, batch=2}, {until=1.0, side=96, batch=2}]")
    config, weights = small(preset, *changes), None if preset == "mini-sam" else base
    whole = run(config, bench, tmp_path / "whole", weights)
    learn = learning.Learner.learn

    def stop(self: learning.Learner, index: int, loaded: object) -> dict[str, float]:
        if index == 2:
            raise KeyboardInterrupt
        return learn(self, index, loaded)  # type: ignore[arg-type]

    monkeypatch.setattr(learning.Learner, "learn", stop)
    with pytest.raises(KeyboardInterrupt):
        run(config, bench, tmp_path / "stopped", weights)
    assert not (tmp_path / "stopped" / "weights.safetensors").exists()
    monkeypatch.undo()
    resumed = train(config, bench, tmp_path / "stopped", base_weights=weights, device="cpu", jobs=3)
    assert resumed.done == 1
    again = load_file(tmp_path / "stopped" / "weights.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files[0] == files[1]
    logs = [list(csv.DictReader((tmp_path / name / "losses.csv").open())) for name in ("whole", "stopped")]
    assert [row["batch"] for row in logs[0]] == [row["batch"] for row in logs[1]] == ["3"]


def test_workers_begin_also_where_opencv_has_threads_at_work(bench: Path, tmp_path: Path) -> None:
    """In a forked process they are gone, and OpenCV would wait for them for ever."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (31, 31), 5)
        with limit_time(120):
            train(small("mini-sam", "batches=1"), bench, tmp_path / "run", device="cpu", jobs=2)
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before)


def test_what_is_wrong_with_an_image_is_said_by_a_worker_as_by_the_process_itself(tmp_path: Path) -> None:
    bench = write_tiny_benchmark(tmp_path / "bench")
    for path in (bench / "images").rglob("*.png"):
        path.write_bytes(b"damaged")
    said = []
    for jobs in (1, 2):
        with pytest.raises(ImageFileError) as caught:
            train(small("mini-sam"), bench, tmp_path / "out", device="cpu", jobs=jobs)
        said.append(str(caught.value))
    assert said[0] == said[1] and "Traceback" not in said[0] and not multiprocessing.active_children()


@pytest.mark.slow
def test_a_reader_that_the_system_ends_is_said_within_seconds_and_the_run_goes_on(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, load = small("mini-sam", "batches=3"), samples.Loader.load
    whole = run(config, bench, tmp_path / "whole")
    parent = os.getpid()

    def be_ended(self: samples.Loader, visits: Sequence[samples.TrainingSample]) -> samples.Loaded:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self, visits)

    with monkeypatch.context() as patched, pytest.raises(WorkerLostError, match="same command with fewer --jobs"):
        patched.setattr(samples.Loader, "load", be_ended)
        train(config, bench, tmp_path / "lost", device="cpu", jobs=2)
    assert not multiprocessing.active_children()
    again = run(config, bench, tmp_path / "lost")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_prompt_free_parts_once_a_batch_have_the_gradients_of_every_interaction(
    bench: Path, base: Path, tmp_path: Path
) -> None:
    """With one step per batch the weights are the same at all interactions, so both ways are the same mathematics."""
    same = ("batches=1", "warmup=1", "updates=batch", "interactions=3", "stages=[{until=1.0, side=64, batch=3}]")
    written = [
        run(small("mini-pge-sam", *same, f"laterals={often}"), bench, tmp_path / often, base)
        for often in ("interaction", "batch")
    ]
    before = state(small("mini-pge-sam", *same), base)
    for name, value in written[0].items():
        moved = (value - before[name]).abs().max()
        assert (value - written[1][name]).abs().max() <= 0.02 * moved + 1e-7, name


def test_a_run_that_ends_early_is_the_snapshot_of_a_longer_one(bench: Path, base: Path, tmp_path: Path) -> None:
    run(small("mini-ft", "batches=4", "snapshots=[2]"), bench, tmp_path / "long", base)
    short = run(small("mini-ft", "batches=4", "until=2"), bench, tmp_path / "short", base)
    snapshot = load_file(tmp_path / "long" / "weights-2.safetensors")
    assert all(torch.equal(value, snapshot[name]) for name, value in short.items())
    assert train(small("mini-ft", "batches=4", "until=2"), bench, tmp_path / "short", base_weights=base).done == 0


def test_with_kept_features_and_shared_parts_a_stopped_run_equals_a_whole_one(
    bench: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("mini-pge-sam", *PLAIN, "stages=[]", "cache=true", "laterals=batch", "batches=3", "cache_gb=0.002")
    whole = train(config, bench, tmp_path / "whole", base_weights=base, device="cpu", cache=tmp_path / "a")
    learn = learning.Learner.learn

    def stop(self: learning.Learner, index: int, loaded: object) -> dict[str, float]:
        if index == 2:
            raise KeyboardInterrupt
        return learn(self, index, loaded)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(learning.Learner, "learn", stop)
        train(config, bench, tmp_path / "stopped", base_weights=base, device="cpu", cache=tmp_path / "b")
    train(config, bench, tmp_path / "stopped", base_weights=base, device="cpu", cache=tmp_path / "b")
    files = [(path / "weights.safetensors").read_bytes() for path in (whole.path, tmp_path / "stopped")]
    assert files[0] == files[1]


def test_gathered_updates_make_the_step_of_one_larger_batch(bench: Path, base: Path, tmp_path: Path) -> None:
    """Two batches of 2 gathered give the step of one batch of 4 (with as many objects in each, prompts alike)."""
    same = ("updates=batch", "prompt_kinds=0", "precision=fp32", "warmup=1", "clip=1e9", "interactions=1")
    one = run(
        small("mini-ft", *same, "batches=1", "stages=[{until=1.0, side=64, batch=4}]"), bench, tmp_path / "a", base
    )
    two = run(small("mini-ft", *same, "batches=2", "accumulate=2"), bench, tmp_path / "b", base)
    start = load_file(base)
    for name, value in one.items():
        if not name.endswith("k_proj.bias"):  # unseen by the softmax: Adam makes steps of its rounding
            assert torch.allclose(value, two[name], atol=2e-5), name
    assert any(not torch.equal(value, start[name]) for name, value in one.items())


def test_kept_features_train_as_fresh_ones_do(bench: Path, base: Path, tmp_path: Path) -> None:
    """Kept in half precision, so nearly: the first losses agree."""
    rows = []
    for cache in ("true", "false"):
        config = small("mini-pge-sam", *PLAIN, "batches=1", f"cache={cache}", "stages=[]", "interactions=1")
        out = tmp_path / cache
        train(config, bench, out, base_weights=base, device="cpu", jobs=1, cache=tmp_path / "features")
        row = next(csv.DictReader((out / "losses.csv").open()))
        rows.append([float(row[name]) for name in ("dice", "focal", "reconstruction")])
    assert rows[0] == pytest.approx(rows[1], rel=0.02)
    assert rows[0][2] > 0


def test_validation_keeps_the_best_weights_and_shows_predictions(bench: Path, tmp_path: Path) -> None:
    validation = "validation={every=1, images=1, splits=['seen'], levels=['clear', 'lq3plus']}"
    written = run(small("mini-sam", "batches=2", validation), bench, tmp_path)
    rows = list(csv.DictReader((tmp_path / "validation.csv").open()))
    assert [row["batch"] for row in rows] == ["1", "2"]
    for row in rows:
        last = [float(row[f"{level}_5"]) for level in ("clear", "lq3plus")]
        assert float(row["score"]) == pytest.approx(sum(last) / 2, abs=1e-4)
    best, final = (read_trained(tmp_path / name).tensors for name in ("best.safetensors", "weights.safetensors"))
    scores = [float(row["score"]) for row in rows]
    assert all(torch.equal(best[name], final[name]) for name in written) == (scores[1] > scores[0])
    assert [path.name for path in sorted((tmp_path / "pictures").iterdir())] == ["000001.png", "000002.png"]
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_state_that_is_due_while_gradients_wait_is_written_after_their_step(
    bench: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps come after batches 3 and 6; states are due after every second batch."""
    saved: list[int] = []
    write = loop.save_state
    monkeypatch.setattr(loop, "save_state", lambda path, state: (saved.append(state["done"]), write(path, state)))
    config = small("mini-ft", "batches=7", "updates=batch", "accumulate=3", "save_every=2", "interactions=1")
    run(config, bench, tmp_path, base)
    assert saved == [3, 6, 7]


def test_interactions_without_a_gradient_make_no_step(bench: Path, base: Path, tmp_path: Path) -> None:
    choices = ("batches=3", "interactions=5", "gradient=first-last", "updates=interaction", "save_every=1")
    config = small("mini-ft", *choices)
    run(config, bench, tmp_path, base)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    steps = {int(entry["step"]) for entry in kept["optimiser"]["state"].values()}
    assert config.updates_per_batch == 2 and kept["updates"] == 6 and max(steps) == 6


def test_validation_on_what_the_benchmark_lacks_is_refused_before_training(bench: Path, tmp_path: Path) -> None:
    validation = "validation={every=0, images=2, splits=['train'], levels=['clear']}"
    lacking = write_tiny_benchmark(
        tmp_path / "b", levels=("clear", "lq1"), pictures=tuple(entry for entry in PICTURES if entry[2] == "seen")
    )
    with pytest.raises(DataError, match=r"no images in train to validate on; .* validation\.images=0"):
        train(small("mini-sam", validation), lacking, tmp_path / "out", device="cpu")
    validation = validation.replace("['train']", "['seen']").replace("['clear']", "['clear', 'lq3']")
    with pytest.raises(DataError, match="no level lq3 to validate on"):
        train(small("mini-sam", validation), lacking, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_validation_takes_the_objects_that_the_evaluation_takes(bench: Path) -> None:
    benchmark = open_benchmark(bench)
    benchmark.masks["evaluate"] = ~benchmark.masks["mask_id"].str.endswith("__1")
    config = small("mini-sam", "validation={every=0, images=6, splits=['seen', 'unseen', 'train']}")
    validator = Validator(benchmark, config)
    taken = {mask_id for image_id in validator.image_ids for mask_id in validator.objects(image_id)}
    assert taken == set(benchmark.masks[benchmark.masks["evaluate"]]["mask_id"]) < set(benchmark.masks["mask_id"])


def test_a_gradient_that_is_not_finite_ends_the_run_with_the_saved_state_whole(
    bench: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three batches with two interactions each, the third interaction goes wrong."""
    focal, calls = losses.focal_loss, 0

    def break_third(logits: torch.Tensor, *others: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return focal(logits, *others) * (math.nan if calls > 2 else 1)  # type: ignore[arg-type]

    config = small("mini-ft", "batches=3", "stages=[{until=1.0, side=64, batch=1}]")
    monkeypatch.setattr(losses, "focal_loss", break_third)
    with pytest.raises(DataError, match="gradient of update 3 is not finite"):
        run(config, bench, tmp_path, base)
    assert not (tmp_path / "weights.safetensors").exists()
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["done"] == 1 and all(value.isfinite().all() for value in kept["network"].values())


def test_files_of_another_run_are_refused(bench: Path, base: Path, tmp_path: Path) -> None:
    config = small("mini-ft", "batches=1")
    run(config, bench, tmp_path / "a", base)
    with pytest.raises(DataError, match="with other choices"):
        run(small("mini-ft", "batches=1", "seed=1"), bench, tmp_path / "a", base)
    other = tmp_path / "other.safetensors"
    train(small("mini-sam", "batches=1", "seed=5"), bench, tmp_path / "b", device="cpu", jobs=1)
    (tmp_path / "b" / "weights.safetensors").rename(other)
    with pytest.raises(DataError, match="on other base weights"):
        run(config, bench, tmp_path / "a", other)
    (tmp_path / "a" / "last.ckpt").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="not a readable training state"):
        run(config, bench, tmp_path / "a", base)
    torch.save({"format": "other"}, tmp_path / "a" / "last.ckpt")
    with pytest.raises(DataError, match="not a training state"):
        run(config, bench, tmp_path / "a", base)


def test_trained_weights_are_read_strictly(bench: Path, base: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(base.read_bytes()[:-100])
    with pytest.raises(ModelError, match="perhaps truncated"):
        read_trained(cut)
    from safetensors.torch import save_file

    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    with pytest.raises(ModelError, match="not a checkpoint of `dmseg train`"):
        read_trained(foreign)
    with pytest.raises(ModelError, match="no such weights file"):
        read_trained(tmp_path / "none.safetensors")
    trained = read_trained(base)
    assert trained.metadata["model"] == "mini-sam" and trained.metadata["base_sha256"] == ""
    with pytest.raises(ModelError, match="does not fit this network"):
        load_trained(torch.nn.Linear(2, 2), trained, base)


def test_half_precision_halves_the_file_and_rounds_only(bench: Path, base: Path, tmp_path: Path) -> None:
    config = small("mini-ft", "batches=1")
    whole = run(config, bench, tmp_path / "whole", base)
    train(config, bench, tmp_path / "half", base_weights=base, device="cpu", jobs=1, half=True)
    half = load_file(tmp_path / "half" / "weights.safetensors")
    for name, value in whole.items():
        assert half[name].dtype == torch.float16 and torch.equal(half[name], value.half())


def test_the_command_says_what_it_wrote_and_goes_on_from_a_finished_run(
    bench: Path, base: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    sets = [text for change in (*SMALL, SIDE, "batches=1") for text in ("--set", change)]
    files = ["--data", str(bench), "--out", str(out), "--base-weights", str(base)]
    for done in (1, 0):
        shown = CliRunner().invoke(group, ["train", "mini-ft", *files, "--device", "cpu", "--precision", "fp32", *sets])
        assert shown.exit_code == 0, shown.output
        assert f"1 batches, {done} of them now" in shown.output
        assert str(out / "weights.safetensors") in shown.output
    assert read_trained(out / "weights.safetensors").metadata["base"] == "mini-sam"


def test_devices_must_divide_the_batch_and_be_known(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="do not divide batches"):
        train(small("mini-sam"), bench, tmp_path, devices=3)
    with pytest.raises(UsageError, match='unknown device "tpu"'):
        train(small("mini-sam"), bench, tmp_path, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="torch sees 0 CUDA devices"):
            train(small("mini-sam"), bench, tmp_path, device="cuda")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "one")  # torchrun's sign
    with pytest.raises(UsageError, match="give --devices 2"):
        train(small("mini-sam"), bench, tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())
