"""How each family turns an image, coordinates and masks into what its network was trained on, and back.

Expected values are stated here from the families' published code, or computed by the library that they use.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import common  # noqa: E402
from PIL import Image  # noqa: E402
from segment_anything.modeling import Sam  # noqa: E402
from segment_anything.utils.transforms import ResizeLongestSide  # noqa: E402
from skimage.transform import resize  # noqa: E402
from torch.nn import functional  # noqa: E402

from dmseg.baselines.gle_sam import GleSamAdapter  # noqa: E402
from dmseg.baselines.lite_medsam import LiteMedSamAdapter  # noqa: E402
from dmseg.baselines.medsam import MedSamAdapter  # noqa: E402
from dmseg.baselines.prompted import InputFrame, PromptedAdapter  # noqa: E402
from dmseg.baselines.robust_sam import RobustSamAdapter  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.baselines.sam_med2d import SamMed2dAdapter  # noqa: E402
from dmseg.errors import UsageError  # noqa: E402
from dmseg.types import Prompts  # noqa: E402

MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])
IMAGE = common.image()  # 210 x 300
HEIGHT, WIDTH = IMAGE.shape[:2]


class NoNetwork(torch.nn.Module):
    """A network that is only asked for its input side."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side


def adapter(kind: Callable[..., PromptedAdapter], side: int, mode: str = "iterative") -> PromptedAdapter:
    return kind("it", NoNetwork(side), mode=mode)


def click(x: float = 3, y: float = 4, count: int = 1, box: Any = None) -> Prompts:
    points = np.tile(np.array([[x, y]], np.float32), (count, 1))
    return Prompts(points, np.ones(count, np.int8), box, count)


def low_res_logits(side: int, count: int = 2) -> Any:
    return torch.from_numpy(np.random.RandomState(0).standard_normal((count, 1, side, side)).astype(np.float32) * 4)


class TestSam:
    def test_pixels_are_those_of_the_authors_transform_normalised_and_then_padded(self) -> None:
        pixels, frame = adapter(SamAdapter, 1024).prepare(IMAGE)
        resized = ResizeLongestSide(1024).apply_image(IMAGE)
        assert frame.content == resized.shape[:2] == (717, 1024)
        expected = (resized - MEAN) / STD
        assert np.allclose(pixels[:, :717].numpy(), expected.transpose(2, 0, 1), atol=1e-5)
        assert pixels.shape == (3, 1024, 1024) and not pixels[:, 717:].any()

    def test_coordinates_are_scaled_per_axis(self) -> None:
        frame = adapter(SamAdapter, 1024).prepare(IMAGE)[1]
        points = np.array([[0, 0], [150.5, 20], [299, 209]], np.float32)
        assert np.allclose(frame.to_input(points), ResizeLongestSide(1024).apply_coords(points, (HEIGHT, WIDTH)))
        box = np.array([10, 20, 200, 190], np.float32)
        expected = ResizeLongestSide(1024).apply_boxes(box[None], (HEIGHT, WIDTH))[0]
        assert np.allclose(adapter(SamAdapter, 1024).box(box, frame), expected)

    def test_logits_come_back_as_in_the_authors_post_processing(self) -> None:
        model, low_res = adapter(SamAdapter, 1024), low_res_logits(256)
        network = SimpleNamespace(image_encoder=SimpleNamespace(img_size=1024))
        expected = Sam.postprocess_masks(network, low_res, (717, 1024), (HEIGHT, WIDTH))[:, 0]
        assert torch.allclose(model.finish(low_res, model.prepare(IMAGE)[1]), expected, atol=1e-5)

    def test_only_official_mode_asks_for_three_masks_and_only_for_a_single_click(self) -> None:
        official, iterative = adapter(SamAdapter, 1024, "official"), adapter(SamAdapter, 1024)
        assert official.multimask(click()) and not iterative.multimask(click())
        assert not official.multimask(click(count=2))
        assert not official.multimask(click(box=np.zeros(4, np.float32)))

    @pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (1024, 1024)])
    def test_any_shape_fits(self, shape: tuple[int, int]) -> None:
        model = adapter(SamAdapter, 1024)
        pixels, frame = model.prepare(np.full((*shape, 3), 200, np.uint8))
        assert pixels.shape == (3, 1024, 1024)
        assert model.finish(low_res_logits(256), frame).shape == (2, *shape)


