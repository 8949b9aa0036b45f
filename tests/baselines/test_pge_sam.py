"""PGE-SAM: its printed parameter counts and operations, what its maps are, and that prompts steer the embedding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_benchmark import write_tiny_benchmark

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from torch import Tensor  # noqa: E402

from dmseg import harness  # noqa: E402
from dmseg.baselines import cost_of  # noqa: E402
from dmseg.baselines.loading import (  # noqa: E402
    FAMILIES,
    Family,
    add_modules,
    random_network,
)
from dmseg.baselines.networks.mini import build_mini_sam, set_side  # noqa: E402
from dmseg.baselines.networks.robust_sam import ROBUST_PARTS, robust_on  # noqa: E402
from dmseg.baselines.networks.sam import (  # noqa: E402
    TABLE,
    Encoded,
    PromptedNetwork,
    mask_decoder,
    parameter_count,
    prompt_encoder,
)
from dmseg.baselines.pge_sam import EnhancedNetwork, EnhancerConfig, enhancer_config, prompt_maps  # noqa: E402
from dmseg.baselines.pge_sam.enhancer import EBlock, EnhancerBlock, PlainBlock  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.errors import DataError, UsageError  # noqa: E402

SIDE = 64  # of the small networks: embedding 8 x 8
WITHIN = 0.005  # of every printed figure


# Printed figures


def counts(base: str, config: dict[str, Any]) -> tuple[int, int]:
    """Parameters of a base with an addition: added, total."""
    with torch.device("meta"):
        plain = FAMILIES[base].build()
        before = parameter_count(plain)
        total = parameter_count(add_modules(plain, base, config))
    return total - before, total


@pytest.mark.parametrize(
    ("base", "changes", "added", "total"),
    [
        ("lite-medsam", {}, 4.05, 13.84),
        ("medsam", {}, 11.75, 105.49),
        ("sam-vit-b", {"blocks": 1}, 4.2, None),
        ("sam-vit-b", {"blocks": 3}, 8.0, None),
        ("sam-vit-b", {"blocks": 5}, 11.7, None),
        ("sam-vit-b", {"blocks": 8}, 17.4, None),
        # The paper prints 19.47 M added for ViT-L, too; that contradicts its own total, which leaves 17.61 M.
        ("sam-vit-l", {}, None, 329.95),
    ],
)
def test_parameters_are_those_that_the_paper_prints(
    base: str, changes: dict[str, Any], added: float | None, total: float | None
) -> None:
    measured = counts(base, {"enhancer": changes})
    for count, printed in zip(measured, (added, total), strict=True):
        if printed is not None:
            last_digit = 0.1 if printed * 10 % 1 < 1e-6 else 0.01
            assert count / 1e6 == pytest.approx(printed, rel=WITHIN, abs=last_digit / 2)


def test_the_printed_19_47_of_vit_l_would_be_nine_blocks_and_another_total() -> None:
    eight, nine = (counts("sam-vit-l", {"enhancer": {"blocks": blocks}}) for blocks in (8, 9))
    assert eight[0] / 1e6 == pytest.approx(17.59, abs=0.01)
    assert nine[0] / 1e6 == pytest.approx(19.47, abs=0.01)
    assert nine[1] / 1e6 > 329.95 * (1 + WITHIN)


def test_the_robust_blocks_on_lite_medsam_are_those_of_the_paper() -> None:
    added, _ = counts("lite-medsam", {"robust": True})
    assert added == 8_865_528  # printed: 8.87 M


@pytest.mark.parametrize(
    ("name", "printed", "exact"), [("lite-pge-sam", 107.65, 107.643), ("pge-sam", 831.06, 831.031)]
)
def test_operations_are_those_that_the_paper_prints(name: str, printed: float, exact: float) -> None:
    listed = cost_of(name).listed / 1e9
    assert listed == pytest.approx(printed, rel=WITHIN)
    assert listed == pytest.approx(exact, abs=0.001)


# Ablations: each is a change of the configuration, whose parameters follow by arithmetic

WIDTH, INNER = 256, 64
EBLOCK = (
    9 * WIDTH**2 + WIDTH * (7**2 + 9**2) + 16 * WIDTH
)  # 1x1: 1 project, 2 expand, 1 contract, 2 split, 2 merge, 1 SCA
NAFBLOCK = 7 * WIDTH**2 + 2 * WIDTH * 3**2 + 15 * WIDTH
MSAG = 2 * (9 * WIDTH * INNER + INNER) + INNER * (7**2 + 9**2 + 13**2 + 3) + INNER + 1
GATE = 2 * (WIDTH * INNER + INNER) + INNER + 1
LATERALS = (320 + 160 + 9 * 128) * WIDTH + 3 * WIDTH
MAP = 32 * 7**2 + 32 + 32 * WIDTH + WIDTH
MASK = WIDTH**2 + WIDTH
GUIDANCE = 2 * MAP + MASK + 2 * WIDTH**2 + WIDTH


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"guidance": False}, -GUIDANCE),
        ({"points": "none", "boxes": "none"}, -2 * MAP),
        ({"points": "binary", "boxes": "binary"}, 0),
        ({"mask": False}, -MASK),
        ({"interaction": False}, -LATERALS - 3 * MSAG),
        ({"block": "nafblock"}, 3 * (NAFBLOCK - EBLOCK)),
        ({"gate": "attention-gate"}, 3 * (GATE - MSAG)),
        ({"blocks": 3}, 6 * EBLOCK),
        ({"blocks": 5}, 12 * EBLOCK),
        ({"blocks": 8}, 21 * EBLOCK),
    ],
)
def test_parameters_of_ablations_follow_by_arithmetic(changes: dict[str, Any], difference: int) -> None:
    full, ablated = (counts("lite-medsam", {"enhancer": one})[0] for one in ({}, changes))
    assert ablated - full == difference


ABLATIONS: list[dict[str, Any]] = [
    {},
    {"guidance": False},
    {"guidance": False, "interaction": False},
    {"points": "none", "boxes": "none"},
    {"points": "binary", "boxes": "gaussian"},
    {"points": "none", "boxes": "binary", "mask": False},
    {"interaction": False},
    {"block": "nafblock"},
    {"gate": "attention-gate"},
    {"blocks": 3},
]


def mini(changes: dict[str, Any] | None = None, out: float = 0.3) -> Any:
    """A small network, enhanced unless ``changes`` is None, whose output layer is not zero."""

    def build() -> PromptedNetwork:
        base = build_mini_sam()
        set_side(base, SIDE)
        network = add_modules(base, "mini-sam", {"enhancer": changes})
        if isinstance(network, EnhancedNetwork):
            torch.nn.init.normal_(network.enhancer.out.weight, std=out)
        return network

    return random_network(Family(SamAdapter, build, "mini")).eval().requires_grad_(False)


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))


def some_prompts(count: int = 4) -> dict[str, Any]:
    """Two clicks, a box and a previous mask for each of several masks."""
    source = torch.Generator().manual_seed(3)
    corner = torch.rand(count, 2, generator=source) * 30
    return {
        "points": torch.rand(count, 2, 2, generator=source) * (SIDE - 1),
        "labels": torch.tensor([[1, 0]]).expand(count, -1),
        "box": torch.cat((corner, corner + 20), 1),
        "mask_input": torch.randn(count, 1, SIDE // 2, SIDE // 2, generator=source),
        "multimask": False,
    }


def of_mask(prompts: dict[str, Any], index: int) -> dict[str, Any]:
    return {key: value[index : index + 1] if isinstance(value, Tensor) else value for key, value in prompts.items()}


@pytest.mark.parametrize("changes", ABLATIONS, ids=str)
def test_every_ablation_answers_and_changes_the_embedding(changes: dict[str, Any]) -> None:
    network = mini(changes)
    encoded = network.encode(pictures(1))
    low_res, iou, enhanced = network.forward_enhanced(encoded, **some_prompts())
    assert low_res.shape == (4, 1, SIDE // 2, SIDE // 2) and iou.shape == (4, 1)
    assert enhanced.shape == (4, 96, SIDE // 8, SIDE // 8)
    assert not torch.allclose(enhanced[0], encoded.embedding[0])
    varies = not torch.allclose(enhanced[0], enhanced[1])
    assert varies == network.config.guidance  # without guidance no prompt has a say


@pytest.mark.parametrize("block", [EBlock, PlainBlock])
def test_a_block_is_nearly_the_identity_at_the_start(block: Any) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 96, 8, 8)
    with torch.no_grad():
        changed = block(enhancer_config("mini-sam", {"residual_start": 0.01}))(features)
    assert 0 < float((changed - features).norm() / features.norm()) < 0.02
    with pytest.raises(TypeError, match="abstract"):
        EnhancerBlock(enhancer_config("mini-sam"))


def test_unknown_choices_of_an_enhancer_are_refused() -> None:
    with pytest.raises(UsageError, match=r'unknown value of gate "msga".*did you mean "msag"'):
        enhancer_config("mini-sam", {"gate": "msga"})
    with pytest.raises(DataError, match='unknown key "block_size"'):
        enhancer_config("mini-sam", {"block_size": 3})
    with pytest.raises(UsageError, match='unknown base of an enhancer "sam-vit-h"'):
        enhancer_config("sam-vit-h")
    with pytest.raises(UsageError, match=r"unknown base of RobustSAM's blocks \"mini-sam\""):
        add_modules(build_mini_sam(), "mini-sam", {"robust": True})
    with pytest.raises(UsageError, match="width = 64: must be that of the embedding of mini-sam, 96"):
        add_modules(build_mini_sam(), "mini-sam", {"enhancer": {"width": 64}})
    foreign = {"laterals": [{"name": "7", "width": 128}]}
    network = add_modules(build_mini_sam(), "mini-sam", {"enhancer": foreign})
    with pytest.raises(UsageError, match='no feature "7"; it has 0, 1, 2'):
        network.encode(torch.zeros(1, 3, 256, 256))


# What the enhancer does


def test_untrained_it_is_the_base_exactly() -> None:
    plain, network = mini(None), mini({}, out=0.0)
    network.load_state_dict(plain.state_dict(), strict=False)
    answers = [one.forward_prompts(one.encode(pictures(1)), **some_prompts()) for one in (plain, network)]
    assert torch.equal(answers[0][0], answers[1][0]) and torch.equal(answers[0][1], answers[1][1])


@pytest.mark.parametrize("kind", ["points", "box", "mask_input"])
def test_each_kind_of_prompt_steers_the_embedding(kind: str) -> None:
    network = mini({})
    encoded, given = network.encode(pictures(1)), of_mask(some_prompts(), 0)
    elsewhere = {**given, kind: given[kind].flip(-1)}
    before, after = (network.forward_enhanced(encoded, **one)[2] for one in (given, elsewhere))
    assert float((before - after).abs().max()) > 1e-3


def test_without_a_mask_the_guidance_is_that_of_the_no_mask_embedding() -> None:
    network = mini({})
    given = {**of_mask(some_prompts(), 0), "mask_input": None}
    _, dense = network.prompt_encoder(points=(given["points"], given["labels"]), boxes=given["box"], masks=None)
    guidance = [
        network.guidance(given["points"], given["labels"], given["box"], one, SIDE)
        for one in (dense, dense.contiguous())
    ]
    assert torch.allclose(*guidance, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"guidance": False}, {"interaction": False}], ids=str)
def test_masks_together_equal_one_by_one(changes: dict[str, Any]) -> None:
    network = mini(changes)
    encoded, prompts = network.encode(pictures(1)), some_prompts()
    together = network.forward_enhanced(encoded, **prompts)
    for mask in range(4):
        alone = network.forward_enhanced(encoded, **of_mask(prompts, mask))
        for whole, part in zip(together, alone, strict=True):
            assert torch.allclose(whole[mask], part[0], atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"interaction": False}, None], ids=str)
def test_one_image_per_mask_equals_each_image_alone(changes: dict[str, Any] | None) -> None:
    network, prompts, images = mini(changes), some_prompts(), pictures(4)
    together, _ = network.forward_prompts(network.encode_frozen(images), **prompts)  # as in training
    for mask in range(4):
        alone, _ = network.forward_prompts(network.encode(images[mask : mask + 1]), **of_mask(prompts, mask))
        assert torch.allclose(together[mask], alone[0], atol=1e-4)


def test_the_prompt_free_part_is_made_once_per_image() -> None:
    network, calls = mini({}), []
    for module in (*network.enhancer.laterals, *(gate.of_lateral for gate in network.enhancer.gates)):
        module.register_forward_hook(lambda *_: calls.append(1))
    encoded = network.encode(pictures(1))
    for mask in range(3):
        network.forward_prompts(encoded, **of_mask(some_prompts(), mask))
    assert len(calls) == 6


def test_gradients_reach_the_enhancer_from_frozen_features() -> None:
    network = mini({})
    for part in (network.enhancer, network.guidance):
        part.requires_grad_(True)
    with torch.no_grad():
        encoded = network.encode_frozen(pictures(2))
    low_res, _, _ = network.forward_enhanced(encoded, **some_prompts(2))
    low_res.square().mean().backward()
    reached = {name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}
    assert reached == {name for name, _ in network.named_parameters() if name.startswith(("enhancer", "guidance"))}


def test_a_run_encodes_each_image_once_per_level(tmp_path: Path) -> None:
    levels = ("clear", "lq3")
    bench = write_tiny_benchmark(tmp_path / "bench", levels=levels)
    network, encoded = mini({}), []
    network.image_encoder.register_forward_hook(lambda module, given, result: encoded.append(len(given[0])))
    run = harness.evaluate(SamAdapter("small", network), bench, tmp_path / "run", splits=("seen", "unseen"))
    steps = harness.open_run(run.path).steps
    assert set(steps["status"]) == {"ok"} and steps["step"].max() == 5
    assert sum(encoded) == run.n_images * len(levels)


# The maps of the guidance


def maps(
    config: EnhancerConfig, *clicks: tuple[float, float, int], box: Any = None, side: int = 256, grid: int = 32
) -> Any:
    points = torch.tensor([[[x, y] for x, y, _ in clicks]]) if clicks else None
    labels = torch.tensor([[label for *_, label in clicks]]) if clicks else None
    given = torch.tensor([box], dtype=torch.float32) if box is not None else None
    drawn = prompt_maps(points, labels, given, side, grid, config)
    return [one[0, 0] if one is not None else None for one in drawn]


GAUSSIAN = enhancer_config("lite-medsam")


def peak(values: Tensor) -> tuple[int, int]:
    row, column = divmod(int(values.argmax()), values.shape[1])
    return column, row


@pytest.mark.parametrize(("x", "y"), [(3.5, 3.5), (100.0, 40.0), (251.0, 13.0), (0.0, 255.0)])
def test_a_click_peaks_where_it_is(x: float, y: float) -> None:
    clicks, boxes = maps(GAUSSIAN, (x, y, 1))
    assert boxes is None
    assert peak(clicks) == (int((x + 0.5) / 8), int((y + 0.5) / 8))
    assert 0.85 < float(clicks.max()) <= 1 and float(clicks.min()) >= 0


def test_signs_of_clicks() -> None:
    negative, _ = maps(GAUSSIAN, (60, 60, 0))
    assert float(negative.max()) <= 0 and peak(-negative) == (7, 7)
    both, _ = maps(GAUSSIAN, (60, 60, 0), (200, 60, 1))
    assert peak(both) == (25, 7) and peak(-both) == (7, 7)


def test_clicks_do_not_add_up_and_their_order_does_not_matter() -> None:
    given = [(60, 60, 1), (64, 70, 1), (200, 30, 0), (61, 60, 1)]
    clicks, _ = maps(GAUSSIAN, *given)
    assert float(clicks.abs().max()) <= 1
    again, _ = maps(GAUSSIAN, *given[::-1])
    assert torch.equal(clicks, again)


@pytest.mark.parametrize("form", ["gaussian", "binary"])
def test_maps_follow_the_prompts(form: str) -> None:
    config = enhancer_config("lite-medsam", {"points": form, "boxes": form})
    cell = 8
    here = maps(config, (100, 90, 1), (140, 100, 0), box=(80, 70, 150, 130))
    moved = maps(config, (100 + 3 * cell, 90 + cell, 1), (140 + 3 * cell, 100 + cell, 0), box=(104, 78, 174, 138))
    for before, after in zip(here, moved, strict=True):
        assert torch.allclose(before[:-1, :-3], after[1:, 3:], atol=1e-6)


def test_a_box_is_soft_and_scales_with_its_sides() -> None:
    for box in ((64, 96, 127, 159), (32, 96, 223, 111)):
        _, soft = maps(GAUSSIAN, box=box)
        x, y = peak(soft)
        assert box[0] / 8 <= x <= box[2] / 8 and box[1] / 8 <= y <= box[3] / 8
        inside = soft >= float(torch.exp(torch.tensor(-1.0)))  # the edge's middle is exp(-1/2), the corner exp(-1)
        assert int(inside.any(0).sum()) >= (box[2] + 1 - box[0]) / 8
        edge = soft[y, box[0] // 8]
        assert float(edge) == pytest.approx(0.65, abs=0.12), "half a cell inside of the edge"


def test_binary_and_absent_maps() -> None:
    config = enhancer_config("lite-medsam", {"points": "binary", "boxes": "binary"})
    clicks, box = maps(config, (100, 100, 1), (20, 20, 0), box=(64, 96, 127, 159))
    assert set(clicks.unique().tolist()) == {-1, 0, 1} and set(box.unique().tolist()) == {0, 1}
    assert box[12:20, 8:16].all() and int(box.sum()) == 64
    none = enhancer_config("lite-medsam", {"points": "none", "boxes": "none"})
    assert maps(none, (100, 100, 1), box=(64, 96, 127, 159)) == [None, None]


def test_a_box_of_no_area_has_a_map() -> None:
    _, soft = maps(GAUSSIAN, box=(100, 100, 100, 100))
    assert bool(soft.isfinite().all()) and peak(soft) == (12, 12)


# RobustSAM's blocks on another encoder


def small_base() -> PromptedNetwork:
    """LiteMedSAM's prompt encoder and decoder on an 8 x 8 grid, without its encoder."""
    return PromptedNetwork(torch.nn.Identity(), prompt_encoder(8, 32), mask_decoder(), 32)


