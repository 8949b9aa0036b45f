"""How long the click page's answers take: encode once, then each further click, through the web application.

    python benchmarks/bench_click.py [MODEL[=WEIGHTS] ...]      default: mini-sam mini-pge-sam watershed

Prints medians in milliseconds for phantom images; the first click of an image includes its encoding.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from starlette.testclient import TestClient

from dmseg import build, load_model
from dmseg.click import gallery_of_benchmark
from dmseg.click.server import build_app


def main(models: list[str]) -> None:
    """Print a row per model."""
    gallery = gallery_of_benchmark(build.open_benchmark(build.phantom_benchmark(1)), 1)
    print(f"{'model':<18}{'first click':>14}{'later clicks':>14}   ms, median over {len(gallery.entries)} images")
    for text in models:
        name, _, weights = text.partition("=")
        with tempfile.TemporaryDirectory() as out:
            app, token = build_app(gallery, {name: load_model(name, weights=weights or None)}, Path(out))  # type: ignore[dict-item]
            client = TestClient(app, base_url="http://127.0.0.1", headers={"x-token": token})
            first: list[float] = []
            later: list[float] = []
            for entry in gallery.entries:
                given = []
                for step in range(5):
                    x, y = (entry.width * (step + 2)) // 8, (entry.height * (step + 2)) // 8
                    given.append({"kind": "point", "values": [x, y, int(step % 2 == 0)]})
                    view = {"image_id": entry.image_id, "level": "clear"}
                    begun = time.perf_counter()
                    answer = client.post("/answer", json={"view": view, "model": name, "prompts": given})
                    answer.raise_for_status()
                    (later if step else first).append((time.perf_counter() - begun) * 1000)
        print(f"{name:<18}{statistics.median(first):>14.0f}{statistics.median(later):>14.0f}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["mini-sam", "mini-pge-sam", "watershed"])
