"""Five clicks on one image, with an image after each.

    python examples/five_clicks.py IMAGE MASK --model mobile-sam --weights mobile_sam.pt --out clicks

The first click and each correction are those of the benchmark's protocol: MASK says what the user wants. In a notebook
the clicks can come from you: make a ``Prompts`` of your own and hand it to ``predict`` in the same way.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import dmseg
from dmseg import figures, imaging, protocol
from dmseg.types import Image, Mask

STEPS = 5


def five_clicks(model: Any, image: Image, wanted: Mask, out: Path) -> list[float]:
    """Write ``out/step_1.png`` ... and return the Dice after each click; fewer than five if one before is perfect."""
    rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    (embedding,) = model.encode([rgb])  # the expensive part, once per image
    prompts = protocol.first_prompts(protocol.preset("dmseg"), wanted, mask_id="example", seed=0)
    state = None
    dice = []
    for step in range(1, STEPS + 1):
        answer = model.predict([embedding], [0], [prompts], [state])
        mask = np.asarray(answer.logits)[0] > 0
        state = answer.state[0] if answer.state is not None else None  # what the model remembers of its last mask
        dice.append(dmseg.score(wanted, mask).dice)
        imaging.write_png(out / f"step_{step}.png", figures.panel(rgb, wanted, mask, prompts))
        click = protocol.next_click(wanted, mask)
        if click is None:
            break
        prompts = protocol.with_click(prompts, click)
    return dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("mask", type=Path)
    parser.add_argument("--model", default="watershed", help="a name of `dmseg models`; watershed needs no weights")
    parser.add_argument("--weights", type=Path, help="its official file; default: the installed one")
    parser.add_argument("--out", type=Path, default=Path("clicks"))
    given = parser.parse_args()
    model = dmseg.load_model(given.model, weights=given.weights)
    pixels, wanted = imaging.read_image(given.image).pixels, imaging.read_mask(given.mask)
    for step, dice in enumerate(five_clicks(model, pixels, wanted, given.out), 1):
        print(f"click {step}: Dice {dice:.3f}   {given.out / f'step_{step}.png'}")


if __name__ == "__main__":
    main()
