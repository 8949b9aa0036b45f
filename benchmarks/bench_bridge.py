"""What a bridge costs: one encode and one predict of a 1024 x 1024 image in another process against this one.

    python benchmarks/bench_bridge.py [side]

The model does next to nothing, so what is measured is copying, frames and pipes. Prints milliseconds per call and
their difference, medians of turns that alternate.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from dmseg.baselines import ModelAdapter, load_model
from dmseg.types import Prompts

MODEL = """
import numpy as np
from dmseg.baselines import Prediction


class Nothing:
    name, version = "nothing", "1"
    capabilities = frozenset({"points", "negative_points", "box", "mask_feedback"})

    def encode(self, images):
        return [np.zeros(image.shape[:2], np.float32) for image in images]

    def predict(self, embeddings, image_index, prompts, state):
        return Prediction(embeddings[0][None], [None])
"""
TURNS = 60


def time_calls(model: ModelAdapter, image: np.ndarray) -> tuple[float, float]:
    """Return the seconds of one encode and one predict."""
    prompts = Prompts(np.array([[5.0, 5.0]], np.float32), np.ones(1, np.int8), None, 1)
    begun = time.perf_counter()
    embedding = model.encode([image.copy()])
    between = time.perf_counter()
    model.predict(embedding, [0], [prompts], [None])
    return between - begun, time.perf_counter() - between


def main(side: int) -> None:
    """Print the table."""
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "nothing.py").write_text(MODEL)
        bridge_file = Path(folder) / "bridge.toml"
        bridge_file.write_text(f'model = "nothing.py:Nothing"\npython = "{sys.executable}"\n')
        here = load_model(f"{folder}/nothing.py:Nothing")
        there = load_model(f"bridge:{bridge_file}")
        turns = [(time_calls(here, image), time_calls(there, image)) for _ in range(TURNS)][5:]
    print(f"{side} x {side}, {len(turns)} turns, median ms      in process   bridge   overhead")
    for place, call in enumerate(("encode", "predict")):
        inside, outside = (statistics.median(turn[where][place] for turn in turns) * 1e3 for where in (0, 1))
        print(f"{call:<40}{inside:>10.2f}{outside:>9.2f}{outside - inside:>11.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
