"""Network baselines: milliseconds per image, and five steps on four masks against the authors' own loops.

    .venv/bin/python benchmarks/bench_models.py mobile-sam lite-medsam --rounds 3

The first table is per image of 512 x 512 and per batch of masks. The second times the whole of an evaluation (encode,
then five steps with feedback of the logits, for four masks) against what the authors' code does for each mask anew: set
the image, then predict five times. Same weights (random: time does not depend on them), same clicks, same process, in
turns; CPU time, so that other processes on the machine count for neither. The authors' loops: ``SamPredictor`` of the
package segment_anything for SAM and MobileSAM; for the others, which publish scripts, their per-mask loop in our own
words over the same network.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from side_by_side import star

import dmseg
from dmseg.baselines import model_cards
from dmseg.types import Prompts

SIDE, MASKS, STEPS = 512, 4, 5
DEFAULT = ("mobile-sam", "lite-medsam", "sam-med2d", "sam-med2d-adapter")


def picture() -> Any:
    noise = np.random.default_rng(0).integers(0, 90, (SIDE, SIDE, 3))
    return (noise + 120 * star(SIDE, area=0.1, phase=1.0)[..., None]).astype(np.uint8)


def clicks(box_only: bool) -> list[list[Prompts]]:
    """Return the prompts of every mask at every step: step t has t clicks."""
    drawn = np.random.default_rng(1).integers(20, SIDE - 20, (MASKS, STEPS, 2)).astype(np.float32)
    box = np.array([100, 120, 380, 400], np.float32) if box_only else None
    labels = (np.arange(STEPS) % 2 == 0).astype(np.int8)
    count = [0] * STEPS if box_only else range(1, STEPS + 1)
    return [[Prompts(xy[:n], labels[:n], box, t + 1) for t, n in enumerate(count)] for xy in drawn]


def ours(model: Any, image: Any, asked: list[list[Prompts]], chunk: int) -> None:
    """One encoder pass, then all masks together at every step."""
    embeddings = model.encode([image])
    state: list[Any] = [None] * len(asked)
    for step in range(STEPS):
        for start in range(0, len(asked), chunk):
            rows = slice(start, start + chunk)
            answer = model.predict(
                embeddings, [0] * len(asked[rows]), [mask[step] for mask in asked[rows]], state[rows]
            )
            _ = answer.logits.numpy() > 0
            state[rows] = answer.state


def per_mask(model: Any, image: Any, asked: list[list[Prompts]]) -> None:
    """The scripts that MedSAM, LiteMedSAM, SAM-Med2D and RobustSAM publish: every mask starts from the image."""
    for mask in asked:
        embeddings = model.encode([image])
        state: list[Any] = [None]
        for given in mask:
            answer = model.predict(embeddings, [0], [given], state)
            _ = answer.logits.numpy() > 0
            state = answer.state


def with_predictor(predictor: Any, image: Any, asked: list[list[Prompts]]) -> None:
    """Meta's predictor, as SAM and MobileSAM publish it, with the image set once per mask."""
    for mask in asked:
        predictor.set_image(image)
        low_res = None
        for given in mask:
            _, _, low_res = predictor.predict(given.points, given.labels, given.box, low_res, multimask_output=False)


def authors(name: str, model: Any) -> Callable[..., None]:
    """Return the authors' loop over the very same network."""
    if name != "mobile-sam" and not name.startswith("sam-vit"):
        return lambda image, asked: per_mask(model, image, asked)
    network = model.network

    class Encoder(torch.nn.Module):
        """The encoder as Meta's predictor calls it: the embedding alone."""

        img_size = network.side

        def __init__(self) -> None:
            super().__init__()
            self.encoder = network.image_encoder

        def forward(self, pixels: Any) -> Any:
            return self.encoder(pixels)[0]

    predictor = SamPredictor(Sam(Encoder(), network.prompt_encoder, network.mask_decoder).eval())
    return lambda image, asked: with_predictor(predictor, image, asked)


def cpu_ms(call: Callable[[], Any], rounds: int) -> float:
    spent = []
    for turn in range(rounds + 1):
        start = time.process_time()
        call()
        if turn or rounds == 0:
            spent.append((time.process_time() - start) * 1000)
    return statistics.median(spent)


def measure(name: str, rounds: int) -> None:
    model: Any = dmseg.load_model(name, weights="random", device="cpu")
    image, asked = picture(), clicks("points" not in model.capabilities)
    chunk = MASKS if "batched_prompts" in model.capabilities else 1
    encode = cpu_ms(lambda: model.encode([image]), rounds)
    embeddings = model.encode([image])
    decode = {
        count: cpu_ms(
            lambda count=count: model.predict(embeddings, [0] * count, [m[0] for m in asked[:count]], [None] * count),
            rounds,
        )
        for count in ((1, MASKS) if chunk > 1 else (1,))
    }
    theirs = authors(name, model)
    loops: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours(model, image, asked, chunk),
        "authors": lambda: theirs(image, asked),
    }
    spent: dict[str, list[float]] = {key: [] for key in loops}
    for turn in range(rounds + 1):
        for key, loop in loops.items():
            value = cpu_ms(loop, 0)
            if turn or rounds == 0:
                spent[key].append(value)
    first, second = (statistics.median(spent[key]) for key in loops)
    ratios = [b / a for a, b in zip(spent["ours"], spent["authors"], strict=True)]
    print(
        f"{name:<20}encode {encode:9.0f}   decode "
        + ", ".join(f"{count}: {value:7.0f}" for count, value in decode.items())
        + f"   {MASKS} masks x {STEPS} steps: ours {first:9.0f}, authors {second:9.0f}"
        f"   {second / first:5.2f} x [{min(ratios):.2f} .. {max(ratios):.2f}]",
        flush=True,
    )


def main() -> None:
    networks = [name for name, card in model_cards().items() if card.kind == "network"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(DEFAULT)}; all: every network")
    parser.add_argument("--rounds", type=int, default=3, help="after one that is not counted; 0: a single, cold one")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    names = networks if given.names == ["all"] else given.names or list(DEFAULT)
    rounds = f"median of {given.rounds} rounds" if given.rounds else "one cold round"
    print(f"CPU ms, {rounds}, {given.threads} threads, {SIDE} x {SIDE}")
    for name in names:
        measure(name, given.rounds)


if __name__ == "__main__":
    main()
