"""Models behind one interface: classical ones without weights, networks, self-tests, and users' own.

What a model has to offer is in :mod:`dmseg.baselines.interface`, which names exist in :mod:`dmseg.baselines.registry`,
what is known about each in ``models.toml``. Importing this package does not load torch.
"""

from dmseg.baselines.cards import ModelCard, model_cards
from dmseg.baselines.facts import model_facts
from dmseg.baselines.interface import CAPABILITIES, ModelAdapter, Prediction, PreparingAdapter, SelfTestAdapter
from dmseg.baselines.plain_function import FunctionAdapter
from dmseg.baselines.registry import cost_of, load_model, missing_packages, model_names

__all__ = [
    "CAPABILITIES",
    "FunctionAdapter",
    "ModelAdapter",
    "ModelCard",
    "Prediction",
    "PreparingAdapter",
    "SelfTestAdapter",
    "cost_of",
    "load_model",
    "missing_packages",
    "model_cards",
    "model_facts",
    "model_names",
]
