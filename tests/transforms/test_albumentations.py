"""The native transform of albumentations (and AlbumentationsX), inside its own Compose and ReplayCompose."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

A = pytest.importorskip("albumentations")

from dmseg.errors import UsageError  # noqa: E402
from dmseg.simulators import degrade, plan_volume  # noqa: E402
from dmseg.transforms.albumentations import Degrade  # noqa: E402


def flow(*transforms: Any, seed: int | None = None) -> Any:
    return A.Compose(list(transforms), seed=seed)


def test_compose_degrades_the_image_and_keeps_the_mask(colour: np.ndarray, mask: np.ndarray) -> None:
    before = colour.copy()
    out = flow(Degrade("endoscopy", levels="lq3plus", p=1))(image=colour, mask=mask)
    assert np.array_equal(out["mask"], mask) and np.array_equal(colour, before)
    assert out["image"].shape == colour.shape and not np.array_equal(out["image"], colour)


def test_draws_differ_and_repeat_under_the_seed_of_compose(colour: np.ndarray) -> None:
    first, second = (flow(Degrade("endoscopy", p=1), seed=4) for _ in range(2))
    outputs = [first(image=colour)["image"] for _ in range(5)]
    assert len({one.tobytes() for one in outputs}) == 5
    assert all(np.array_equal(one, second(image=colour)["image"]) for one in outputs)


def test_replay_gives_the_same_pixels(colour: np.ndarray, mask: np.ndarray) -> None:
    replay = A.ReplayCompose([A.HorizontalFlip(p=0.5), Degrade("endoscopy", levels=("lq1", "lq3plus"), p=0.8)])
    for _ in range(6):
        out = replay(image=colour, mask=mask)
        record = json.loads(json.dumps(out["replay"], default=str))
        again = A.ReplayCompose.replay(copy.deepcopy(out["replay"]), image=colour, mask=mask)
        assert np.array_equal(again["image"], out["image"]) and np.array_equal(again["mask"], out["mask"])
        assert "Degrade" in json.dumps(record)


def test_probability_one_of_and_serialization(grey: np.ndarray) -> None:
    transform = flow(Degrade(ops={"gaussian_noise": {"sigma": (0.05, 0.1)}}, p=0.3), seed=1)
    changed = [not np.array_equal(transform(image=grey)["image"], grey) for _ in range(60)]
    assert 6 < sum(changed) < 32
    either = flow(A.OneOf([Degrade(ops="jpeg", p=1), Degrade(ops="gamma", severity=3, p=1)], p=1), seed=2)
    assert not np.array_equal(either(image=grey)["image"], grey)
    kept = A.from_dict(json.loads(json.dumps(A.to_dict(either), default=list)))
    assert isinstance(kept, A.Compose) and "severity=3" in repr(kept)


def test_volumes_get_one_plan_and_images_their_own_noise(volume: np.ndarray) -> None:
    transform = Degrade("mri", levels="lq2", keyed=True, name_from="id", p=1)
    out = flow(transform)(volume=volume[..., None], mask3d=(volume > 0).astype(np.uint8), id="scan")
    wanted = plan_volume("scan", volume, modality="mri").apply(volume, "lq2")
    assert np.array_equal(out["volume"][..., 0], wanted) and np.array_equal(out["mask3d"], volume > 0)
    noise = flow(Degrade(ops={"gaussian_noise": {"sigma": 0.1}}, p=1))
    images = noise(images=np.stack([volume[0]] * 3)[..., None])["images"]
    assert not np.array_equal(images[0], images[1])


def test_floats_are_those_of_albumentations_unless_stated(colour: np.ndarray) -> None:
    unit = (colour / 255).astype(np.float32)
    out = flow(Degrade("endoscopy", levels="lq2", p=1))(image=unit)["image"]
    assert out.dtype == np.float32 and out.min() >= 0 and out.max() <= 1
    with pytest.raises(UsageError, match="value_range"):
        flow(Degrade("endoscopy", levels="lq2", p=1))(image=unit * 255)
    assert flow(Degrade(levels="lq2", value_range=(0, 255), p=1))(image=unit * 255)["image"].max() > 1


def test_keyed_is_the_benchmark(colour: np.ndarray) -> None:
    transform = flow(Degrade("endoscopy", levels="lq3plus", keyed=True, keyed_seed=2, name_from="id", p=1))
    wanted = degrade(colour, "lq3plus", modality="endoscopy", key="case", seed=2)
    assert np.array_equal(transform(image=colour, id="case")["image"], wanted)
    with pytest.raises(UsageError, match='no "id"'):
        transform(image=colour)


class Cases:
    """The same image and mask, again and again."""

    def __init__(self, image: np.ndarray, mask: np.ndarray, transform: Any) -> None:
        self.image, self.mask, self.transform = image, mask, transform

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        out = self.transform(image=self.image, mask=self.mask)
        return out["image"], out["mask"]


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_apart_and_repeat(colour: np.ndarray, mask: np.ndarray, persistent: bool) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader

    def run() -> list[bytes]:
        torch.manual_seed(4)
        cases: Any = Cases(colour, mask, flow(Degrade(levels=("lq2", "lq3"), p=1), seed=1))
        loader = DataLoader(cases, batch_size=1, num_workers=2, persistent_workers=persistent)
        batches = [batch for _ in range(2) for batch in loader]
        assert all(np.array_equal(masks[0], mask) for _, masks in batches)
        return [images.numpy().tobytes() for images, _ in batches]

    first = run()
    assert len(set(first)) == 8
    assert first == run()
