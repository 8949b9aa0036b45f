"""The optimiser's groups, its learning rate over a run, and averaged weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from small_training import small  # noqa: E402

from dmseg.training.optimiser import Average, adamw, build_schedule  # noqa: E402


def test_parts_have_their_own_rate_and_only_matrices_decay() -> None:
    layer, other = torch.nn.Linear(3, 3), torch.nn.Linear(2, 2)
    groups = {"enhancer": dict(layer.named_parameters()), "mask_decoder": dict(other.named_parameters())}
    config = small("mini-pge-sam", "weight_decay=0.1", "warmup=2")
    optimiser = adamw(groups, config)
    build_schedule(optimiser, 100, config)
    found = {id(value): group for group in optimiser.param_groups for value in group["params"]}
    assert found[id(layer.weight)]["lr"] == 0.5 * 2e-3 and found[id(other.weight)]["lr"] == 0.5 * 3e-4
    assert found[id(layer.weight)]["weight_decay"] == 0.1 and found[id(layer.bias)]["weight_decay"] == 0


def rates(steps: range, peak: str = "initial_lr") -> list[float]:
    """The learning rates of a part at some steps of 1000, as after a restart at the first of them."""
    config = small("mini-sam", "warmup=50", "final_rate=0.01", "learning_rate={all=2.0}")
    optimiser = adamw({"all": {"weight": torch.nn.Parameter(torch.zeros(2, 2))}}, config)
    for group in optimiser.param_groups:
        group[peak] = group["lr"]
        group["lr"] = 0.123  # what a saved state holds from its last step
    schedule, found = build_schedule(optimiser, 1000, config, steps.start), []
    for _ in steps:
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return found


def test_the_rate_warms_up_and_falls_to_its_last_share() -> None:
    found = rates(range(1000))
    assert found[0] == pytest.approx(2 / 50, rel=1e-3)
    assert found[:49] == sorted(found[:49]) and found[50:] == sorted(found[50:], reverse=True)
    assert max(found) > 2 * 0.99 and found[-1] == pytest.approx(2 * 0.01, rel=1e-2)


@pytest.mark.parametrize("peak", ["initial_lr", "peak"])
def test_a_schedule_goes_on_at_any_step_from_states_of_today_and_of_before(peak: str) -> None:
    assert rates(range(30, 60), peak) == rates(range(60))[30:]


def test_averages_follow_the_weights_and_take_their_place_for_a_while() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    average = Average({"w": weight}, 0.9)
    with torch.no_grad():
        weight += 1
    average.update()
    with pytest.raises(KeyError), average.in_place_of_weights():
        assert weight.tolist() == pytest.approx([0.1, 0.1])
        raise KeyError
    assert weight.tolist() == [1, 1] and average.values["w"].tolist() == pytest.approx([0.1, 0.1])
