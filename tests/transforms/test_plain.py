"""Plain transforms: what is drawn, what pixels mean, every layout and type, and no silent guess."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from dmseg.errors import DataError, MissingDependencyError, UsageError
from dmseg.simulators import degrade, plan_volume
from dmseg.transforms import Degradation, Degrade, Degraded
from dmseg.types import Window

NOISE = {"gaussian_noise": {"sigma": 0.1}}


def test_a_keyed_call_is_the_benchmark(grey: np.ndarray) -> None:
    out = Degrade("ct", levels="lq3plus", seed=3, keyed=True)(grey, key="case")
    assert np.array_equal(out, degrade(grey, "lq3plus", modality="ct", key="case", seed=3))


def test_a_geometry_is_used_instead_of_the_estimate(grey: np.ndarray) -> None:
    box = {"kind": "linear", "left": 8, "right": 55, "top": 0, "bottom": 47}
    made = Degrade("ultrasound", ops={"speckle": {"weight": 1.0}}, geometry=box, seed=1)(grey)
    assert np.array_equal(made[:, :7], grey[:, :7]) and not np.array_equal(made, grey)
    with pytest.raises(UsageError, match="geometry"):
        Degrade("ultrasound", geometry={"kind": "round"})


def test_the_order_of_acquisition(grey: np.ndarray) -> None:
    made = [
        Degrade("mri", levels="lq3plus", keyed=True, order=order)(grey, key="c") for order in ("paper", "acquisition")
    ]
    assert not np.array_equal(*made)


def test_keyed_calls_repeat_and_follow_pixels_and_epoch(grey: np.ndarray) -> None:
    transform = Degrade("mri", keyed=True, levels="lq2")
    assert np.array_equal(transform(grey), transform(grey))
    other = transform(grey)
    transform.set_epoch(1)
    assert not np.array_equal(transform(grey), other)


def test_keyed_images_of_a_batch_are_what_they_are_alone(grey: np.ndarray) -> None:
    batch = np.stack([grey, 255 - grey])
    made = Degrade("mri", keyed=True, layout="BHW")(batch)
    assert np.array_equal(made[1], Degrade("mri", keyed=True, layout="HW")(batch[1]))


class Cases:
    """The same image, again and again."""

    def __init__(self, image: np.ndarray, transform: Degrade) -> None:
        self.image, self.transform = image, transform

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> np.ndarray:
        return self.transform(self.image)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_draw_apart_and_repeat(grey: np.ndarray, persistent: bool) -> None:
    torch = pytest.importorskip("torch")

    def run() -> list[bytes]:
        torch.manual_seed(4)
        cases: Any = Cases(grey, Degrade(ops=NOISE, seed=1))
        loader = torch.utils.data.DataLoader(cases, batch_size=1, num_workers=2, persistent_workers=persistent)
        return [batch.numpy().tobytes() for _ in range(2) for batch in loader]

    first = run()
    assert len(set(first)) == 8
    assert first == run()


def test_the_old_place_still_works(grey: np.ndarray) -> None:
    with pytest.warns(DeprecationWarning, match="has moved"):
        from dmseg.simulators import transforms as old

        made = old.Degrade("ct", levels="lq1", channels_first=True)
        old.Degraded  # noqa: B018
    assert np.array_equal(made(grey[None], key="k")[0], degrade(grey, "lq1", modality="ct", key="k"))
    with pytest.raises(AttributeError, match="no attribute"):
        old.Nothing  # noqa: B018


@pytest.mark.parametrize("host", ["monai", "albumentations", "torchvision", "torchio"])
def test_a_missing_library_is_named(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [host, *(name for name in sys.modules if name.startswith(f"{host}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"dmseg.transforms.{host}", raising=False)
    with pytest.raises(MissingDependencyError, match=rf"dmseg-bench\[{host}\]"):
        importlib.import_module(f"dmseg.transforms.{host}")


def test_every_call_draws_anew_and_a_seed_repeats_them(grey: np.ndarray) -> None:
    first, second = Degrade("mri", seed=5), Degrade("mri", seed=5)
    outputs = [first(grey) for _ in range(6)]
    assert len({one.tobytes() for one in outputs}) == 6
    assert all(np.array_equal(one, second(grey)) for one in outputs)
    assert not np.array_equal(Degrade("mri")(grey), Degrade("mri")(grey))
    shared = Degrade("mri", seed=5, generator=np.random.default_rng(5))
    assert np.array_equal(shared(grey), outputs[0])


def test_the_image_given_is_never_changed(grey: np.ndarray) -> None:
    before = grey.copy()
    for p in (0.0, 1.0):
        out = Degrade(ops=NOISE, p=p)(grey)
        assert out is not grey and np.array_equal(grey, before)


def test_probability(grey: np.ndarray) -> None:
    changed = [not np.array_equal(Degrade(ops=NOISE, p=0.3, seed=k)(grey), grey) for k in range(60)]
    assert 6 < sum(changed) < 32
    assert all(np.array_equal(Degrade(ops=NOISE, p=0)(grey), grey) for _ in range(3))


def test_operations_with_ranges_and_severities(grey: np.ndarray) -> None:
    noise = [
        (Degrade(ops={"gaussian_noise": {"sigma": s}}, seed=1)(grey).astype(float) - grey).std() for s in (0.02, 0.1)
    ]
    assert noise[1] > 3 * noise[0]
    weak, strong = (Degrade(ops="gaussian_blur", severity=number, seed=1)(grey) for number in (1, 3))
    assert np.abs(weak.astype(int) - grey).mean() < np.abs(strong.astype(int) - grey).mean()
    assert Degrade(ops="ct_ring").settings.modality == "ct"


def test_replay_gives_the_same_pixels(grey: np.ndarray) -> None:
    transform = Degrade("ct", levels=("lq1", "lq3plus"), seed=2)
    again = Degrade("ct", levels=("lq1", "lq3plus"), seed=2)
    for _ in range(4):
        drawn = again.draw()
        assert drawn is not None and drawn.operations
        kept = Degradation.from_json(drawn.to_json())
        assert np.array_equal(transform(grey), transform.replay(grey, kept))
    with pytest.raises(DataError, match="not a degradation"):
        Degradation.from_json("{}")


@pytest.mark.parametrize("layout", ["HW", "HWC", "CHW", "BCHW", "BHWC", "BHW"])
def test_layouts_agree(layout: str, grey: np.ndarray, colour: np.ndarray) -> None:
    full = colour if "C" in layout else grey
    axes = ["BHWC".replace("C", "" if "C" not in layout else "C").index(letter) for letter in layout if letter != "B"]
    given = full.transpose([axis - 1 for axis in axes])
    given = np.stack([given, given]) if "B" in layout else given
    out = Degrade("endoscopy", layout=layout, levels="lq2", seed=4)(given)
    assert out.shape == given.shape and out.dtype == given.dtype
    reference = Degrade("endoscopy", levels="lq2", seed=4, layout="HWC")
    for b in range(2 if "B" in layout else 1):
        wanted = reference(full).transpose([axis - 1 for axis in axes])
        assert np.array_equal(out[b] if "B" in layout else out, wanted)


def test_a_batch_draws_for_each_image(grey: np.ndarray) -> None:
    out = Degrade("mri", layout="BCHW", levels="lq3")(np.stack([grey[None]] * 4))
    assert len({one.tobytes() for one in out}) == 4


def test_a_volume_gets_one_plan(volume: np.ndarray) -> None:
    out = Degrade("mri", layout="DHW", levels="lq2", keyed=True)(volume, key="scan")
    assert np.array_equal(out, plan_volume("scan", volume, modality="mri").apply(volume, "lq2"))
    channels = Degrade("mri", layout="CDHW", levels="lq2", keyed=True)(volume[None], key="scan")
    assert np.array_equal(channels[0], out)
    apart = Degrade("mri", layout="DHW", levels="lq2", keyed=True, per_slice=True)(volume, key="scan")
    assert np.array_equal(apart[3], degrade(volume[3], "lq2", modality="mri", key="scan/3"))


def test_contrasts_are_images_of_their_own(grey: np.ndarray) -> None:
    contrasts = np.stack([grey, 255 - grey, grey // 2, grey])
    out = Degrade(ops=NOISE, layout="CHW", seed=1)(contrasts)
    assert not np.array_equal(out[0], out[3])  # noise is fresh
    three = Degrade("mri", ops="jpeg", layout="CHW", seed=1)(contrasts[:3])
    alone = Degrade("mri", ops="jpeg", layout="HW", seed=1)(contrasts[2])
    assert np.array_equal(three[2], alone)
    stored_as_colour = Degrade("mri", ops=NOISE, layout="CHW", seed=1)(np.stack([grey] * 3))
    assert np.array_equal(stored_as_colour[0], stored_as_colour[2])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_a_stated_range(kind: type, grey: np.ndarray) -> None:
    low, high = -3.0, 5.0
    scored = (grey / 255 * (high - low) + low).astype(kind)
    out = Degrade(ops="gaussian_blur", seed=1, value_range=(low, high))(scored)
    assert out.dtype == kind
    same = Degrade(ops="gaussian_blur", seed=1, value_range=(0, 1))((grey / 255).astype(np.float32))
    assert np.abs((out.astype(float) - low) / (high - low) - same).max() < (2e-3 if kind == np.float16 else 1e-5)


def test_hounsfield_floats_are_what_integers_are(grey: np.ndarray) -> None:
    hounsfield = (grey.astype(np.int16) * 6 - 1000).astype(np.int16)
    window = (40, 400)
    whole = Degrade("ct", levels="lq3plus", seed=7, window=window)(hounsfield)
    floats = Degrade("ct", levels="lq3plus", seed=7, window=window)(hounsfield.astype(np.float32))
    wide = Degrade("ct", levels="lq3plus", seed=7, window=Window(40, 400))(hounsfield.astype(np.int32))
    assert np.array_equal(whole, wide) and np.abs(whole - floats).max() <= 0.51
    assert not np.array_equal(whole, hounsfield)


def test_measured_ranges(grey: np.ndarray) -> None:
    scored = (grey - grey.mean()) / grey.std()
    for how in ("minmax", "percentiles"):
        out = Degrade(ops=NOISE, value_range=how, seed=1)(scored)
        spread = (out - scored)[10:38, 16:48].std() / np.ptp(scored)
        assert 0.05 < spread < 0.15
    assert np.isfinite(Degrade(ops=NOISE, value_range="minmax", seed=1)(np.zeros((32, 32)))).all()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int32, np.int16, np.uint32])
def test_a_range_is_never_guessed(kind: type, grey: np.ndarray) -> None:
    with pytest.raises(UsageError, match="what are black and white"):
        Degrade(ops=NOISE)(grey.astype(kind))


def test_pictures_and_tensors_come_back_as_they_came(grey: np.ndarray, colour: np.ndarray) -> None:
    made = Degrade("endoscopy", levels="lq2", seed=1)(Pillow.fromarray(colour))
    wanted = Degrade("endoscopy", levels="lq2", seed=1)(colour)
    assert isinstance(made, Pillow.Image) and np.array_equal(np.asarray(made), wanted)
    alpha = Pillow.fromarray(np.dstack([colour, grey]))
    made = Degrade("endoscopy", levels="lq2", seed=1)(alpha)
    assert made.mode == "RGBA" and np.array_equal(np.asarray(made)[..., 3], grey)
    assert np.array_equal(np.asarray(made)[..., :3], wanted)
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(colour.transpose(2, 0, 1).copy())
    made = Degrade("endoscopy", levels="lq2", seed=1, layout="CHW")(tensor)
    assert made.dtype == torch.uint8 and np.array_equal(made.numpy().transpose(1, 2, 0), wanted)
    half = Degrade(ops=NOISE, layout="CHW", value_range=(0, 1))((tensor / 255).to(torch.bfloat16))
    assert half.dtype == torch.bfloat16


def test_dictionary_keeps_its_masks_and_draws_once(grey: np.ndarray, mask: np.ndarray) -> None:
    case: dict[str, Any] = {"image": grey, "second": grey.copy(), "label": mask, "id": "case"}
    out = Degraded(("image", "second"), Degrade("ct", levels="lq1"))(case)
    assert out["label"] is mask and np.array_equal(out["image"], out["second"])
    assert not np.array_equal(out["image"], grey)
    named = Degraded("image", Degrade("ct", levels="lq1", keyed=True), name_from="id")(case)
    assert np.array_equal(named["image"], degrade(grey, "lq1", modality="ct", key="case"))


def test_wrong_use_is_named(grey: np.ndarray) -> None:
    for match, call in (
        ("at least one level", lambda: Degrade("ct", levels=())),
        ('did you mean "lq1"', lambda: Degrade("ct", levels="lq11")),
        ("adds degradations of the modality", lambda: Degrade(levels="lq3plus")),
        ("give severity=1, 2, 3", lambda: Degrade(ops=NOISE, levels="lq1")),
        ("severity is for ops", lambda: Degrade(severity=2)),
        ("severity", lambda: Degrade(ops=NOISE, severity=4)),
        ('did you mean "gaussian_noise"', lambda: Degrade(ops="gausian_noise")),
        ("no probability", lambda: Degrade(p=1.5)),
        ("layout='HWX'", lambda: Degrade(layout="HWX")),
        ("does not fit the layout", lambda: Degrade()(np.zeros((2, 3, 4, 5), np.uint8))),
        ("black must be below white", lambda: Degrade(value_range=(1, 0))),
        ("unknown value_range", lambda: Degrade(value_range="guess")),
        ('did you mean "window"', lambda: Degrade(windw=(40, 400))),  # type: ignore[call-arg]
        ("mode P", lambda: Degrade(ops=NOISE)(Pillow.fromarray(grey).convert("P"))),
        ("has no image", lambda: Degraded("image", Degrade("ct"))({"picture": 1})),
        ("cannot degrade a list", lambda: Degrade("ct")([[1] * 32] * 32)),
        ("NaN or infinity", lambda: Degrade(ops=NOISE, value_range=(0, 1))(np.full((32, 32), np.nan))),
        ("values of type bool", lambda: Degrade(ops=NOISE)(grey > 0)),
        ("at least 16 px", lambda: Degrade(ops=NOISE)(grey[:8])),
    ):
        with pytest.raises(UsageError, match=match):
            call()
