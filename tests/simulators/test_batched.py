"""The torch operations on batches agree with those on arrays, image by image and plan by plan."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.simulators import OPS, Plan, plan, plan_operations
from dmseg.simulators.operations import home_modality
from dmseg.types import MODALITIES

torch = pytest.importorskip("torch")

from dmseg.simulators.batched import OPERATIONS, apply_batch  # noqa: E402

EQUAL = ("gaussian_noise", "salt_pepper", "motion_blur", "brightness_contrast", "gamma", "jpeg")
OTHER_MODALITIES = {
    "glare": ("endoscopy", "mri", "ultrasound"),
    "bias_field": ("mri", "ultrasound"),
    "vignette": ("endoscopy", "ultrasound"),
    "fog": ("microscopy",),
    "beam_hardening": ("ct", "dental"),
    "specular_reflection": ("endoscopy", "microscopy"),
    "dead_pixels": ("ultrasound", "dermoscopy"),
}
CASES = [(op, modality) for op in OPERATIONS for modality in OTHER_MODALITIES.get(op, (home_modality(op) or "mri",))]


def as_tensor(images: list[np.ndarray]) -> Any:
    stacked = np.stack([image[None] if image.ndim == 2 else image.transpose(2, 0, 1) for image in images])
    return torch.from_numpy(np.ascontiguousarray(stacked))


def as_array(tensor: Any) -> np.ndarray:
    return tensor.numpy()[0] if len(tensor) == 1 else tensor.numpy().transpose(1, 2, 0)


def make_images(picture: Any, modality: str, colour: bool, kind: type) -> list[np.ndarray]:
    """Three images of 77 x 90 px."""
    images = []
    for seed in range(3):
        image = cv2.resize(picture(modality, seed=seed, size=128), (90, 77), interpolation=cv2.INTER_AREA)
        image = image if image.ndim == 2 else image[..., 0]
        image = np.dstack([image, image // 2, 255 - image]) if colour else image
        images.append(image if kind is np.uint8 else (image / 255).astype(np.float32))
    return images


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("op", "modality"), CASES)
def test_torch_agrees_with_arrays(op: str, modality: str, colour: bool, kind: type, picture: Any) -> None:
    images = make_images(picture, modality, colour, kind)
    plans = [plan_operations(f"{op} {k}", op, modality=modality, image=image) for k, image in enumerate(images)]
    levels = ["lq1", "lq2", "lq3"]
    before = as_tensor(images)
    made = apply_batch(before, plans, levels, on_arrays=False)
    assert made.dtype == before.dtype and made.shape == before.shape
    for k, (image, drawn) in enumerate(zip(images, plans, strict=True)):
        wanted = drawn.apply(image, levels[k])
        found = as_array(made[k])
        if kind is np.uint8:
            worst = np.abs(found.astype(int) - wanted).max()
            assert worst == 0 if op in EQUAL else worst <= 1
        else:
            assert np.abs(found - wanted).max() < (1.01 / 255 if op == "jpeg" else 2e-4)
        assert not np.array_equal(found, image)
        assert np.array_equal(as_array(before[k]), image)


def test_grey_stored_as_colour_gets_one_field(picture: Any) -> None:
    image = np.dstack([picture("mri", size=64)] * 3)
    for op in ("gaussian_noise", "rician_noise", "jpeg"):
        drawn = plan_operations("k", op, image=image)
        found = as_array(apply_batch(as_tensor([image]), [drawn], "lq3", on_arrays=False)[0])
        assert np.abs(found.astype(int) - drawn.apply(image, "lq3")).max() <= 1


@pytest.mark.parametrize("modality", MODALITIES)
def test_whole_plans(modality: str, picture: Any) -> None:
    images = make_images(picture, modality, False, np.uint8)
    plans = [plan(f"{k}", modality=modality, image=image) for k, image in enumerate(images)]
    levels = ["lq2", "lq3plus", "clear"]
    made = apply_batch(as_tensor(images), plans, levels, on_arrays=False)
    for k, drawn in enumerate(plans):
        off = np.abs(as_array(made[k]).astype(int) - drawn.apply(images[k], levels[k]))
        assert off.mean() < 0.1 and (off > 1).mean() < 0.01  # JPEG may carry a grey of rounding into its block


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("op", "modality"), CASES)
def test_on_a_gpu_it_agrees_and_nothing_waits(op: str, modality: str, picture: Any) -> None:
    images = make_images(picture, modality, False, np.uint8)
    plans = [plan_operations(f"{op} {k}", op, modality=modality, image=image) for k, image in enumerate(images)]
    batch = as_tensor(images).cuda()
    apply_batch(batch, plans, "lq3")
    torch.cuda.set_sync_debug_mode("error")
    try:
        made = apply_batch(batch, plans, "lq3")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for k, image in enumerate(images):
        off = np.abs(as_array(made[k].cpu()).astype(int) - plans[k].apply(image, "lq3")).max()
        assert off <= (0 if op in EQUAL else 1)


def test_the_order_of_acquisition(picture: Any) -> None:
    image = picture("mri", size=64)
    drawn = plan("k", modality="mri", image=image, order="acquisition")
    found = as_array(apply_batch(as_tensor([image]), [drawn], "lq3plus", on_arrays=False)[0])
    assert np.abs(found.astype(int) - drawn.apply(image, "lq3plus")).mean() < 0.1


def test_a_slice_of_a_volume_is_that_slice(picture: Any) -> None:
    image = picture("mri", size=64)
    drawn = plan_operations("v", ["bias_field", "gaussian_noise"], modality="mri", image=image).at_slice(2, 5)
    found = as_array(apply_batch(as_tensor([image]), [drawn], "lq2", on_arrays=False)[0])
    assert np.abs(found.astype(int) - drawn.apply(image, "lq2")).max() <= 1


def test_on_a_cpu_arrays_do_the_work(picture: Any) -> None:
    images = [picture("ct", seed=seed, size=64) for seed in range(2)]
    plans = [plan(f"{k}", modality="ct") for k in range(2)]
    made = apply_batch(as_tensor(images), plans, "lq3plus")
    assert all(np.array_equal(as_array(made[k]), plans[k].apply(images[k], "lq3plus")) for k in range(2))
    half = apply_batch(as_tensor(images).half() / 255, plans, "lq1")
    assert half.dtype == torch.float16


def test_every_operation_has_a_torch_version() -> None:
    assert set(OPERATIONS) == set(OPS)


def test_images_of_several_modalities_in_one_batch(picture: Any) -> None:
    modalities = ("ct", "dental", "ct")
    images = [picture(modality, seed=k, size=64) for k, modality in enumerate(modalities)]
    plans = [
        plan_operations(str(k), "beam_hardening", modality=modality, image=images[k])
        for k, modality in enumerate(modalities)
    ]
    made = apply_batch(as_tensor(images), plans, "lq3", on_arrays=False)
    for k, image in enumerate(images):
        assert np.abs(as_array(made[k]).astype(int) - plans[k].apply(image, "lq3")).max() <= 1


def test_what_cannot_be_done_on_a_device_is_refused(picture: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture("microscopy", size=64)[..., 0].copy()
    batch = as_tensor([image])

    def run(drawn: Plan, given: Any = batch) -> Any:
        return apply_batch(given, [drawn], "lq1", on_arrays=False)

    monkeypatch.delitem(OPERATIONS, "motion_blur")  # as an operation of a user
    for match, call in (
        ("motion_blur has no torch version", lambda: run(plan_operations("k", "motion_blur", image=image))),
        ("photon_starvation needs the body width", lambda: run(plan_operations("k", "photon_starvation"))),
        ("specular_reflection needs the sites", lambda: run(plan_operations("k", "specular_reflection"))),
        ("fog needs the bright of Clear", lambda: run(plan_operations("k", "fog"))),
        ("visibility cap", lambda: run(plan_operations("k", "gamma"))),
        ("give one for each image", lambda: apply_batch(batch, [], "lq1")),
        ("C of 1 or 3", lambda: run(plan_operations("k", "jpeg"), batch[0])),
        ("uint8 or floats", lambda: run(plan_operations("k", "jpeg"), batch.int())),
    ):
        with pytest.raises(UsageError, match=match):
            call()
    run(plan_operations("k", "fog", modality="mri", image=image))  # observed; an MR image has no bright level
    run(plan_operations("k", {"gamma": {"gamma": (0.6, 0.8)}}))  # what is asked for needs no facts
