"""What is shown of a network step by step: prompts, maps on the canvas, features before and after, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from dmseg import api  # noqa: E402
from dmseg.baselines.loading import (  # noqa: E402
    Family,
    add_modules,
    random_network,
)
from dmseg.baselines.networks.mini import build_mini_sam, set_side  # noqa: E402
from dmseg.baselines.networks.sam import PromptedNetwork  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.cli import main  # noqa: E402
from dmseg.errors import UsageError  # noqa: E402
from dmseg.imaging import read_image, write_mask, write_png  # noqa: E402
from dmseg.protocol import Click  # noqa: E402

IMAGE = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
MASK = np.zeros((40, 60), bool)
MASK[10:25, 30:50] = True


def small(config: dict[str, Any]) -> Any:
    def build() -> PromptedNetwork:
        base = build_mini_sam()
        set_side(base, 64)
        network = add_modules(base, "mini-sam", config)
        if config:
            torch.nn.init.normal_(network.enhancer.out.weight, std=0.3)
        return network

    return SamAdapter("small", random_network(Family(SamAdapter, build, "small")))


@pytest.fixture(name="enhanced", scope="module")
def build_enhanced() -> Any:
    return small({"enhancer": {}})


def test_the_reference_prompts_as_in_the_evaluation_and_all_maps_lie_on_the_canvas(enhanced: Any) -> None:
    picture, steps = api.explain(enhanced, IMAGE, reference=MASK, steps=3)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert [step.prompts.step for step in steps] == [1, 2, 3]
    for step in steps:
        before, after = step.features
        for shown in (step.mask, before, after, step.drawn, step.guidance, step.change):
            assert shown.shape == MASK.shape and np.isfinite(shown).all()
        assert step.change.max() > 0
    assert np.array_equal(steps[0].features[0], steps[2].features[0]), "what comes before does not depend on prompts"
    assert not np.array_equal(steps[0].features[1], steps[2].features[1])


def test_clicks_are_steps_and_show_where_they_are(enhanced: Any) -> None:
    _, steps = api.explain(enhanced, IMAGE, clicks=[Click(45, 12, 1), Click(8, 30, 0)])
    assert [len(step.prompts.points) for step in steps] == [1, 2]
    drawn = steps[1].drawn
    assert np.hypot(*(np.unravel_index(drawn.argmax(), drawn.shape) - np.array([12, 45]))) < 6
    assert np.hypot(*(np.unravel_index(drawn.argmin(), drawn.shape) - np.array([30, 8]))) < 6
    assert steps[0].drawn.min() >= 0


def test_a_box_comes_before_the_clicks(enhanced: Any) -> None:
    box = np.array([28, 8, 52, 27], np.float32)
    _, steps = api.explain(enhanced, IMAGE, clicks=[Click(40, 17, 1)], box=box)
    assert [(len(step.prompts.points), step.prompts.box is not None) for step in steps] == [(0, True), (1, True)]
    assert steps[0].drawn[17, 40] > 0.8 > steps[0].drawn[35, 3]


def test_looking_changes_nothing(enhanced: Any) -> None:
    first, second = (api.explain(enhanced, IMAGE, clicks=[Click(45, 12, 1)])[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert not enhanced.network.enhancer._forward_hooks


def test_a_network_without_an_enhancer_shows_its_embedding() -> None:
    picture, steps = api.explain(small({}), IMAGE, clicks=[Click(45, 12, 1)])
    assert steps[0].features[1] is None and steps[0].change is None and steps[0].drawn is None
    wide, _ = api.explain(small({"enhancer": {}}), IMAGE, clicks=[Click(45, 12, 1)])
    assert picture.shape[1] < wide.shape[1]


def test_what_cannot_be_shown_is_refused(enhanced: Any) -> None:
    with pytest.raises(UsageError, match='"watershed" has no features'):
        api.explain(api.load_model("watershed"), IMAGE, reference=MASK)
    with pytest.raises(UsageError, match="nothing points at an object"):
        api.explain(enhanced, IMAGE)
    with pytest.raises(UsageError, match="the mask is 60 x 20, the image 60 x 40"):
        api.explain(enhanced, IMAGE, reference=MASK[:20])
    with pytest.raises(UsageError, match=r"60,5 lies outside of the image of 60 x 40"):
        api.explain(enhanced, IMAGE, clicks=[Click(60, 5, 1)])


def test_the_command_writes_a_picture(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    image, mask, out = (tmp_path / name for name in ("image.png", "mask.png", "steps.png"))
    write_png(image, IMAGE)
    write_mask(mask, MASK)
    given = ["explain", str(image), "--model", "mini-pge-sam", "--weights", "random", "--out", str(out)]
    with pytest.raises(SystemExit) as stop:
        main([*given, "--mask", str(mask), "--steps", "2"])
    printed = capsys.readouterr()
    assert not stop.value.code and "2 steps" in printed.out and "not trained" in printed.err
    assert read_image(out).pixels.shape[2] == 3
    for wrong, message in (
        (["--click", "1,2"], "give 3 numbers"),
        (["--click", "1,2,7"], "1 for the object"),
        (["--box", "9,9,2,2"], "are not below"),
        ([], "nothing points at an object"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([*given, *wrong])
        assert stop.value.code == 2 and message in capsys.readouterr().err
