"""Publish a benchmark or a run: Parquet that Hugging Face reads, Croissant, a card, what an archive asks for.

Pixels and masks go out only where the licence of their dataset allows it (``share_pixels``, ``share_masks`` of its
recipe) or where dmseg drew them; of all others the manifest goes out, from which anyone with the raw data builds the
same benchmark.
"""

from dmseg.publish.benchmark import Published, publish_benchmark
from dmseg.publish.run import publish_run

__all__ = ["Published", "publish_benchmark", "publish_run"]
