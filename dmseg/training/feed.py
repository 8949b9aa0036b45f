"""What training is fed with: batches that torch's loader reads ahead, features from the encoder or from disk."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dmseg.baselines.networks.mini import set_side
from dmseg.baselines.networks.robust_sam import RobustNetwork
from dmseg.baselines.networks.sam import Encoded
from dmseg.baselines.pge_sam import EnhancedNetwork
from dmseg.build import Benchmark
from dmseg.errors import DmsegError
from dmseg.jobs import end_with_parent, explain_lost_worker
from dmseg.training.config import TrainConfig
from dmseg.training.features import FeatureCache, Item, all_items, cache_key
from dmseg.training.frozen import openvino_encoder
from dmseg.training.networks import TrainableModel
from dmseg.training.samples import BatchSchedule, Loaded, Loader, TrainingSample
from dmseg.types import as_rgb


@dataclass(frozen=True)
class Share(Dataset[Loaded | Exception]):
    """Number of a batch -> what one process reads of it: every ``processes``-th image from ``rank`` on.

    What is wrong with the data comes back as a value: raised in a worker, its message would be a traceback.
    """

    schedule: BatchSchedule
    loader: Loader
    rank: int
    processes: int

    def __getitem__(self, index: int) -> Loaded | Exception:
        try:
            return self.loader.load(self.schedule.visits(index)[self.rank :: self.processes])
        except (DmsegError, OSError) as error:
            return error


class Feed:
    """One process's share of the batches.

    Args:
        cache: folder for kept features; used where the configuration keeps them.
        jobs: worker processes that read images ahead; with one, and no GPU to keep busy, this process reads them.

    Attributes:
        schedule: which batches there are.
    """

    def __init__(
        self,
        config: TrainConfig,
        benchmark: Benchmark,
        trainee: TrainableModel,
        fabric: Fabric,
        cache: Path,
        jobs: int = 1,
    ) -> None:
        self._config, self._benchmark, self._trainee = config, benchmark, trainee
        self._fabric, self._jobs = fabric, jobs
        self._network = trainee.network
        self.schedule = BatchSchedule(benchmark, config, self._network.side)
        self._reconstructs = isinstance(self._network, EnhancedNetwork) and config.losses.reconstruction > 0
        self._intermediate = isinstance(self._network, EnhancedNetwork | RobustNetwork)
        self._encode = openvino_encoder(self._network) if config.encoder == "openvino" else trainee.encode
        self._features = self._open_features(cache) if config.cache else None

    def batches(self, first: int = 0, end: int | None = None) -> Generator[tuple[int, Loaded], None, None]:
        """Yield the batches from ``first`` to ``end``, the same for any number of workers."""
        for numbers, side in self.schedule.spans(first, self.schedule.batches if end is None else end):
            self._set_side(side)
            for index, loaded in zip(numbers, self._begin_reading(numbers), strict=True):
                if isinstance(loaded, Exception):
                    raise loaded
                self._set_side(side)
                yield index, loaded

    def at_full_side(self) -> None:
        """Give the network the side that training ends with, as validation wants it; the next batch sets its own."""
        self._set_side(self.schedule.side(self.schedule.batches - 1))

    def features(self, loaded: Loaded) -> tuple[Encoded, Tensor | None]:
        """Return features of a batch's images and, where needed, the embedding of their clear versions."""
        device = self._fabric.device
        if self._features is not None:
            return self._read_features(self._features, loaded.visits)
        if loaded.pixels is None:
            raise AssertionError("images were not read")
        with self._fabric.autocast(), torch.set_grad_enabled(not self._trainee.encoder_frozen):
            encoded = self._encode(loaded.pixels.to(device, non_blocking=True))
        if loaded.clear is None:
            return encoded, None
        with self._fabric.autocast(), torch.no_grad():
            return encoded, self._encode(loaded.clear.to(device, non_blocking=True)).embedding

    def _set_side(self, side: int) -> None:
        if side != self._network.side:
            set_side(self._network, side)

    def _begin_reading(self, numbers: range) -> Iterator[Loaded | Exception]:
        loader = self._open_loader(numbers)
        with _pause_opencv():
            return iter(loader)

    def _open_loader(self, numbers: range) -> DataLoader[Loaded | Exception]:
        """Return torch's loader of some batches, all of the network's present side."""
        on_gpu, workers = self._fabric.device.type == "cuda", self._jobs
        if self._features is not None or (workers == 1 and not on_gpu):
            workers = 0
        else:  # forked workers share what is read before: the index is loaded once
            sample = self.schedule.visits(numbers[0])[0]
            self._benchmark.find_stored_image(sample.image_id, "clear")
            self._benchmark.plan(sample.image_id, self._benchmark.levels[-1])
            self._benchmark.mask(sample.mask_ids[0])
        loader = Loader(
            self._benchmark,
            self._trainee.adapter,
            self._config,
            pixels=self._features is None,
            clear=self._reconstructs,
        )
        return DataLoader(
            Share(self.schedule, loader, self._fabric.global_rank, self._fabric.world_size),
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            pin_memory=on_gpu,
            worker_init_fn=functools.partial(_begin_worker, os.getpid()),
            generator=torch.Generator(),  # the global one stays as it is
        )

    def _open_features(self, folder: Path) -> FeatureCache:
        items = all_items(self.schedule.image_ids, self._config.levels)
        preparation = f"{type(self._trainee.adapter).__name__} {self._config.encoder}"
        key = cache_key(self._network.image_encoder, preparation, self._benchmark.digest, self._network.side, items)
        with self._fabric.rank_zero_first():
            example = self._encode_whole(self._read_item(items[0])[None].to(self._fabric.device))
            return FeatureCache(folder / key, items, example, self._config.cache_gb * 1e9)

    def _read_item(self, item: Item) -> Tensor:
        """Return an image at a level as network input."""
        return self._trainee.adapter.prepare(as_rgb(self._benchmark.image(*item)))[0]

    @torch.no_grad()
    def _encode_whole(self, pixels: Tensor) -> Encoded:
        """Encode by the frozen encoder in full precision."""
        return self._encode(pixels)

    def _read_features(self, features: FeatureCache, visits: Sequence[TrainingSample]) -> tuple[Encoded, Tensor | None]:
        device = self._fabric.device
        items = [(visit.image_id, visit.level) for visit in visits]
        clear_items = [(image_id, "clear") for image_id, _ in items] if self._reconstructs else []
        chunk = 1 if device.type == "cpu" else 16  # on a CPU more are no faster, and neighbours change the last bits
        features.fill([*items, *clear_items], self._read_item, self._encode_whole, device, chunk, self._jobs)
        encoded = _move(features.read(items, intermediate=self._intermediate), device)
        if not self._reconstructs:
            return encoded, None
        return encoded, features.read(clear_items, intermediate=False).embedding.to(device)


def _move(encoded: Encoded, device: torch.device) -> Encoded:
    return Encoded(
        encoded.embedding.to(device), {name: value.to(device) for name, value in encoded.intermediate.items()}
    )


@contextlib.contextmanager
def _pause_opencv() -> Iterator[None]:
    """End OpenCV's threads for the body: a process that is forked beside them would wait for them for ever."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _begin_worker(parent: int, worker: int) -> None:
    end_with_parent(parent)
    cv2.setNumThreads(1)


@contextlib.contextmanager
def name_lost_workers() -> Iterator[None]:
    """Turn what torch raises, anywhere in the body, when a worker has ended into a WorkerLostError."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise explain_lost_worker(error) from None
