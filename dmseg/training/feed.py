"""What training is fed with: batches read ahead, features from the encoder or from disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from dmseg.baselines.networks.mini import set_side
from dmseg.baselines.networks.robust_sam import RobustNetwork
from dmseg.baselines.networks.sam import Encoded
from dmseg.baselines.pge_sam import EnhancedNetwork
from dmseg.build import Benchmark
from dmseg.training.config import TrainConfig
from dmseg.training.features import FeatureCache, Item, all_items, cache_key
from dmseg.training.frozen import openvino_encoder
from dmseg.training.networks import TrainableModel
from dmseg.training.samples import BatchSchedule, Loaded, Loader, TrainingSample
from dmseg.types import as_rgb


class Feed:
    """One process's share of the batches.

    Args:
        executor: threads that read images.
        cache: folder for kept features; used where the configuration keeps them.

    Attributes:
        curriculum: which batches there are.
    """

    def __init__(
        self,
        config: TrainConfig,
        benchmark: Benchmark,
        trainee: TrainableModel,
        fabric: Fabric,
        executor: Executor,
        cache: Path,
    ) -> None:
        self._config, self._benchmark, self._trainee = config, benchmark, trainee
        self._fabric, self._executor = fabric, executor
        self._network = trainee.network
        self.curriculum = BatchSchedule(benchmark, config, self._network.side)
        self._reconstructs = isinstance(self._network, EnhancedNetwork) and config.losses.reconstruction > 0
        self._intermediate = isinstance(self._network, EnhancedNetwork | RobustNetwork)
        self._loader = Loader(benchmark, trainee.adapter, config, pixels=not config.cache, clear=self._reconstructs)
        self._encode = openvino_encoder(self._network) if config.encoder == "openvino" else trainee.encode
        self._features = self._open_features(cache) if config.cache else None
        self._ahead: Future[Loaded] | None = None

    def batches(self, first: int) -> Iterator[tuple[int, Loaded]]:
        """Yield the batches from ``first`` on, each read while the one before is trained on."""
        total = self.curriculum.batches
        with ThreadPoolExecutor(1) as reader:
            for index in range(first, total):
                self._at_side(self.curriculum.side(index))
                loaded = self._ahead.result() if self._ahead is not None else self.load(index)
                self._ahead = None
                if index + 1 < total and self.curriculum.side(index + 1) == self._network.side:
                    self._ahead = reader.submit(self.load, index + 1)
                yield index, loaded
                self._at_side(self.curriculum.side(index))

    def at_full_side(self) -> None:
        """Give the network the side that training ends with, as validation wants it; the next batch sets its own."""
        if self._ahead is not None:
            wait([self._ahead])
        self._at_side(self.curriculum.side(self.curriculum.batches - 1))

    def features(self, loaded: Loaded) -> tuple[Encoded, Tensor | None]:
        """Return features of a batch's images and, where needed, the embedding of their clear versions."""
        device = self._fabric.device
        if self._features is not None:
            return self._read_features(self._features, loaded.visits)
        if loaded.pixels is None:
            raise AssertionError("images were not read")
        with self._fabric.autocast(), torch.set_grad_enabled(not self._trainee.encoder_frozen):
            encoded = self._encode(loaded.pixels.to(device))
        if loaded.clear is None:
            return encoded, None
        with self._fabric.autocast(), torch.no_grad():
            return encoded, self._encode(loaded.clear.to(device)).embedding

    def _at_side(self, side: int) -> None:
        if side != self._network.side:
            set_side(self._network, side)

    def load(self, index: int) -> Loaded:
        """Read this process's share of a batch."""
        return self._loader.load(self._own(self.curriculum.visits(index)), self._executor)

    def _own(self, visits: Sequence[TrainingSample]) -> Sequence[TrainingSample]:
        return visits[self._fabric.global_rank :: self._fabric.world_size]

    def _open_features(self, folder: Path) -> FeatureCache:
        items = all_items(self.curriculum.image_ids, self._config.levels)
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
        features.fill([*items, *clear_items], self._read_item, self._encode_whole, self._executor, device, chunk)
        encoded = _move(features.read(items, intermediate=self._intermediate), device)
        if not self._reconstructs:
            return encoded, None
        return encoded, features.read(clear_items, intermediate=False).embedding.to(device)


def _move(encoded: Encoded, device: torch.device) -> Encoded:
    return Encoded(
        encoded.embedding.to(device), {name: value.to(device) for name, value in encoded.intermediate.items()}
    )
