"""The training loop: batches of simulated interactions, on one process or several."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from dmseg.baselines.networks.mini import set_side
from dmseg.baselines.networks.robust_sam import RobustNetwork
from dmseg.baselines.networks.sam import Encoded
from dmseg.baselines.pge_sam import EnhancedNetwork
from dmseg.baselines.trained import save_trained
from dmseg.build import Benchmark, open_benchmark
from dmseg.errors import UsageError
from dmseg.files import cache_folder, remove_temporaries, write_text
from dmseg.progress import clock
from dmseg.rng import Stream, key_words
from dmseg.training import prompts as user
from dmseg.training.config import PRECISIONS, TrainConfig
from dmseg.training.features import FeatureCache, all_items, cache_key
from dmseg.training.interaction import TERMS, Samples, interact
from dmseg.training.log import LossLog
from dmseg.training.networks import MINI, Trainee, build_trainee
from dmseg.training.optimiser import Average, adamw, rate_factor, set_rate
from dmseg.training.prompts import KEY
from dmseg.training.samples import Curriculum, Loaded, Loader, Visit, rgb
from dmseg.training.state import FILE, load_state, save_state

WEIGHTS_FILE = "weights.safetensors"
LOG_EVERY = 50


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """What a run left: its folder, how many batches it has in all, how many this call did, seconds."""

    path: Path
    batches: int
    done: int
    seconds: float


def train(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    base_weights: Path | str | None = None,
    device: str = "auto",
    devices: int = 1,
    cache: Path | None = None,
    jobs: int = 2,
    half: bool = False,
) -> TrainSummary:
    """Train, or go on with what ``out`` holds.

    Args:
        config: all choices.
        data: a built benchmark.
        out: folder of the run: last.ckpt, losses.csv, config.json and, at the end, weights.safetensors.
        base_weights: of the base network.
        device: auto, cpu or cuda; ``devices`` of them, one process each.
        cache: folder of kept features; default: the user's cache.
        jobs: threads that read pictures.
        half: write the trained tensors in half precision.

    Raises:
        DmsegError: weights, data or choices that do not go together.
    """
    if (config.batch % devices or any(stage.batch % devices for stage in config.stages)) and devices > 1:
        raise UsageError(f"{devices} devices do not divide the batch evenly; give a batch that is a multiple")
    fabric = Fabric(
        accelerator={"auto": "auto", "cpu": "cpu"}.get(device, "cuda"),
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=PRECISIONS[config.precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    with ThreadPoolExecutor(jobs) as executor:
        return Training(config, open_benchmark(data), out, fabric, executor, base_weights, cache, half).run()


class Training:
    """One process's part of a run; see :func:`train`."""

    def __init__(
        self,
        config: TrainConfig,
        benchmark: Benchmark,
        out: Path,
        fabric: Fabric,
        executor: Executor,
        base_weights: Path | str | None,
        cache: Path | None,
        half: bool,
    ) -> None:
        self.config, self.benchmark, self.out, self.fabric, self.executor = config, benchmark, out, fabric, executor
        self._half = half
        self.trainee: Trainee = build_trainee(config, base_weights, fabric.device)
        self.network = self.trainee.network
        if config.stages and config.base != MINI:
            raise UsageError(f"{config.base} takes one side only: leave out stages")
        self.curriculum = Curriculum(benchmark, config, self.network.side)
        self._reconstructs = isinstance(self.network, EnhancedNetwork) and config.losses.reconstruction > 0
        self.loader = Loader(benchmark, self.trainee.adapter, config, pixels=not config.cache, clear=self._reconstructs)
        self.optimiser = adamw(self.trainee.groups, config)
        self.average = Average(self.trainee.parameters, config.ema) if config.ema else None
        self._units = config.interactions if config.updates == "interaction" else 1
        self._total_steps = math.ceil(self.curriculum.batches * self._units / config.accumulate)
        self._unit = 0
        self.features = self._filled(cache or cache_folder() / "features") if config.cache else None
        self.log = LossLog(out / "losses.csv") if fabric.is_global_zero else None

    # One run

    def run(self) -> TrainSummary:
        """Go through all batches that are left and write the trained weights."""
        first = self._resumed()
        if self.fabric.is_global_zero:
            self.out.mkdir(parents=True, exist_ok=True)
            remove_temporaries(self.out)
            write_text(self.out / "config.json", json.dumps(json.loads(self.config.to_json()), indent=2) + "\n")
        if self.log is not None:
            self.log.keep_until(first)
        started = time.monotonic()
        window = _Window(started, first, self.curriculum.batches)
        for index, loaded in self._loaded(first):
            with self._keyed(index):
                window.add(self._batch(index, loaded), len(loaded.visits), len(loaded.keys))
            done = index + 1
            if done % LOG_EVERY == 0 or done == self.curriculum.batches:
                self._report(window, done)
            if self._may_save(done):
                self._save(done)
        self._finish()
        return TrainSummary(
            self.out, self.curriculum.batches, self.curriculum.batches - first, time.monotonic() - started
        )

    def _report(self, window: _Window, done: int) -> None:
        """Write the means since the last line."""
        row = window.row(self.fabric, done, self.optimiser.param_groups[0]["lr"])
        if self.log is not None:
            self.log.write(row)

    def _may_save(self, done: int) -> bool:
        """Whether a state is due; never between the gathered updates of one optimiser step."""
        due = done % self.config.save_every == 0 or done == self.curriculum.batches
        return due and (self._unit % self.config.accumulate == 0 or done == self.curriculum.batches)

    def _save(self, done: int) -> None:
        if not self.fabric.is_global_zero:
            return
        state = self.network.state_dict()
        save_state(
            self.out / FILE,
            {
                "config": self.config.digest,
                "benchmark": self.benchmark.digest,
                "base_sha256": self.trainee.base_sha256,
                "done": done,
                "unit": self._unit,
                "network": {name: state[name] for name in self.trainee.state_names},
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.values if self.average else {},
            },
        )

    def _resumed(self) -> int:
        """Take over a saved state and return how many batches it had done."""
        state = load_state(self.out / FILE, self.config.digest, self.benchmark.digest)
        if state is None:
            return 0
        if state["base_sha256"] != self.trainee.base_sha256:
            raise UsageError(f"{self.out}: holds a run on other base weights; give those, or another --out")
        self.network.load_state_dict(state["network"], strict=False)
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.values = {name: value.to(self.fabric.device) for name, value in state["average"].items()}
        self._unit = state["unit"]
        return int(state["done"])

    def _finish(self) -> None:
        if not self.fabric.is_global_zero:
            return
        if self.average is not None:
            self.average.swap()
        metadata = {
            "model": self.config.model,
            "base": self.config.base,
            "base_sha256": self.trainee.base_sha256,
            "config": json.dumps(self._choices(), sort_keys=True),
        }
        save_trained(self.out / WEIGHTS_FILE, self.network, self.trainee.state_names, metadata, self._half)
        if self.average is not None:
            self.average.swap()

    def _choices(self) -> dict[str, Any]:
        """Return the configuration with the whole of the enhancer's: later defaults do not change what was trained."""
        choices = dataclasses.asdict(self.config)
        if isinstance(self.network, EnhancedNetwork):
            choices["enhancer"] = dataclasses.asdict(self.network.config)
        return choices

    # One batch

    def _batch(self, index: int, loaded: Loaded) -> dict[str, float]:
        """Interact with one batch and step; return sums over its samples."""
        config, fabric = self.config, self.fabric
        encoded, clear = self._features(loaded)
        frozen = self.trainee.encoder_frozen
        leaf = encoded if frozen else _leaf(encoded)
        targets = loaded.targets.to(fabric.device)
        scale = self.network.side / targets.shape[-1]
        samples = Samples(leaf, clear, loaded.picture.to(fabric.device), targets, scale)
        n_all = sum(len(visit.mask_ids) for visit in self.curriculum.visits(index))
        with_gradient = self._with_gradient(index)
        counted = 1 if config.updates == "interaction" else len([one for one in with_gradient if one])
        share = fabric.world_size / (n_all * counted * config.accumulate)
        prompts = list(loaded.prompts)
        sums: list[dict[str, float]] = []
        for step, gradient in enumerate(with_gradient):
            if step:
                prompts = self._corrected(prompts, loaded, samples)
            sums.append(
                interact(
                    self.network,
                    samples,
                    prompts,
                    config.losses,
                    gradient=gradient,
                    share=share,
                    autocast=fabric.autocast,
                )
            )
            if config.updates == "interaction":
                self._update(index, step == len(with_gradient) - 1)
        if config.updates == "batch":
            if not frozen:
                _backward(encoded, leaf)
            self._update(index, True)
        return {**_summed(sums, with_gradient), "with_gradient": sum(with_gradient) * len(loaded.keys)}

    def _with_gradient(self, index: int) -> list[bool]:
        """Return for each interaction of a batch whether it has a gradient."""
        config = self.config
        if config.gradient == "every":
            return [True] * config.interactions
        n = Stream(KEY, config.seed, "interactions", index).integer(2, config.interactions)
        return [True, *[False] * (n - 2), True]

    def _corrected(self, prompts: Sequence[Any], loaded: Loaded, samples: Samples) -> list[Any]:
        if samples.logits is None:
            raise AssertionError("a corrective click needs a first answer")
        predicted = (samples.logits[:, 0] > 0).cpu().numpy()
        return [
            user.corrected(given, mask, found, key, self.config.seed)
            for given, mask, found, key in zip(prompts, loaded.masks, predicted, loaded.keys, strict=True)
        ]

    def _update(self, index: int, last_of_batch: bool) -> None:
        """Count one update; with enough of them gathered, step."""
        self._unit += 1
        ends = last_of_batch and index == self.curriculum.batches - 1
        if self._unit % self.config.accumulate and not ends:
            return
        parameters = [value for value in self.trainee.parameters.values() if value.requires_grad]
        self._share_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, self.config.clip)
        step = (self._unit - 1) // self.config.accumulate
        set_rate(self.optimiser, rate_factor(step, self._total_steps, self.config.warmup, self.config.final_rate))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update()

    def _share_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace the gradients by their mean over the processes."""
        if self.fabric.world_size == 1:
            return
        flat = torch.cat([(torch.zeros_like(one) if one.grad is None else one.grad).flatten() for one in parameters])
        flat = self.fabric.all_reduce(flat, reduce_op="mean")
        start = 0
        for one in parameters:
            one.grad = flat[start : start + one.numel()].view_as(one).clone()
            start += one.numel()

    # Pictures and features

    def _loaded(self, first: int) -> Iterator[tuple[int, Loaded]]:
        """Yield the batches from ``first`` on, each read while the one before is trained on."""
        total = self.curriculum.batches
        with ThreadPoolExecutor(1) as ahead:
            waiting = None
            for index in range(first, total):
                self._at_side(index)
                loaded = waiting.result() if waiting is not None else self._load(index)
                waiting = None
                if index + 1 < total and self.curriculum.side(index + 1) == self.network.side:
                    waiting = ahead.submit(self._load, index + 1)
                yield index, loaded

    def _at_side(self, index: int) -> None:
        side = self.curriculum.side(index)
        if side != self.network.side:
            set_side(self.network, side)

    def _load(self, index: int) -> Loaded:
        return self.loader.load(self._own(self.curriculum.visits(index)), self.executor)

    def _own(self, visits: Sequence[Visit]) -> Sequence[Visit]:
        return visits[self.fabric.global_rank :: self.fabric.world_size]

    def _features(self, loaded: Loaded) -> tuple[Encoded, Tensor | None]:
        """Return features of a batch's pictures and, where needed, the embedding of their clear versions."""
        device = self.fabric.device
        if self.features is not None:
            items = [(visit.image_id, visit.level) for visit in loaded.visits]
            encoded = _moved(self.features.read(items, intermediate=self._uses_intermediate), device)
            if not self._reconstructs:
                return encoded, None
            clear = self.features.read([(item[0], "clear") for item in items], intermediate=False)
            return encoded, clear.embedding.to(device)
        if loaded.pixels is None:
            raise AssertionError("pictures were not read")
        with self.fabric.autocast(), torch.set_grad_enabled(not self.trainee.encoder_frozen):
            encoded = self.trainee.encode(loaded.pixels.to(device))
        if loaded.clear is None:
            return encoded, None
        with self.fabric.autocast(), torch.no_grad():
            return encoded, self.trainee.encode(loaded.clear.to(device)).embedding

    @property
    def _uses_intermediate(self) -> bool:
        return isinstance(self.network, (EnhancedNetwork, RobustNetwork))

    def _filled(self, folder: Path) -> FeatureCache:
        """Return the kept features, encoding what this run needs and is missing; in full precision."""
        items = all_items(self.curriculum.image_ids, self.config.levels)

        def read(item: tuple[str, str]) -> Tensor:
            return self.trainee.adapter.prepare(rgb(self.benchmark.image(*item)))[0]

        @torch.no_grad()
        def encode(pixels: Tensor) -> Encoded:
            return self.trainee.encode(pixels)

        key = cache_key(self.network.image_encoder, self.benchmark.digest, self.network.side, items)
        with self.fabric.rank_zero_first():
            example = encode(read(items[0])[None].to(self.fabric.device))
            features = FeatureCache(folder / key, items, example)
            if self.fabric.is_global_zero:
                wanted = self.curriculum.items(clear=self._reconstructs)
                features.fill(wanted, read, encode, self.executor, self.fabric.device)
        return features

    @contextlib.contextmanager
    def _keyed(self, index: int) -> Iterator[None]:
        """Key torch's own generator (dropout) by the batch, and leave it as it was afterwards."""
        with torch.random.fork_rng():
            torch.manual_seed(key_words(KEY, self.config.seed, "torch", index, self.fabric.global_rank)[0] >> 1)
            yield


