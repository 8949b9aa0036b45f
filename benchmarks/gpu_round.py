"""One round on a GPU: every check and every figure that needs one, in at most eight minutes, as one JSON file.

    make gpu-round                                             on a machine with a CUDA device: gpu_round.json
    .venv/bin/python benchmarks/gpu_round.py --toy --device cpu    the same script in small, to see that it runs

Each part writes its figures when it is done, and an error of one part is recorded and ends only that part. A part that
would begin after ``--seconds`` is left out and named. Weights are random or regenerated from key names, so nothing here
says how good a model is. Exit code 1: a check failed or a part ended with an error.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from gpu_degradations import degrade_batches as measure_batches  # noqa: E402
from parity_weights import common, fill  # noqa: E402

from dmseg import harness  # noqa: E402
from dmseg.baselines import find_missing_packages, load_model, model_cards  # noqa: E402
from dmseg.baselines.loading import FAMILIES  # noqa: E402
from dmseg.build import open_benchmark, phantom_benchmark  # noqa: E402
from dmseg.types import LEVELS, SPLITS, Prompts  # noqa: E402

SIDE = 512
PARITY = 1e-3  # of the logits' spread, CUDA against CPU, fp32
DICE = 0.01  # mean over a level, reduced precision against fp32
HARM = """
import sys, torch
from dmseg import harness
from dmseg.baselines import load_model
from dmseg.errors import MachineError

class Broken:
    name, version, device, capabilities = "broken", "1", "cuda", load_model("disk").capabilities
    disk = load_model("disk")
    def encode(self, images):
        return self.disk.encode(images)
    def predict(self, *given):
        torch.zeros(3, device="cuda")[torch.tensor([7], device="cuda")].sum()  # an assertion inside of a kernel
        return self.disk.predict(*given)

try:
    harness.evaluate(Broken(), sys.argv[1], sys.argv[2], levels=("clear",))
except MachineError as error:
    print("MachineError", error)
"""


@dataclass
class Round:
    """The choices of a round, and what it has found so far."""

    device: str
    toy: bool
    out: Path
    scratch: Path
    seconds: float
    figures: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def check(self, name: str, holds: bool) -> bool:
        """Note a check by name; the round fails where one does not hold."""
        if not holds:
            self.failed.append(name)
        return bool(holds)

    def wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def milliseconds(self, call: Callable[[], Any], rounds: int) -> float:
        """Return the median wall time of a call, the GPU's work included; the first one warms up."""
        spent = []
        for _ in range(rounds + 1):
            self.wait()
            start = time.perf_counter()
            call()
            self.wait()
            spent.append((time.perf_counter() - start) * 1000)
        return round(statistics.median(spent[1:]), 3)

    def write(self) -> None:
        text = json.dumps({**self.figures, "failed": self.failed}, indent=1, sort_keys=True)
        self.out.write_text(text + "\n", encoding="utf-8")


def ask(model: Any, count: int) -> list[Prompts]:
    """Return the prompts of so many masks: a click each, or a box for the models that take nothing else."""
    if "points" not in model.capabilities:
        box = np.array([60, 40, 400, 300], np.float32)
        return [Prompts(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), box, 1)] * count
    return [Prompts(np.array([[200 + i, 160]], np.float32), np.ones(1, np.int8), None, 1) for i in range(count)]


def follow(model: Any, image: Any, steps: int = 3) -> Any:
    """Return the logits of some steps with feedback, (steps, H, W) on the CPU."""
    embeddings, state, found = model.encode([image]), [None], []
    for count in range(1, steps + 1):
        points, labels = common.points(count)
        given = Prompts(points.astype(np.float32), labels.astype(np.int8), None, count)
        answer = model.predict(embeddings, [0], [given], state)
        state = answer.state
        found.append(answer.logits.float().cpu())
    return torch.cat(found)


def describe_machine(run: Round) -> dict[str, Any]:
    facts = {"python": platform.python_version(), "torch": torch.__version__, "cpu_cores": os.cpu_count()}
    if run.on_gpu:
        gpu = torch.cuda.get_device_properties(0)
        facts |= {"gpu": gpu.name, "memory_gb": round(gpu.total_memory / 1e9, 1), "cuda": torch.version.cuda}
    return {**facts, "device": run.device, "toy": run.toy}


