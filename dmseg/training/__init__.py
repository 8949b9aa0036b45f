"""Training of prompted networks on a built benchmark: samples, simulated interactions, losses, the loop.

Needs the extra ``[train]``. Everything that is drawn is keyed (:mod:`dmseg.rng`), so a run does not depend on the
number of processes, on workers or on having been stopped.
"""

from dmseg.training.config import TrainConfig, load_config, preset_names
from dmseg.training.loop import TrainSummary, train
from dmseg.training.memory import keep_freed_memory

__all__ = ["TrainConfig", "TrainSummary", "keep_freed_memory", "load_config", "preset_names", "train"]
