"""The native transform of TorchIO, inside its own Compose and SubjectsDataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
tio = pytest.importorskip("torchio")

from dmseg.errors import UsageError  # noqa: E402
from dmseg.simulators import degrade, plan_volume  # noqa: E402
from dmseg.transforms.torchio import RandomDegrade  # noqa: E402

LPS = np.diag([-1.0, -1.0, 4.0, 1.0])


@pytest.fixture
def subject(volume: np.ndarray) -> Any:
    tall = np.repeat(volume, 3, axis=0).transpose(2, 1, 0)[None].copy()
    return tio.Subject(
        scan=tio.ScalarImage(tensor=torch.from_numpy(tall), affine=LPS),
        label=tio.LabelMap(tensor=torch.from_numpy((tall > 0).astype(np.uint8)), affine=LPS),
        name="case",
    )


def test_compose_degrades_the_image_and_keeps_the_mask(subject: Any) -> None:
    before = subject.scan.data.clone()
    out = tio.Compose([RandomDegrade("mri", levels="lq3plus"), tio.RandomFlip(p=0)])(subject)
    assert torch.equal(out.label.data, subject.label.data) and torch.equal(subject.scan.data, before)
    assert not torch.equal(out.scan.data, before) and out.scan.data.dtype == torch.uint8


def test_draws_differ_and_repeat_under_manual_seed(subject: Any) -> None:
    transform = RandomDegrade(ops="gaussian_noise", p=0.9)
    torch.manual_seed(0)
    first = [transform(subject).scan.data for _ in range(4)]
    torch.manual_seed(0)
    assert all(torch.equal(one, transform(subject).scan.data) for one in first)
    assert len({one.numpy().tobytes() for one in first}) >= 3


def test_history_replays_the_voxels(subject: Any) -> None:
    flow = tio.Compose([tio.RandomFlip(), RandomDegrade("mri", levels=("lq1", "lq3plus"))])
    out = flow(subject)
    assert [kind for kind, _ in out.applied_transforms][-1] == "DegradeAgain"
    again = out.get_composed_history()(subject)
    assert torch.equal(again.scan.data, out.scan.data) and torch.equal(again.label.data, out.label.data)


def test_keyed_is_the_benchmark_for_volumes_and_images(subject: Any, grey: np.ndarray) -> None:
    transform = RandomDegrade("mri", levels="lq3plus", keyed=True, name_from="name")
    scan = subject.scan.data.numpy()[0].transpose(2, 1, 0)
    made = plan_volume("case", scan, modality="mri").apply(scan, "lq3plus")
    assert np.array_equal(transform(subject).scan.data.numpy()[0].transpose(2, 1, 0), made)
    flat = tio.Subject(scan=tio.ScalarImage(tensor=grey.T[None, :, :, None].copy(), affine=LPS), name="case")
    wanted = degrade(grey, "lq3plus", modality="mri", key="case")
    assert np.array_equal(transform(flat).scan.data.numpy()[0, :, :, 0].T, wanted)


def test_a_range_is_stated_or_refused(subject: Any) -> None:
    subject.scan.set_data(subject.scan.data.float() / 255)
    with pytest.raises(UsageError, match="what are black and white"):
        RandomDegrade("mri", levels="lq1")(subject)
    scored = tio.ZNormalization()(subject)
    out = RandomDegrade("mri", levels="lq1", value_range="percentiles")(scored).scan.data
    assert out.dtype == torch.float32 and not torch.equal(out, scored.scan.data)


def test_one_of_and_a_subject_without_images(subject: Any) -> None:
    either = tio.OneOf([RandomDegrade(ops="jpeg"), RandomDegrade(ops="gamma")])
    assert not torch.equal(either(subject).scan.data, subject.scan.data)
    with pytest.raises(UsageError, match="no scalar image"):
        RandomDegrade(ops="jpeg")(tio.Subject(label=subject.label))


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_apart_and_repeat(subject: Any, persistent: bool) -> None:
    def run() -> list[bytes]:
        torch.manual_seed(4)
        cases = tio.SubjectsDataset([subject] * 4, transform=RandomDegrade(ops="gaussian_noise"))
        loader = tio.SubjectsLoader(cases, batch_size=1, num_workers=2, persistent_workers=persistent)
        batches = [batch for _ in range(2) for batch in loader]
        assert all(torch.equal(batch["label"][tio.DATA][0], subject.label.data) for batch in batches)
        return [batch["scan"][tio.DATA].numpy().tobytes() for batch in batches]

    first = run()
    assert len(set(first)) == 8
    assert first == run()
