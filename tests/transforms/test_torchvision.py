"""The native transform of torchvision v2, inside its own Compose and PyTorch's DataLoader."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch.utils.data import DataLoader, Dataset  # noqa: E402
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

from dmseg.errors import UsageError  # noqa: E402
from dmseg.simulators import degrade  # noqa: E402
from dmseg.transforms.torchvision import Degrade  # noqa: E402


@pytest.fixture
def sample(colour: np.ndarray, mask: np.ndarray) -> tuple[Any, Any]:
    return tv_tensors.Image(colour.transpose(2, 0, 1).copy()), tv_tensors.Mask(mask)


def test_compose_degrades_the_image_and_keeps_the_mask(sample: tuple[Any, Any]) -> None:
    image, mask = sample
    flow = v2.Compose([Degrade("endoscopy", levels="lq3plus"), v2.ToDtype(torch.float32, scale=True)])
    out_image, out_mask = flow(image, mask)
    assert isinstance(out_image, tv_tensors.Image) and isinstance(out_mask, tv_tensors.Mask)
    assert torch.equal(out_mask, mask) and not torch.equal(out_image, image / 255)
    case = {
        "image": image,
        "boxes": tv_tensors.BoundingBoxes([[1, 2, 9, 9]], format="XYXY", canvas_size=(48, 64)),
        "y": 3,
    }
    out = Degrade("endoscopy", levels="lq1")(case)
    assert torch.equal(out["boxes"], case["boxes"]) and out["y"] == 3 and not torch.equal(out["image"], image)


def test_plain_tensors_and_pictures_follow_the_rules_of_v2(sample: tuple[Any, Any], colour: np.ndarray) -> None:
    image, mask = (each.as_subclass(torch.Tensor) for each in sample)
    out_image, out_mask = Degrade(levels="lq3")(image, mask)
    assert torch.equal(out_mask, mask) and not torch.equal(out_image, image)
    made = v2.Compose([Degrade("endoscopy", levels="lq2"), v2.PILToTensor()])(Pillow.fromarray(colour))
    assert made.shape == image.shape
    with pytest.raises(UsageError, match="wrap masks"):
        Degrade(levels="lq2")(Pillow.fromarray(colour), Pillow.fromarray(sample[1].numpy()))
    with pytest.raises(UsageError, match=r"v2.ToImage"):
        Degrade(levels="lq2")(colour)


def test_draws_differ_and_repeat_under_manual_seed(sample: tuple[Any, Any]) -> None:
    transform = Degrade("endoscopy")
    torch.manual_seed(0)
    first = [transform(sample[0]) for _ in range(4)]
    torch.manual_seed(0)
    assert all(torch.equal(one, transform(sample[0])) for one in first)
    assert len({one.numpy().tobytes() for one in first}) == 4


def test_batches_and_videos(sample: tuple[Any, Any]) -> None:
    image, mask = sample
    batch = tv_tensors.Image(torch.stack([image] * 3))
    out, masks = Degrade("endoscopy", levels="lq3")(batch, tv_tensors.Mask(torch.stack([mask] * 3)))
    assert isinstance(out, tv_tensors.Image) and torch.equal(masks[0], mask)
    assert not torch.equal(out[0], out[1])
    video = tv_tensors.Video(torch.stack([image] * 3))
    noisy = Degrade(ops={"gaussian_noise": {"sigma": 0.05}})(video)
    assert isinstance(noisy, tv_tensors.Video) and not torch.equal(noisy[0], noisy[1])
    blurred = Degrade(ops="gaussian_blur")(video)
    assert torch.equal(blurred[0], blurred[1]) and not torch.equal(blurred[0], image)


def test_floats_are_those_of_torchvision_unless_stated(sample: tuple[Any, Any]) -> None:
    image = sample[0] / 255
    half = Degrade(levels="lq2")(tv_tensors.Image(image.half()))
    assert half.dtype == torch.float16 and half.min() >= 0 and half.max() <= 1
    scored = (image - 0.4) / 0.2
    with pytest.raises(UsageError, match="value_range"):
        Degrade(levels="lq2")(scored)
    assert Degrade(levels="lq2", value_range=(-2, 3))(scored).min() >= -2


def test_keyed_is_the_benchmark(sample: tuple[Any, Any], colour: np.ndarray) -> None:
    transform = Degrade("endoscopy", levels="lq3plus", keyed=True, name_from="id", seed=2)
    out = transform({"image": sample[0], "mask": sample[1], "id": "case 7"})
    wanted = degrade(colour, "lq3plus", modality="endoscopy", key="case 7", seed=2)
    assert np.array_equal(out["image"].numpy().transpose(1, 2, 0), wanted)
    with pytest.raises(UsageError, match='no entry "id"'):
        transform(sample[0])


def test_probability_and_one_of(sample: tuple[Any, Any]) -> None:
    torch.manual_seed(1)
    changed = [not torch.equal(Degrade(levels="lq1", p=0.3)(sample[0]), sample[0]) for _ in range(40)]
    assert 3 < sum(changed) < 24
    either = v2.RandomChoice([Degrade(ops="jpeg"), Degrade(ops="gamma")])
    assert not torch.equal(either(sample[0]), sample[0])


class Cases(Dataset[Any]):
    """The same image and mask, again and again."""

    def __init__(self, image: Any, mask: Any, transform: Any) -> None:
        self.image, self.mask, self.transform = image, mask, transform

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.transform(self.image, self.mask)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_apart_and_repeat(sample: tuple[Any, Any], persistent: bool) -> None:
    def run() -> list[bytes]:
        torch.manual_seed(4)
        cases = Cases(*sample, v2.Compose([Degrade(levels=("lq2", "lq3"))]))
        loader = DataLoader(cases, batch_size=1, num_workers=2, persistent_workers=persistent)
        batches = [batch for _ in range(2) for batch in loader]
        assert all(torch.equal(masks[0], sample[1]) for _, masks in batches)
        return [images.numpy().tobytes() for images, _ in batches]

    first = run()
    assert len(set(first)) == 8
    assert first == run()