class _Window:
    """Sums since the last line of the log."""

    def __init__(self, started: float, first: int, total: int) -> None:
        self._started = self._since = started
        self._first, self._total = first, total
        self._clear()

    def _clear(self) -> None:
        self._sums = dict.fromkeys((*TERMS, "first_iou", "last_iou", "with_gradient"), 0.0)
        self._pictures = self._samples = 0

    def add(self, sums: dict[str, float], pictures: int, samples: int) -> None:
        for name, value in sums.items():
            self._sums[name] += value
        self._pictures += pictures
        self._samples += samples

    def row(self, fabric: Fabric, done: int, rate: float) -> dict[str, float | str]:
        """Return the line's columns, over all processes, and start anew."""
        values = torch.tensor([*self._sums.values(), self._samples, self._pictures], dtype=torch.float64)
        values = fabric.all_reduce(values.to(torch.float32), reduce_op="sum") if fabric.world_size > 1 else values
        named = dict(zip((*self._sums, "samples", "pictures"), values.tolist(), strict=True))
        now = time.monotonic()
        left = (now - self._started) / max(1, done - self._first) * (self._total - done)
        row: dict[str, float | str] = {"batch": done}
        row |= {name: round(named[name] / max(1.0, named["with_gradient"]), 5) for name in TERMS}
        row |= {name: round(named[name] / named["samples"], 4) for name in ("first_iou", "last_iou")}
        row |= {
            "rate": float(f"{rate:.4g}"),
            "images_per_s": round(named["pictures"] / (now - self._since), 2),
            "seconds": round(now - self._started, 1),
            "left": clock(left),
        }
        self._since = now
        self._clear()
        return row


