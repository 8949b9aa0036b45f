"""Models behind one interface: classical ones without weights, networks, self-tests, and users' own.

What a model has to offer is in :mod:`dmseg.baselines.interface`. Loading one goes through three rooms: its name and its
table entry (:mod:`~dmseg.baselines.registry`, ``models.toml``), the network that the entry describes
(:mod:`~dmseg.baselines.loading`), its weights file (:mod:`~dmseg.baselines.checkpoints`). Importing this package does
not load torch.
"""

from dmseg.baselines.cards import ModelCard, list_unseen_prompts, model_cards
from dmseg.baselines.facts import model_facts
from dmseg.baselines.interface import CAPABILITIES, ModelAdapter, Prediction, PreparingAdapter, SelfTestAdapter
from dmseg.baselines.plain_function import FunctionAdapter
from dmseg.baselines.registry import cost_of, export_model, find_missing_packages, load_model, model_names
from dmseg.baselines.restorers import PREFIX as RESTORER_PREFIX
from dmseg.baselines.restorers import load_restorer, restorer_cards, split_cascade

__all__ = [
    "CAPABILITIES",
    "RESTORER_PREFIX",
    "FunctionAdapter",
    "ModelAdapter",
    "ModelCard",
    "Prediction",
    "PreparingAdapter",
    "SelfTestAdapter",
    "cost_of",
    "export_model",
    "find_missing_packages",
    "list_unseen_prompts",
    "load_model",
    "load_restorer",
    "model_cards",
    "model_facts",
    "model_names",
    "restorer_cards",
    "split_cascade",
]
