"""What is put on a base network before it is trained: a Feature Enhancer, RobustSAM's blocks, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmseg.baselines.networks.robust_sam import robust_on
from dmseg.baselines.networks.sam import TABLE, PromptedNetwork
from dmseg.baselines.pge_sam import EnhancedNetwork, enhancer_config
from dmseg.errors import UsageError, unknown_name


def add_modules(network: PromptedNetwork, base: str, config: Mapping[str, Any]) -> PromptedNetwork:
    """Return a base network with what a training configuration puts on it; the base's parts are taken over.

    Args:
        network: the base network.
        base: its name.
        config: of it, ``enhancer`` (a table of changes of :class:`~dmseg.baselines.pge_sam.EnhancerConfig`, may be
            empty) and ``robust`` (true or false) are looked at; without either the network is returned as it is.

    Raises:
        UsageError: the base has no such addition, or an enhancer of another width.
        DataError: a field of the enhancer that does not exist, or of the wrong type.
    """
    kind = kind_of(config)
    if kind == "enhancer":
        enhancer, width = enhancer_config(base, config["enhancer"]), network.prompt_encoder.embed_dim
        if enhancer.width != width:
            raise UsageError(f"enhancer: width = {enhancer.width}: must be that of the embedding of {base}, {width}")
        return EnhancedNetwork(network, enhancer)
    if kind == "robust":
        first = TABLE["robust_sam"]["first"]
        if base not in first:
            raise unknown_name("base of RobustSAM's blocks", base, first)
        return robust_on(network, first[base]["name"], first[base]["width"])
    return network


def kind_of(config: Mapping[str, Any]) -> str:
    """Return what a configuration puts on its base: ``enhancer``, ``robust``, or an empty string."""
    if config.get("enhancer") is not None:
        return "enhancer"
    return "robust" if config.get("robust") else ""
