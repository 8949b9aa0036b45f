"""The native transforms of MONAI, inside its own Compose, Dataset and DataLoader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from monai.data import DataLoader, Dataset, MetaTensor  # noqa: E402
from monai.transforms import (  # noqa: E402
    Compose,
    EnsureChannelFirstd,
    Flipd,
    LoadImaged,
    OneOf,
    Orientationd,
    RandFlipd,
    ScaleIntensityRanged,
)  # fmt: skip

from dmseg.errors import UsageError  # noqa: E402
from dmseg.simulators import degrade, plan_volume  # noqa: E402
from dmseg.transforms.monai import RandDegrade, RandDegraded, read_degradation  # noqa: E402


@pytest.fixture
def case(grey: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    return {"image": torch.from_numpy(grey[None].copy()), "label": torch.from_numpy(mask[None].copy()), "id": "case"}


def test_compose_degrades_the_image_and_keeps_the_mask(case: dict[str, Any]) -> None:
    flow = Compose([RandDegraded("image", "ct", levels="lq3plus"), RandFlipd(["image", "label"], prob=0)])
    out = flow(case)
    assert torch.equal(out["label"], case["label"]) and not torch.equal(out["image"], case["image"])
    assert isinstance(out["image"], MetaTensor) and out["image"].dtype == torch.uint8


def test_draws_differ_and_repeat_under_set_random_state(case: dict[str, Any]) -> None:
    flow = Compose([RandDegraded("image", "ct", prob=0.7)])
    flow.set_random_state(3)
    first = [flow(case)["image"] for _ in range(8)]
    flow.set_random_state(3)
    assert all(torch.equal(one, flow(case)["image"]) for one in first)
    assert 4 < len({one.numpy().tobytes() for one in first}) <= 8
    transform = RandDegrade("ct").set_random_state(1)
    once = transform(case["image"])
    assert torch.equal(once, transform(case["image"], randomize=False))


def test_applied_operations_replay_the_pixels(case: dict[str, Any]) -> None:
    flow = Compose([RandDegraded("image", "ct", levels="lq2"), Flipd(["image"], spatial_axis=0)])
    out = flow(case)
    drawn = read_degradation(out["image"])
    assert drawn is not None and drawn.level == "lq2" and drawn.operations
    again = RandDegrade("ct").degrade(MetaTensor(case["image"]), drawn)
    assert torch.equal(torch.flip(again, [1]), out["image"])
    back = flow.inverse(out)
    assert torch.equal(back["image"], again) and not back["image"].applied_operations


def test_keyed_is_the_benchmark(case: dict[str, Any], grey: np.ndarray) -> None:
    transform = RandDegraded("image", "ct", levels="lq3plus", keyed=True, name_from="id", seed=2, axes="yx")
    wanted = degrade(grey, "lq3plus", modality="ct", key="case", seed=2)
    assert np.array_equal(transform(case)["image"].numpy()[0], wanted)
    with pytest.raises(UsageError, match='no "id"'):
        transform({"image": case["image"]})


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRP", "PIR"])
def test_volumes_follow_their_affine(codes: str, volume: np.ndarray, tmp_path: Path) -> None:
    tall = np.repeat(volume, 3, axis=0).astype(np.int16) * 6 - 1000
    ras = nibabel.Nifti1Image(tall.transpose(2, 1, 0)[::-1, ::-1].copy(), np.diag([1.0, 1.0, 4.0, 1.0]))
    stored = ras.as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes)
        )
    )
    nibabel.save(stored, tmp_path / "scan.nii")
    transform = RandDegraded("image", "ct", levels="lq3plus", keyed=True, name_from="id", window=(40, 400))
    flow = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), transform, Orientationd("image", "LPS")])
    out = flow({"image": tmp_path / "scan.nii", "id": "scan"})["image"]
    made = plan_volume("scan", tall, modality="ct").apply(tall, "lq3plus")
    assert np.abs(out.numpy()[0].transpose(2, 1, 0) - made).max() <= 0.51
    assert (made != tall).any()


def test_a_range_is_stated_or_refused(case: dict[str, Any]) -> None:
    unit = {"image": case["image"] / 255}
    with pytest.raises(UsageError, match="what are black and white"):
        RandDegraded("image", levels="lq1")(unit)
    out = RandDegraded("image", levels="lq2", value_range=(0, 1))(unit)["image"]
    assert out.min() >= 0 and out.max() <= 1
    scaled = ScaleIntensityRanged("image", 0, 255, -1, 1)(case)
    assert RandDegraded("image", levels="lq2", value_range=(-1, 1))(scaled)["image"].min() >= -1
    with pytest.raises(UsageError, match="names 3 spatial axes"):
        RandDegraded("image", levels="lq1", axes="zyx")(case)


def test_one_of(case: dict[str, Any]) -> None:
    either = OneOf([RandDegraded("image", ops="jpeg"), RandDegraded("image", ops="gamma")])
    assert not torch.equal(either(case)["image"], case["image"])


@pytest.mark.parametrize("loader", ["monai", "torch"])
@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_apart_and_repeat(case: dict[str, Any], loader: str, persistent: bool) -> None:
    kind = DataLoader if loader == "monai" else torch.utils.data.DataLoader

    def run() -> list[bytes]:
        torch.manual_seed(4)
        flow = Compose([RandDegraded("image", levels=("lq2", "lq3"))]).set_random_state(1)
        cases = Dataset([{name: case[name] for name in ("image", "label")}] * 4, flow)
        batches = [
            b for loaded in [kind(cases, num_workers=2, persistent_workers=persistent)] for _ in (0, 1) for b in loaded
        ]
        assert all(torch.equal(batch["label"][0], case["label"]) for batch in batches)
        return [batch["image"].numpy().tobytes() for batch in batches]

    first = run()
    assert len(set(first)) == 8
    assert first == run()