def run_tests(run: Round) -> dict[str, Any]:
    """Run the tests marked gpu; without a GPU they are skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests/baselines",
               "tests/harness/test_gpu.py", "tests/training/test_gpu.py"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    run.check("tests marked gpu", done.returncode in (0, 5))
    return {"exit_code": done.returncode, "summary": (done.stdout.strip().splitlines() or [""])[-1]}


def compare_devices(run: Round) -> dict[str, Any]:
    """Compare logits with those of the CPU (fp32), and reduced precision with fp32, of one network a family."""
    names = ("mini-sam",) if run.toy else ("sam-vit-b", "mobile-sam", "medsam", "sam-med2d-adapter", "robust-sam-b")
    image, found = common.image(96, 96) if run.toy else common.image(SIDE, SIDE), {}
    for name in names:
        expected = follow(fill(load_model(name, weights="random", device="cpu")), image)
        scale = max(1.0, float(expected.std()))
        row = {}
        for precision in ("fp32", "bf16", "fp16") if run.on_gpu else ("fp32", "bf16"):
            model = fill(load_model(name, weights="random", device=run.device, precision=precision))
            given = follow(model, image)
            row[precision] = round(float((given - expected).abs().max()) / scale, 7)
            run.check(f"{name} {precision} is finite", bool(given.isfinite().all()))
        run.check(f"{name} agrees with the CPU", row["fp32"] < PARITY)
        found[name] = row
    return {"largest difference by spread of the logits": found}


def time_networks(run: Round) -> dict[str, Any]:
    """Time the encoder, one click and 32 of every network, and note the peak of memory."""
    image, rounds, found = common.image(SIDE, SIDE), 1 if run.toy else 5, {}
    for name in ("mini-sam", "lite-medsam") if run.toy else FAMILIES:
        if find_missing_packages(model_cards()[name]):
            found[name] = "packages missing"
            continue
        found[name] = {}
        for precision in ("fp32",) if run.toy else ("fp32", "bf16"):
            if run.on_gpu:
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            model: Any = load_model(name, weights="random", device=run.device, precision=precision)
            embeddings = model.encode([image])
            row = {
                "prepare_ms": run.milliseconds(lambda model=model: model.prepare(image), rounds),
                "encode_ms": run.milliseconds(lambda model=model: model.encode([image]), rounds),
            }
            for count in (1, 4 if run.toy else 32):
                asked = ask(model, count)
                call = [embeddings, [0] * count, asked, [None] * count]
                row[f"masks_{count}_ms"] = run.milliseconds(lambda model=model, call=call: model.predict(*call), rounds)
            if run.on_gpu:
                row["peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
            found[name][precision] = row
            del model, embeddings
    return found


def free_embeddings(run: Round) -> dict[str, Any]:
    """Check that all but one image of a batch is let go of."""
    if not run.on_gpu:
        return {"left out": "memory is counted on CUDA only"}
    model: Any = load_model("sam-vit-b", weights="random", device=run.device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    embeddings = model.encode([common.image(SIDE, SIDE)] * 4)
    all_four, embeddings = torch.cuda.memory_allocated() - before, embeddings[:1]
    one = torch.cuda.memory_allocated() - before
    run.check("an embedding is freed", one * 3 < all_four)
    return {"four_mb": round(all_four / 1e6, 2), "one_mb": round(one / 1e6, 2)}


def shrink_batches(run: Round) -> dict[str, Any]:
    """Fill the card, and see that calls are halved until they fit."""
    if not run.on_gpu:
        return {"left out": "needs a card to fill"}
    from dmseg.harness.calling import Answer, GuardedModel, Question

    guarded = GuardedModel(load_model("sam-vit-b", weights="random", device=run.device))
    (embedding,) = guarded.encode([common.image(SIDE, SIDE)])
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info()[0]
    ballast = torch.empty(max(0, free - 700_000_000), dtype=torch.uint8, device=run.device)
    questions = [Question(given, None, np.zeros((SIDE, SIDE), bool)) for given in ask(guarded._model, 128)]
    answers = guarded.predict(embedding, questions)
    del ballast
    run.check("halved calls are answered", all(isinstance(answer, Answer) for answer in answers))
    run.check("calls are halved", guarded.halvings > 0)
    return {"halvings": guarded.halvings}


def evaluate(run: Round) -> dict[str, Any]:
    """Evaluate on phantoms: images per second, where the time goes, repeatability, and what bf16 changes."""
    model_name = "mini-sam" if run.toy else "sam-vit-b"
    bench = phantom_benchmark(1 if run.toy else 3)
    levels = ("clear", "lq1") if run.toy else LEVELS
    found, steps, digests = {}, {}, []
    for label, precision in (("fp32", "fp32"), ("again", "fp32"), ("bf16", "bf16")):
        model = fill(load_model(model_name, weights="random", device=run.device, precision=precision))
        out = run.scratch / label
        start = time.perf_counter()
        harness.evaluate(
            model, bench, out, splits=SPLITS, levels=levels, precision=precision, limit=1 if run.toy else None
        )
        seconds = time.perf_counter() - start
        opened = harness.open_run(out)
        steps[label] = opened.steps
        items = len(opened.timing)
        shares = {column: float(opened.timing[column].sum()) for column in opened.timing if column.endswith("_ms")}
        found[label] = {
            "seconds": round(seconds, 2),
            "images_per_second": round(items / seconds, 3),
            "share_of_time_at_the_network": round((shares["encode_ms"] + shares["predict_ms"]) / 1000 / seconds, 3),
            "ms_per_image": {name: round(value / items, 2) for name, value in shares.items()},
        }
        run.check(f"{label}: every mask is answered", set(opened.steps["status"]) == {"ok"})
        if label != "bf16":
            digests.append(harness.run_digest(out))
    means = {name: rows[rows["step"] == 5].groupby("level")["dice"].mean() for name, rows in steps.items()}
    change = float((means["bf16"] - means["fp32"]).abs().max())
    run.check("bf16 changes no level by more than a hundredth of Dice", change < DICE)
    return {**found, "same_digest_twice": digests[0] == digests[1], "bf16_largest_change_of_dice": round(change, 5)}


def break_the_gpu(run: Round) -> dict[str, Any]:
    """Make a kernel fail for good, in a process of its own: the run must end as the machine's fault, without rows."""
    if not run.on_gpu:
        return {"left out": "needs a GPU to break"}
    out = run.scratch / "broken"
    command = [sys.executable, "-c", HARM, str(phantom_benchmark(1)), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    run.check("a GPU that gave up ends the run", done.stdout.startswith("MachineError"))
    run.check("and leaves no rows", not (out / "steps.parquet").exists())
    return {"said": done.stdout.strip()[:300], "stderr": done.stderr.strip()[-300:]}


def train(run: Round) -> dict[str, Any]:
    """Time training steps at the paper's batch sizes; losses stay finite and memory does not grow."""
    from lightning_fabric import Fabric

    from dmseg.training import load_config
    from dmseg.training.config import PRECISIONS
    from dmseg.training.feed import Feed
    from dmseg.training.learner import Learner
    from dmseg.training.networks import build_trainable_model

    bench, found = open_benchmark(phantom_benchmark(1)), {}
    presets = (("mini-pge-sam", 2),) if run.toy else (("mini-pge-sam", 16), ("lite-pge-sam", 16), ("pge-sam", 2))
    for preset, batch in presets:
        changes = [f"batch={batch}", "epochs=0", "batches=6", "splits=['seen', 'unseen', 'train']"]
        config = load_config(preset, changes)
        fabric = Fabric(
            accelerator="cuda" if run.on_gpu else "cpu",
            devices=1,
            precision=PRECISIONS[config.precision],  # type: ignore[arg-type]
        )
        if run.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        trainee = build_trainable_model(config, "random", fabric.device)
        seconds, peaks, finite = [], [], True
        feed = Feed(config, bench, trainee, fabric, run.scratch / "features", jobs=8 if run.on_gpu else 1)
        learner = Learner(config, trainee, feed, fabric)
        with contextlib.closing(feed.batches()) as batches:
            for index, loaded in batches:
                run.wait()
                start = time.perf_counter()
                sums = learner.learn(index, loaded)
                run.wait()
                seconds.append(time.perf_counter() - start)
                finite = finite and all(float(value) == float(value) for value in sums.values())
                if run.on_gpu:
                    peaks.append(torch.cuda.memory_allocated())
                if run.toy and index:
                    break
        run.check(f"{preset}: losses are finite", finite)
        if len(peaks) > 3:
            run.check(f"{preset}: no memory is lost from batch to batch", peaks[-1] <= peaks[2] * 1.02 + 2**20)
        found[preset] = {
            "batch": batch,
            "seconds_per_batch": round(min(seconds), 3),
            **({"peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 3)} if run.on_gpu else {}),
        }
    return found


def degrade_batches(run: Round) -> dict[str, Any]:
    """Degrade batches on the device: equal to the arrays, without waiting, milliseconds of both."""
    return measure_batches(run.device, toy=run.toy, check=run.check)


PARTS: tuple[Callable[[Round], dict[str, Any]], ...] = (
    describe_machine, compare_devices, free_embeddings, shrink_batches, degrade_batches, evaluate, time_networks, train,
    break_the_gpu, run_tests,
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--toy", action="store_true", help="the smallest sizes, to see that the script runs")
    parser.add_argument("--out", type=Path, default=Path("gpu_round.json"))
    parser.add_argument("--seconds", type=float, default=420.0, help="no part begins later; 420 leaves time to end")
    parser.add_argument("--parts", nargs="*", help=f"of {', '.join(part.__name__ for part in PARTS)}; default: all")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device here; try --toy --device cpu to see that the script runs")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        run = Round(given.device, given.toy, given.out, Path(scratch), given.seconds)
        for part in PARTS:
            name, start = part.__name__, time.monotonic()
            if given.parts and name not in given.parts:
                continue
            if start - run.started > run.seconds:
                run.figures[name] = "left out: no time"
                continue
            try:
                run.figures[name] = {**part(run), "wall_s": round(time.monotonic() - start, 1)}
            except Exception as error:
                run.figures[name] = {
                    "error": f"{type(error).__name__}: {error}",
                    "trace": traceback.format_exc()[-1500:],
                }
                run.failed.append(name)
            run.write()
            print(f"{name}: {time.monotonic() - start:.1f} s", "FAILED" if name in run.failed else "", flush=True)
    print(f"{given.out}: {len(run.failed)} failed: {'; '.join(run.failed) or 'none'}")
    return 1 if run.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