def test_lite_robust_sam_answers_for_one_image_or_one_image_per_mask() -> None:
    first = TABLE["robust_sam"]["first"]["lite-medsam"]
    network = robust_on(small_base(), first["name"], first["width"]).eval().requires_grad_(False)
    source = torch.Generator().manual_seed(1)
    frozen = Encoded(torch.randn(2, 256, 8, 8, generator=source), {"1": torch.randn(2, 8 * 8, 160, generator=source)})
    points, labels = torch.tensor([[[3.0, 4.0]], [[20.0, 9.0]]]), torch.ones(2, 1, dtype=torch.int64)
    together, iou = network.forward_prompts(frozen, points, labels, None, None, False)
    assert together.shape == (2, 1, 32, 32) and iou.shape == (2, 1)
    one = Encoded(frozen.embedding[1:], {"1": frozen.intermediate["1"][1:]})
    alone, _ = network.forward_prompts(one, points[1:], labels[1:], None, None, False)
    assert torch.allclose(together[1], alone[0], atol=1e-4)
    same_image, _ = network.forward_prompts(one, points, labels, None, None, False)
    assert torch.allclose(same_image[1], alone[0], atol=1e-4)
    assert not torch.allclose(same_image[0], alone[0], atol=1e-4)


def test_robust_blocks_take_over_the_bases_decoder_and_train_from_frozen_features() -> None:
    base = small_base()
    robust = add_modules(base, "lite-medsam", {"robust": True})
    state = robust.mask_decoder.state_dict()
    assert all(torch.equal(state[key], value) for key, value in base.mask_decoder.state_dict().items())
    robust.requires_grad_(False)
    for name, value in robust.named_parameters():
        value.requires_grad_(name.startswith(tuple(f"mask_decoder.{part}" for part in ROBUST_PARTS)))
    frozen = Encoded(torch.randn(1, 256, 8, 8), {"1": torch.randn(1, 8 * 8, 160)})
    point = torch.tensor([[[3.0, 4.0]]])
    low_res, _ = robust.forward_prompts(frozen, point, torch.ones(1, 1, dtype=torch.int64), None, None, False)
    low_res.square().mean().backward()
    without = [name for name, value in robust.named_parameters() if value.requires_grad and value.grad is None]
    assert without == []
