"""The optimiser's groups, its learning rate over a run, and averaged weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from small_training import small  # noqa: E402

from dmseg.training.optimiser import Average, adamw, rate_factor, set_rate  # noqa: E402


def test_parts_have_their_own_rate_and_only_matrices_decay() -> None:
    layer, other = torch.nn.Linear(3, 3), torch.nn.Linear(2, 2)
    groups = {"enhancer": dict(layer.named_parameters()), "mask_decoder": dict(other.named_parameters())}
    optimiser = adamw(groups, small("mini-pge-sam", "weight_decay=0.1"))
    set_rate(optimiser, 0.5)
    found = {id(value): group for group in optimiser.param_groups for value in group["params"]}
    assert found[id(layer.weight)]["lr"] == 0.5 * 2e-3 and found[id(other.weight)]["lr"] == 0.5 * 3e-4
    assert found[id(layer.weight)]["weight_decay"] == 0.1 and found[id(layer.bias)]["weight_decay"] == 0


def test_the_rate_warms_up_and_falls_to_its_last_share() -> None:
    factors = [rate_factor(step, 1000, 50, 0.01) for step in range(1000)]
    assert factors[0] == pytest.approx(1 / 50, rel=1e-3)
    assert factors[:49] == sorted(factors[:49]) and factors[50:] == sorted(factors[50:], reverse=True)
    assert max(factors) > 0.99 and factors[-1] == pytest.approx(0.01, rel=1e-2)


def test_averages_follow_the_weights_and_change_places_with_them() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    average = Average({"w": weight}, 0.9)
    with torch.no_grad():
        weight += 1
    average.update()
    average.swap()
    assert weight.tolist() == pytest.approx([0.1, 0.1])
    average.swap()
    assert weight.tolist() == [1, 1] and average.values["w"].tolist() == pytest.approx([0.1, 0.1])
