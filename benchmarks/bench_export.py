"""Exported networks beside torch: the same masks on 50 phantoms, and the CPU time of encoder and decoder.

    python benchmarks/bench_export.py lite-medsam --weights lite_medsam.pth --masks 50

Every mask gets its box, then a click in its middle with the logits of the step before. Image by image torch and the
exported files take turns in one process on one thread; times are CPU time, so that other processes on the machine
count for none of them. Needs the extras onnx and openvino.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmseg import build
from dmseg.baselines import export_model, load_model
from dmseg.types import Prompts


def ask(model: Any, image: Any, mask: Any) -> tuple[Any, float, float]:
    """Return the two masks (2, H, W), and the CPU seconds of encoding and of one decoded step."""
    rows, columns = np.nonzero(mask)
    box = np.array([columns.min(), rows.min(), columns.max(), rows.max()], np.float32)
    middle = len(rows) // 2
    click = np.array([[columns[middle], rows[middle]]], np.float32)
    nothing = (np.zeros((0, 2), np.float32), np.zeros(0, np.int8))
    begun = time.process_time()
    embedding = model.encode([image])
    between = time.process_time()
    first = model.predict(embedding, [0], [Prompts(*nothing, box, 1)], [None])
    second = model.predict(embedding, [0], [Prompts(click, np.ones(1, np.int8), box, 2)], first.state)
    ended = time.process_time()
    masks = np.stack([np.asarray(answer.logits)[0] > 0 for answer in (first, second)])
    return masks, between - begun, (ended - between) / 2


def dice(one: Any, other: Any) -> float:
    """Return Dice of two masks; of two empty ones 1."""
    total = one.sum() + other.sum()
    return float(2 * (one & other).sum() / total) if total else 1.0


def main(name: str, weights: str | None, masks: int, formats: list[str], data: Path | None) -> None:
    """Print one row per runtime."""
    torch.set_num_threads(1)
    bench = build.open_benchmark(data or build.phantom_benchmark(2))
    chosen = bench.masks.iloc[:: max(1, len(bench.masks) // masks)].head(masks)
    with tempfile.TemporaryDirectory() as folder:
        models: dict[str, Any] = {"torch": load_model(name, weights=weights, device="cpu")}
        for kind in formats:
            out = Path(folder) / kind
            exported = export_model(name, kind, out, weights)
            print(f"{kind}: logits of the drawn image differ by {exported.difference:.2g} at most", flush=True)
            models[kind] = load_model(f"{kind}:{out}")
        seen: dict[str, list[Any]] = {kind: [] for kind in models}
        for row in chosen.to_dict("records"):
            image, mask = bench.image(row["image_id"], "clear"), bench.mask(row["mask_id"])
            image = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
            for kind, model in models.items():
                seen[kind].append(ask(model, image, mask))
    _, encode, decode = ([one[place] for one in seen["torch"]] for place in range(3))
    print(f"{name}, {len(encode)} phantoms, one thread, medians of CPU time")
    print(f"{'':<10}{'encode ms':>11}{'ratio':>7}{'decode ms':>11}{'ratio':>7}{'Dice to torch: lowest':>23}{'mean':>9}")
    base = statistics.median(encode), statistics.median(decode)
    for kind, answers in seen.items():
        times = [statistics.median(one[place] for one in answers) for place in (1, 2)]
        pairs = zip(answers, seen["torch"], strict=True)
        alike = [dice(mask, known) for one, other in pairs for mask, known in zip(one[0], other[0], strict=True)]
        print(
            f"{kind:<10}{times[0] * 1e3:>11.1f}{base[0] / times[0]:>7.2f}{times[1] * 1e3:>11.1f}"
            f"{base[1] / times[1]:>7.2f}{min(alike):>23.5f}{statistics.mean(alike):>9.5f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--weights")
    parser.add_argument("--masks", type=int, default=50)
    parser.add_argument("--data", type=Path, help="benchmark folder; default: two phantoms of each dataset")
    parser.add_argument("--formats", nargs="+", default=["onnx", "openvino"])
    given = parser.parse_args()
    main(given.name, given.weights, given.masks, given.formats, given.data)