class TestRobustSam:
    def test_pixels_are_resized_as_a_tensor_with_anti_aliasing_not_by_pil(self) -> None:
        large = np.kron(IMAGE, np.ones((6, 6, 1), np.uint8))[:1200, :1700]
        pixels, frame = adapter(RobustSamAdapter, 1024).prepare(large)
        tensor = torch.from_numpy(large).permute(2, 0, 1)[None].float()
        resized = functional.interpolate(tensor, frame.content, mode="bilinear", align_corners=False, antialias=True)
        expected = (resized[0].permute(1, 2, 0).numpy() - MEAN) / STD
        height, width = frame.content
        assert np.allclose(pixels[:, :height, :width].permute(1, 2, 0).numpy(), expected, atol=1e-4)
        assert not torch.equal(pixels, adapter(SamAdapter, 1024).prepare(large)[0])

    def test_never_three_masks(self) -> None:
        assert not adapter(RobustSamAdapter, 1024, "official").multimask(click())


class TestMedSam:
    def test_the_picture_is_stretched_to_a_square_and_to_zero_and_one_over_all_channels(self) -> None:
        pixels, frame = adapter(MedSamAdapter, 1024).prepare(IMAGE)
        assert pixels.shape == (3, 1024, 1024)
        assert (pixels.min(), pixels.max()) == (0, 1)
        assert len({float(channel.max()) for channel in pixels}) > 1, "channels are not stretched one by one"
        assert frame.content == (1024, 1024)
        # Back in 8 bit before the stretch: no more than 256 values.
        assert len(np.unique(pixels.numpy())) <= 256

    def test_the_stretch_is_cubic_anti_aliased_and_cut_to_eight_bit(self) -> None:
        large = np.random.RandomState(2).randint(0, 256, (90, 110, 3)).astype(np.uint8)
        pixels = adapter(MedSamAdapter, 32).prepare(large)[0]
        stretch: Any = resize
        expected = stretch(large, (32, 32), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
        low, high = int(expected.min()), int(expected.max())
        assert np.allclose(pixels.permute(1, 2, 0).numpy(), (expected - float(low)) / (high - low), atol=1e-6)

    def test_a_constant_picture_is_zero_and_finite(self) -> None:
        for kind, side in ((MedSamAdapter, 1024), (LiteMedSamAdapter, 256)):
            assert not adapter(kind, side).prepare(np.full((20, 30, 3), 9, np.uint8))[0].any()

    def test_boxes_are_scaled_per_axis_and_not_cut(self) -> None:
        model = adapter(MedSamAdapter, 1024)
        box = np.array([10, 20, 201, 199], np.float32)
        expected = box * [1024 / WIDTH, 1024 / HEIGHT, 1024 / WIDTH, 1024 / HEIGHT]
        assert np.allclose(model.box(box, model.prepare(IMAGE)[1]), expected)

    def test_probabilities_are_resized_not_logits(self) -> None:
        model, low_res = adapter(MedSamAdapter, 1024), low_res_logits(256)
        frame = model.prepare(IMAGE)[1]
        probability = functional.interpolate(low_res.sigmoid(), (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
        logits = model.finish(low_res, frame)
        assert torch.allclose(logits.sigmoid(), probability[:, 0], atol=1e-5)
        assert torch.equal(logits > 0, probability[:, 0] > 0.5)
        resized_logits = functional.interpolate(low_res, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
        assert not torch.equal(logits > 0, resized_logits[:, 0] > 0)
        sure = model.finish(torch.full((1, 1, 256, 256), 100.0), frame)
        assert sure.isfinite().all() and (sure > 0).all()

    @pytest.mark.parametrize("kind", [MedSamAdapter, LiteMedSamAdapter])
    def test_official_mode_uses_the_box_alone(self, kind: Any) -> None:
        given = [click(box=np.array([1, 2, 8, 9], np.float32))]
        points, labels, box = adapter(kind, 256, "official").select_prompts(given)
        assert points is None and labels is None and box is not None
        assert adapter(kind, 256).select_prompts(given)[0] is not None
        assert adapter(kind, 256, "official").capabilities == {"box", "batched_prompts"}


class TestLiteMedSam:
    def test_pixels_are_area_averages_stretched_before_the_padding(self) -> None:
        image = np.random.RandomState(1).randint(60, 200, (300, 512, 3)).astype(np.uint8)
        pixels, frame = adapter(LiteMedSamAdapter, 256).prepare(image)
        averages = image.reshape(150, 2, 256, 2, 3).mean((1, 3))
        assert frame.content == (150, 256)
        stretched = (averages - averages.min()) / (averages.max() - averages.min())
        assert np.allclose(pixels[:, :150].permute(1, 2, 0).numpy(), stretched, atol=1.5 / 100)
        assert pixels[:, :150].min() == 0 and pixels[:, :150].max() == 1
        assert not pixels[:, 150:].any()

    def test_one_factor_for_both_axes_and_boxes_cut_to_whole_pixels(self) -> None:
        model = adapter(LiteMedSamAdapter, 256)
        frame = model.prepare(IMAGE)[1]
        box = np.array([10, 20, 201, 199], np.float32)
        assert model.box(box, frame).tolist() == [int(value * 256 / 300) for value in box]
        assert np.allclose(frame.to_input(np.array([[10, 20]])), [[10 * 256 / 300, 20 * 256 / 300]])

    def test_the_padding_is_cropped_from_the_logits(self) -> None:
        model, low_res = adapter(LiteMedSamAdapter, 256), low_res_logits(256)
        low_res[..., 179:, :] = 1e6
        logits = model.finish(low_res, model.prepare(IMAGE)[1])
        expected = functional.interpolate(low_res[..., :179, :], (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
        assert torch.allclose(logits, expected[:, 0]) and logits.max() < 100


class TestSamMed2d:
    def test_predictor_stretches_the_normalised_picture_by_nearest_neighbour_in_rgb(self) -> None:
        pixels, frame = adapter(SamMed2dAdapter, 256).prepare(IMAGE)
        nearest = cv2.resize(IMAGE, (256, 256), interpolation=cv2.INTER_NEAREST)
        assert np.allclose(pixels.permute(1, 2, 0).numpy(), (nearest - MEAN) / STD, atol=1e-5)
        assert frame.scale == (256 / WIDTH, 256 / HEIGHT) and frame.offset == (0, 0)

    def test_a_small_picture_is_stretched_by_the_predictor_and_centred_by_the_test_script(self) -> None:
        small = IMAGE[:101, :60]
        assert adapter(SamMed2dAdapter, 256).prepare(small)[1].content == (256, 256)
        pixels, frame = adapter(SamMed2dAdapter, 256, "official").prepare(small)
        top, left = (256 - 101) // 2, (256 - 60) // 2
        assert frame == InputFrame((101, 60), (101, 60), (1.0, 1.0), (left, top))
        inside = pixels[:, top : top + 101, left : left + 60].permute(1, 2, 0).numpy()
        assert np.allclose(inside, (small[..., ::-1] - MEAN) / STD, atol=1e-5)
        assert not pixels[:, :top].any() and not pixels[:, :, left + 60 :].any()
        assert frame.to_input(np.array([[5, 7]])).tolist() == [[5 + left, 7 + top]]

    def test_the_test_script_keeps_bgr_and_stretches_what_is_large_in_one_axis(self) -> None:
        pixels, frame = adapter(SamMed2dAdapter, 256, "official").prepare(IMAGE)
        assert frame.content == (256, 256)
        nearest = cv2.resize(IMAGE[..., ::-1], (256, 256), interpolation=cv2.INTER_NEAREST)
        assert np.allclose(pixels.permute(1, 2, 0).numpy(), (nearest - MEAN) / STD, atol=1e-5)

    def test_centred_logits_are_cropped_and_stretched_ones_resized(self) -> None:
        low_res = low_res_logits(64)
        full = functional.interpolate(low_res, (256, 256), mode="bilinear", align_corners=False)
        official = adapter(SamMed2dAdapter, 256, "official")
        cropped = official.finish(low_res, official.prepare(IMAGE[:100, :60])[1])
        assert torch.equal(cropped, full[:, 0, 78:178, 98:158])
        stretched = official.finish(low_res, official.prepare(IMAGE)[1])
        expected = functional.interpolate(full, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)
        assert torch.allclose(stretched, expected[:, 0])

    def test_feedback_is_logits_by_default_and_probabilities_in_the_test_script(self) -> None:
        low_res = low_res_logits(64)
        assert torch.equal(adapter(SamMed2dAdapter, 256).feedback(low_res), low_res)
        assert torch.equal(adapter(SamMed2dAdapter, 256, "official").feedback(low_res), low_res.sigmoid())

    def test_the_test_script_takes_the_best_of_three_masks_at_every_step(self) -> None:
        assert adapter(SamMed2dAdapter, 256, "official").multimask(click(count=5))
        assert not adapter(SamMed2dAdapter, 256).multimask(click())


class TestGleSam:
    def test_the_picture_is_stretched_to_512_and_enlarged(self) -> None:
        pixels, frame = adapter(GleSamAdapter, 1024).prepare(IMAGE)
        small = np.array(Image.fromarray(IMAGE).resize((512, 512), Image.Resampling.BICUBIC))
        tensor = torch.from_numpy(small).permute(2, 0, 1)[None].float()
        enlarged = functional.interpolate(tensor, (1024, 1024), mode="bilinear", align_corners=False)[0]
        expected = (enlarged.permute(1, 2, 0).numpy() - MEAN) / STD
        assert np.allclose(pixels.permute(1, 2, 0).numpy(), expected, atol=1e-4)
        assert frame.to_input(np.array([[WIDTH, HEIGHT]])).tolist() == [[1024, 1024]]

    def test_logits_go_through_the_512_frame(self) -> None:
        model, low_res = adapter(GleSamAdapter, 1024), low_res_logits(256)
        full = low_res
        for size in ((1024, 1024), (512, 512), (HEIGHT, WIDTH)):
            full = functional.interpolate(full, size, mode="bilinear", align_corners=False)
        assert torch.allclose(model.finish(low_res, model.prepare(IMAGE)[1]), full[:, 0])

    @pytest.mark.parametrize(("mode", "fed"), [("official", None), ("iterative", "logits")])
    def test_one_shot_in_official_mode(self, mode: str, fed: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[Any] = []
        monkeypatch.setattr(PromptedAdapter, "_answer", lambda self, embedding, prompts, state: given.append(state))
        adapter(GleSamAdapter, 1024, mode)._answer(None, [click()], ["logits"])
        assert given == [[fed]]


@pytest.mark.parametrize(
    "kind", [SamAdapter, MedSamAdapter, LiteMedSamAdapter, SamMed2dAdapter, RobustSamAdapter, GleSamAdapter]
)
def test_raw_logits_of_the_chosen_mask_are_fed_back(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, in every family; SAM-Med2D's test script and the box rows are tested above."""
    low_res, iou = low_res_logits(64, 2).repeat(1, 3, 1, 1), torch.tensor([[0.1, 0.7, 0.3], [0.9, 0.2, 0.5]])
    low_res += torch.arange(3)[:, None, None]
    given: list[Any] = []
    model = adapter(kind, 256)
    monkeypatch.setattr(model, "forward_prompts", lambda *asked: given.append(asked[4]) or (low_res, iou))
    frame = InputFrame((HEIGHT, WIDTH), (179, 256), (1.0, 1.0))
    embedding: Any = SimpleNamespace(frame=frame)
    first = model.predict([embedding], [0, 0], [click(), click()], [None, None])
    assert given.pop() is None
    assert torch.equal(torch.stack(first.state), torch.stack([low_res[0, 1:2], low_res[1, 0:1]]))
    assert first.scores.tolist() == pytest.approx([0.7, 0.9])
    model.predict([embedding], [0, 0], [click(count=2)] * 2, first.state)
    assert torch.equal(given.pop(), torch.stack(first.state))


def test_unknown_modes_and_precisions_are_refused() -> None:
    with pytest.raises(UsageError, match='unknown mode "offical" \\(did you mean "official"'):
        adapter(SamAdapter, 64, "offical")
    with pytest.raises(UsageError, match='unknown precision "fp8"'):
        SamAdapter("it", NoNetwork(64), precision="fp8")  # type: ignore[arg-type]
