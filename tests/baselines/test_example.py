"""The example of five clicks runs as its first lines say, and leaves an image after each click."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tiny_benchmark import disc, picture

from dmseg import imaging

EXAMPLE = Path(__file__).parents[2] / "examples" / "five_clicks.py"


def test_a_picture_after_every_click(tmp_path: Path) -> None:
    shape = (30, 24, 12)
    imaging.write_png(tmp_path / "image.png", picture((shape,), "lq3"))
    imaging.write_mask(tmp_path / "mask.png", disc(*shape))
    command = [sys.executable, EXAMPLE, "image.png", "mask.png", "--model", "disk", "--out", "clicks"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    written = sorted(path.name for path in (tmp_path / "clicks").iterdir())
    assert written == [f"step_{step}.png" for step in range(1, len(lines) + 1)]
    assert len(lines) == 5 and lines[0].startswith("click 1: Dice 0.")
    assert imaging.image_header(tmp_path / "clicks" / "step_5.png")[1] == 384