def _leaf(encoded: Encoded) -> Encoded:
    """Return the same features, cut off from the encoder, ready to gather gradients."""
    return Encoded(
        encoded.embedding.detach().requires_grad_(True),
        {name: value.detach().requires_grad_(True) for name, value in encoded.intermediate.items()},
    )


def _backward(encoded: Encoded, leaf: Encoded) -> None:
    """Send what the features gathered through the encoder, once for all interactions."""
    pairs = [(encoded.embedding, leaf.embedding.grad)]
    pairs += [(value, leaf.intermediate[name].grad) for name, value in encoded.intermediate.items()]
    used = [(value, gradient) for value, gradient in pairs if gradient is not None]
    torch.autograd.backward([value for value, _ in used], [gradient for _, gradient in used])


def _moved(encoded: Encoded, device: torch.device) -> Encoded:
    return Encoded(
        encoded.embedding.to(device), {name: value.to(device) for name, value in encoded.intermediate.items()}
    )


def _summed(sums: Sequence[dict[str, float]], with_gradient: Sequence[bool]) -> dict[str, float]:
    """Return the losses summed over interactions with gradient, and the IoU of the first and last interaction."""
    counted = [one for one, gradient in zip(sums, with_gradient, strict=True) if gradient]
    result = {name: float(np.sum([one[name] for one in counted])) for name in TERMS}
    return {**result, "first_iou": sums[0]["reached"], "last_iou": sums[-1]["reached"]}
