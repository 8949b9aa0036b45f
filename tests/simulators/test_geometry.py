"""The scan sector is found where there is one, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from dmseg.errors import UsageError
from dmseg.simulators import observe
from dmseg.simulators.geometry import beams, check_geometry, estimate


def fan(
    apex: tuple[float, float], angles: tuple[float, float], radii: tuple[float, float], shape=(300, 400)
) -> np.ndarray:  # type: ignore[no-untyped-def]
    y, x = np.indices(shape)
    radius, angle = np.hypot(x - apex[0], y - apex[1]), np.arctan2(x - apex[0], y - apex[1])
    inside = (angle > angles[0]) & (angle < angles[1]) & (radius > radii[0]) & (radius < radii[1])
    grey = np.random.default_rng(0).integers(0, 200, shape)
    return np.where(inside, np.maximum(grey, 4), 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("apex", "angles", "radii"),
    [
        ((200, -50), (-0.5, 0.5), (80, 330)),
        ((180, 30), (-1.2, 1.2), (25, 190)),
        ((210, -120), (-0.35, 0.45), (150, 400)),
    ],
)
def test_convex_sectors_are_found(apex, angles, radii) -> None:  # type: ignore[no-untyped-def]
    found = estimate(fan(apex, angles, radii))
    assert found["kind"] == "convex"
    assert np.hypot(*(np.array(found["apex"]) - apex)) < 8
    assert np.allclose(found["angles"], angles, atol=0.03)
    assert np.allclose(found["radii"], radii, atol=8)


def test_dark_cyst_and_letters_beside_the_sector_do_not_matter() -> None:
    image = fan((200, -50), (-0.5, 0.5), (80, 330))
    image[150:220, 170:240] = 1
    image[5:15, 330:380] = 255
    image[:, :3] = 90
    found = estimate(image)
    assert found["kind"] == "convex" and np.allclose(found["angles"], (-0.5, 0.5), atol=0.05)


def test_rectangles_are_linear() -> None:
    full = np.random.default_rng(1).integers(30, 200, (200, 300)).astype(np.uint8)
    assert estimate(full) == {"kind": "linear", "left": 0.0, "right": 299.0, "top": 0.0, "bottom": 199.0}
    framed = np.zeros((240, 320), np.uint8)
    framed[30:200, 40:300] = 100
    found = estimate(framed)
    assert found["kind"] == "linear"
    assert np.allclose([found["left"], found["right"], found["top"], found["bottom"]], [40, 299, 30, 199], atol=3)


@pytest.mark.parametrize("image", [np.zeros((64, 64), np.uint8), np.eye(64, dtype=np.uint8) * 255])
def test_pictures_without_a_sector_have_none(image: np.ndarray) -> None:
    assert estimate(image) == {"kind": "none"}


def test_estimate_is_the_same_for_every_type_and_for_colour() -> None:
    image = fan((200, -50), (-0.5, 0.5), (80, 330))
    reference = estimate(image)
    for other in (image.astype(np.uint16) * 257, (image / 255).astype(np.float32), np.stack([image] * 3, axis=2)):
        found = estimate(other)
        assert np.allclose(found["angles"], reference["angles"], atol=1e-3)


def test_callers_geometry_is_used_and_checked(convex) -> None:  # type: ignore[no-untyped-def]
    image = np.full((64, 64), 99, np.uint8)
    assert observe(image, modality="ultrasound", geometry=convex)["geometry"] == convex
    with pytest.raises(UsageError, match='did you mean "convex"'):
        check_geometry({"kind": "convx"})
    with pytest.raises(UsageError, match="keys kind, left, right, top, bottom"):
        check_geometry({"kind": "linear", "left": 0})
    with pytest.raises(UsageError, match="apex must be 2 numbers"):
        check_geometry({**convex, "apex": [1, 2, 3]})


def test_beam_coordinates_agree_with_trigonometry(convex) -> None:  # type: ignore[no-untyped-def]
    where = beams(convex, (256, 256))
    y, x = np.indices((256, 256))
    angle = np.arctan2(x - convex["apex"][0], y - convex["apex"][1])
    assert np.abs(where.lateral - (angle - convex["angles"][0]) / (1.15)).max() < 1e-5
    radius = np.hypot(x - convex["apex"][0], y - convex["apex"][1])
    assert np.abs(where.depth - (radius - 80)).max() < 1e-3
