"""Features of the frozen encoder, kept on disk: each image at each level is encoded once for all runs.

One folder per encoder, benchmark and side: ``index.json`` (images, levels, shapes), one file of float16 numbers per
tensor, and ``done.u8`` with a 1 for each row that is complete, so that filling goes on where it stopped. Files are
sparse: what is not filled takes no room. It is no ledger of :mod:`dmseg.jobs`, whose parts are merged and removed once
all are there: features are read at random while others are still missing, the embedding alone where that is enough.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dmseg.baselines.networks.sam import Encoded
from dmseg.errors import MachineError
from dmseg.files import lock, write_text
from dmseg.jobs import INLINE, Backend, run
from dmseg.types import LEVELS

_EMBEDDING = "embedding"
_LEAST_FREE = 50_000_000
"""Bytes that are left on the disk of a cache."""
Item = tuple[str, str]
"""An image id and a level."""


class FeatureCache:
    """Embedding and intermediate features of images at levels, memory-mapped.

    Args:
        folder: of this cache; made where it is not there.
        items: every (image id, level) that it holds, in order.
        example: an encoding of one image, for names and shapes.
        limit: bytes that it may take on disk; what comes later is encoded at every visit.
    """

    def __init__(self, folder: Path, items: Sequence[Item], example: Encoded, limit: float = math.inf) -> None:
        self.folder = folder
        self._rows = {item: row for row, item in enumerate(items)}
        shapes = {
            _EMBEDDING: tuple(example.embedding.shape[1:]),
            **{name: tuple(value.shape[1:]) for name, value in example.intermediate.items()},
        }
        row_bytes = sum(int(np.prod(shape)) for shape in shapes.values()) * np.dtype(np.float16).itemsize
        self._room = min(len(items), limit // row_bytes)
        self._held: dict[Item, dict[str, NDArray[np.float16]]] = {}
        self._row_bytes = row_bytes
        # Another run may open the same cache at this moment: one makes its files, the others find them.
        with lock(folder / "lock", needed=False):
            self._open(folder, items, shapes)

    def _open(self, folder: Path, items: Sequence[Item], shapes: dict[str, tuple[int, ...]]) -> None:
        index = json.dumps({"items": items, "shapes": shapes}, indent=0) + "\n"
        place, done = folder / "index.json", folder / "done.u8"
        half = np.dtype(np.float16)
        files = {name: (folder / f"{name}.f16", (len(items), *shape)) for name, shape in shapes.items()}
        whole = all(_fits(path, shape, half) for path, shape in files.values())
        if not whole or not place.is_file() or place.read_text(encoding="utf-8") != index:
            done.unlink(missing_ok=True)
            write_text(place, index)
        self._done = _map_file(done, (len(items),), np.dtype(np.uint8))
        self._arrays = {name: _map_file(path, shape, half) for name, (path, shape) in files.items()}

    def fill(
        self,
        wanted: Iterable[Item],
        read: Callable[[Item], Tensor],
        encode: Callable[[Tensor], Encoded],
        device: torch.device,
        chunk: int = 16,
        jobs: int = 1,
    ) -> int:
        """Encode what is wanted and missing, and return how many that were.

        What finds no room on disk is held, equally rounded, until the next call.

        Args:
            wanted: the items that are read next; the others can be filled later, by another run, too.
            read: an image at a level as network input (3, S, S).
            encode: (B, 3, S, S) on ``device`` to features, without gradients.
            chunk: images per call of ``encode``, which ``jobs`` threads read.
        """
        rows_wanted = sorted({self._rows[item] for item in wanted})
        names = list(self._rows)
        self._held = {}
        missing = [names[row] for row in rows_wanted if not self._done[row]]
        backend = Backend("threads", jobs) if jobs > 1 and chunk > 1 else INLINE
        for start in range(0, len(missing), chunk):
            part = missing[start : start + chunk]
            with run(read, part, backend, ordered=True) as images:
                encoded = encode(torch.stack(list(images)).to(device))
            tensors = {_EMBEDDING: encoded.embedding, **encoded.intermediate}
            arrays = {name: value.to("cpu", torch.float16).numpy() for name, value in tensors.items()}
            for place, item in enumerate(part):
                self._keep(item, {name: array[place] for name, array in arrays.items()})
        return len(missing)

    def read(self, items: Sequence[Item], *, intermediate: bool = True) -> Encoded:
        """Return features of images at levels, float32 on the CPU, in the order asked for."""
        names = [name for name in self._arrays if name != _EMBEDDING] if intermediate else []
        return Encoded(self._read(_EMBEDDING, items), {name: self._read(name, items) for name in names})

    def _keep(self, item: Item, values: dict[str, NDArray[np.float16]]) -> None:
        """Write one item's features and then mark its row as complete; without room, hold them in memory."""
        if int(self._done.sum()) >= self._room:
            self._held[item] = values
            return
        # The files are sparse: a write into a page that finds no room would end the process without a word.
        if (free := shutil.disk_usage(self.folder).free) < _LEAST_FREE + self._row_bytes:
            raise MachineError(
                f"{self.folder}: only {free / 1e6:.0f} MB are free on its disk; make room there, or give cache_gb a "
                "smaller number: what was done is kept"
            )
        row = self._rows[item]
        for name, value in values.items():
            self._arrays[name][row] = value
        self._done[row] = 1

    def _read(self, name: str, items: Sequence[Item]) -> Tensor:
        values = [
            self._held[item][name] if item in self._held else self._arrays[name][self._rows[item]] for item in items
        ]
        return torch.from_numpy(np.stack(values)).float()


def _fits(path: Path, shape: tuple[int, ...], kind: np.dtype[Any]) -> bool:
    return path.is_file() and path.stat().st_size == int(np.prod(shape)) * kind.itemsize


def _map_file(path: Path, shape: tuple[int, ...], kind: np.dtype[Any]) -> np.memmap[Any, np.dtype[Any]]:
    return np.memmap(path, dtype=kind, mode="r+" if _fits(path, shape, kind) else "w+", shape=shape)


def cache_key(
    encoder: torch.nn.Module, preparation: str, benchmark_digest: str, side: int, items: Sequence[Item]
) -> str:
    """Return the name of a cache's folder: it changes with any weight, with how images are prepared and what encodes
    them (a name), the benchmark, the side and the images."""
    digest = hashlib.sha256(f"{preparation} {benchmark_digest} {side} {json.dumps(items)}".encode())
    for name, tensor in encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def all_items(image_ids: Sequence[str], levels: Sequence[str]) -> list[Item]:
    """Return every image at every level wanted, and at the clear one, which reconstruction needs."""
    wanted = [level for level in LEVELS if level in {*levels, "clear"}]
    return [(image_id, level) for image_id in image_ids for level in wanted]
