"""Every ablation of the paper is a preset of training; every preset is a network that some model loads."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from dmseg.baselines.loading import (  # noqa: E402
    FAMILIES,
    add_modules,
    kind_of,
)
from dmseg.training.config import load_config, preset_names  # noqa: E402

FULL = load_config("mini-pge-sam")

# What the paper changes -> where our preset has it. Frozen baseline: mini-sam as it is. Weight 5, Gaussian maps, one
# block per stage: the full method.
ABLATIONS: dict[str, dict[str, Any]] = {
    "no-pgg": {"guidance": False},
    "mask-only": {"points": "none", "boxes": "none"},
    "binary": {"points": "binary", "boxes": "binary"},
    "binary-points": {"points": "binary"},
    "binary-boxes": {"boxes": "binary"},
    "no-msfi": {"interaction": False},
    "nafblock": {"block": "nafblock"},
    "attention-gate": {"gate": "attention-gate"},
    "3-blocks": {"blocks": 3},
    "5-blocks": {"blocks": 5},
    "8-blocks": {"blocks": 8},
    "no-fr": {},
    "fr1": {},
    "fr2": {},
    "fr10": {},
    "global-mse": {},
    "no-segmentation": {},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_changes_one_choice_and_has_its_own_name(name: str) -> None:
    config = load_config(f"mini-pge-sam-{name}")
    assert config.enhancer == ABLATIONS[name]
    changed = {field for field in config.__slots__ if getattr(config, field) != getattr(FULL, field)}
    allowed = {"enhancer"} if ABLATIONS[name] else {"losses"}
    assert changed - {"model", "trained"} == allowed and config.model == f"mini-pge-sam-{name}"


def test_losses_of_the_ablations() -> None:
    weights = {name: load_config(f"mini-pge-sam-{name}").losses for name in ABLATIONS}
    assert [weights[name].reconstruction for name in ("no-fr", "fr1", "fr2", "fr10")] == [0, 1, 2, 10]
    assert FULL.losses.reconstruction == 5 and weights["global-mse"].reconstruction_support == "global"
    alone = load_config("mini-pge-sam-no-segmentation")
    assert (alone.losses.dice, alone.losses.focal, alone.losses.iou) == (0, 0, 0) and alone.trained == ("enhancer",)


def test_the_rows_of_table_5_add_one_choice_each() -> None:
    rows = [load_config(f"mini-pge-sam-{name}") for name in ("fe", "fe-pgg", "no-msfi")]
    assert [row.enhancer for row in rows] == [
        {"guidance": False, "interaction": False}, {"interaction": False}, {"interaction": False}
    ]  # fmt: skip
    assert [row.losses.reconstruction_support for row in rows] == ["global", "global", "soft"]
    assert all(row.trained == FULL.trained for row in rows)


def test_what_is_fine_tuned_alone() -> None:
    alone = load_config("mini-pge-sam-enhancer-only")
    assert alone.trained == ("enhancer",) and alone.losses == FULL.losses and alone.enhancer == FULL.enhancer
    assert load_config("mini-ft").trained == ("mask_decoder",)
    assert load_config("mini-ft-token").trained == ("output_token",)


@pytest.mark.parametrize("name", [name for name in preset_names() if name != "mini-sam"])
def test_every_preset_makes_a_network_that_some_model_loads(name: str) -> None:
    config = load_config(name)
    addition = {"enhancer": config.enhancer, "robust": config.robust}
    with torch.device("meta"):
        add_modules(FAMILIES[config.base].build(), config.base, addition)
    loads = [
        model
        for model, family in FAMILIES.items()
        if config.base in family.bases and kind_of(family.addition) == kind_of(addition)
    ]
    assert loads
    if config.model in FAMILIES:
        assert config.model in loads
