"""Every operation, for every accepted type, shape and size; golden bits; users' own operations."""

from __future__ import annotations

import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmseg.errors import UsageError
from dmseg.simulators import OPS, Operation, Parameter, apply, observe, operation, plan, tables
from dmseg.simulators.general import jpeg_bytes
from dmseg.simulators.operations import home_modality
from dmseg.types import MODALITIES, Window

ALL = sorted(OPS)
WHITE = {"uint8": 255, "uint16": 65535, "float32": 1.0}
INTEGER = (
    "gaussian_noise",
    "salt_pepper",
    "motion_blur",
    "dead_pixels",
    "rician_noise",
    "brightness_contrast",
    "gamma",
)
GOLDEN = Path(__file__).parents[1] / "golden" / "simulators.json"


def make_texture(shape: tuple[int, ...], kind: str, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    image = 0.15 + 0.7 * generator.random(shape, dtype=np.float32)
    return (image * WHITE[kind]).astype(kind)


def home(name: str) -> str | None:
    return home_modality(name)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    colour=st.booleans(),
    kind=st.sampled_from(sorted(WHITE)),
    severity=st.sampled_from(tables.SEVERITIES),
    key=st.text("abc", max_size=3),
)
def test_any_size_type_and_channels(name: str, height, width, colour, kind, severity, key) -> None:  # type: ignore[no-untyped-def]
    image = make_texture((height, width, 3) if colour else (height, width), kind)
    before = image.copy()
    out = apply(name, image, key=key, severity=severity, modality=home(name))
    assert out.shape == image.shape and out.dtype == image.dtype
    assert np.array_equal(image, before), "the input was written to"
    assert not np.shares_memory(out, image)
    assert out.min() >= 0 and out.max() <= WHITE[kind]
    assert not np.array_equal(out, image), "hidden no-op"
    assert np.array_equal(out, apply(name, image, key=key, severity=severity, modality=home(name)))


@pytest.mark.parametrize("name", ALL)
def test_types_agree(name: str) -> None:
    base = make_texture((64, 80), "uint8")
    modality = home(name)
    eight = apply(name, base, key="t", modality=modality).astype(float) / 255
    sixteen = apply(name, base.astype(np.uint16) * 257, key="t", modality=modality).astype(float) / 65535
    real = apply(name, (base / 255).astype(np.float32), key="t", modality=modality)
    assert np.abs(sixteen - real).max() < 2e-3
    assert np.abs(eight - real).max() < (0.012 if name != "jpeg" else 0.02)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_constant_pictures_act_or_say_why_not(name: str, value: int) -> None:
    image = np.full((48, 64), value, np.uint8)
    modality = home(name)
    out = apply(name, image, key="flat", modality=modality)
    assert out.shape == image.shape and out.dtype == np.uint8
    drawn = plan("flat", ops=(name,), modality=modality, image=image)
    if value in (0, 128) and np.array_equal(out, image):
        assert name in drawn.inert()


@pytest.mark.parametrize("name", ALL)
def test_layout_and_permissions_of_the_array_do_not_matter(name: str) -> None:
    base = make_texture((64, 96, 3), "uint8")
    modality = home(name)
    wanted = apply(name, base, key="m", modality=modality)
    locked = base.copy()
    locked.flags.writeable = False
    strided = np.repeat(np.repeat(base, 2, axis=0), 2, axis=1)[::2, ::2]
    reversed_twice = np.ascontiguousarray(base[:, ::-1])[:, ::-1]
    for image in (locked, strided, reversed_twice, np.asfortranarray(base)):
        assert np.array_equal(apply(name, image, key="m", modality=modality), wanted)


@pytest.mark.parametrize("kind", ["u2", "i2", "f4"])
def test_byte_order_and_alignment_of_the_array_do_not_matter(kind: str) -> None:
    base = (make_texture((40, 56), "uint8") / (255 if kind == "f4" else 1)).astype(kind)
    window = Window(100, 300) if kind == "i2" else None
    unaligned = np.frombuffer(b"0" + base.tobytes(), np.uint8)[1:].view(kind).reshape(base.shape)
    for name in ("gaussian_noise", "gamma", "jpeg"):
        wanted = apply(name, base, key="order", window=window)
        for image in (base.astype(f">{kind}"), unaligned):
            out = apply(name, image, key="order", window=window)
            assert out.dtype == image.dtype and np.array_equal(out, wanted)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_a_number_is_refused(bad: float) -> None:
    image = np.full((32, 32), 0.5, np.float32)
    image[3, 4] = bad
    with pytest.raises(UsageError, match="NaN or infinity"):
        apply("gaussian_blur", image)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((15, 64), np.uint8), "at least 16 px"),
        (np.zeros((32, 32, 4), np.uint8), r"allowed: \(height, width\)"),
        (np.zeros((32, 32), np.float64), "allowed: uint8"),
        (np.zeros((32, 32), bool), "allowed: uint8"),
        (np.full((32, 32), 1.5, np.float32), r"scale it to \[0, 1\]"),
        (np.full((32, 32), -0.5, np.float32), r"scale it to \[0, 1\]"),
        (np.zeros((32, 32), np.int16), "needs a window"),
        ([[1, 2], [3, 4]], "numpy array"),
    ],
)
def test_unusable_pictures_are_refused_in_words(image: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        apply("gaussian_noise", image)


def test_wrong_parameters_are_refused_in_words() -> None:
    image = make_texture((32, 32), "uint8")
    with pytest.raises(UsageError, match='did you mean "sigma"'):
        apply("gaussian_noise", image, sigm=0.1)
    with pytest.raises(UsageError, match=r"sigma: 3.0 is not in 0..1 \(of full scale\)"):
        apply("gaussian_noise", image, sigma=3)
    with pytest.raises(UsageError, match="not in"):
        apply("gaussian_noise", image, sigma=float("nan"))
    with pytest.raises(UsageError, match="not a whole number"):
        apply("jpeg", image, quality=10.5)
    with pytest.raises(UsageError, match='did you mean "light"'):
        apply("jpeg", image, severity="ligth")
    with pytest.raises(UsageError, match="beam_hardening has no beta for ct"):
        apply("beam_hardening", image, modality="ct", beta=0.1)


def golden() -> dict[str, str]:
    digests = {}
    for name in INTEGER:
        for kind in WHITE:
            for shape in ((61, 83), (40, 48, 3)):
                out = apply(name, make_exact_texture(shape, kind), key="golden", modality=home(name))
                digests[f"{name} {kind} {len(shape)}"] = hashlib.sha256(out.tobytes()).hexdigest()
    for shape in ((61, 83), (40, 48, 3)):
        for quality in (10, 38, 75):
            data = jpeg_bytes(make_exact_texture(shape, "uint8"), quality)
            digests[f"jpeg file {quality} {len(shape)}"] = hashlib.sha256(data.tobytes()).hexdigest()
    return digests


def make_exact_texture(shape: tuple[int, ...], kind: str) -> np.ndarray:
    """An image made of integers only, so that no library decides a bit of it."""
    count = int(np.prod(shape))
    eight = (np.arange(count, dtype=np.uint64) * 2654435761 % 2**32 >> 25).reshape(shape) + 60
    return (
        (eight * 257).astype(np.uint16)
        if kind == "uint16"
        else (eight.astype(kind) / np.dtype(kind).type((WHITE[kind] == 1 and 256) or 1)).astype(kind)
    )


def test_integer_and_noise_operations_and_jpeg_files_are_frozen_bits() -> None:
    assert golden() == json.loads(GOLDEN.read_text())


def test_no_global_generator_is_read_or_moved() -> None:
    image = make_texture((48, 48), "uint8")
    wanted = [apply(name, image, key="g", modality=home(name)) for name in ALL]
    np.random.seed(5)  # noqa: NPY002 - the global states are what this test watches
    random.seed(5)
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    again = [apply(name, image, key="g", modality=home(name)) for name in ALL]
    assert all(np.array_equal(a, b) for a, b in zip(wanted, again, strict=True))
    assert np.array_equal(before[0], np.random.get_state()[1]) and random.getstate() == before[1]  # noqa: NPY002


def test_threads_do_not_change_a_bit() -> None:
    image = make_texture((96, 96), "uint8")
    names = [name for name in ALL for _ in range(2)]
    alone = [apply(name, image, key="thread", modality=home(name)) for name in names]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda name: apply(name, image, key="thread", modality=home(name)), reversed(names)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, reversed(together), strict=True))


@pytest.mark.slow
def test_processes_do_not_change_a_bit() -> None:
    from joblib import Parallel, delayed

    image = make_texture((96, 96), "uint8")
    alone = [apply(name, image, key="p", modality=home(name)) for name in ALL]
    for workers in (1, 2):
        made = Parallel(n_jobs=workers)(delayed(apply)(name, image, key="p", modality=home(name)) for name in ALL)
        assert all(np.array_equal(a, b) for a, b in zip(alone, made, strict=True))


def test_every_parameter_has_unit_source_and_ranges_inside_its_limits() -> None:
    for name, entry in OPS.items():
        for label, parameter in entry.parameters.items():
            assert parameter.unit and parameter.source, (name, label)
            for modality in (None, *MODALITIES):
                for severity in tables.SEVERITIES:
                    for low, high in parameter.branches(severity, modality):
                        for value in (low, high):
                            parameter.check(parameter.value(float(value == high), 0, severity, modality), name)
    listed = {op for table in tables.modality_tables().values() for op in table.operations + table.extra}
    assert listed == {name for name, entry in OPS.items() if entry.kind == "domain"}


def brighter(image: np.ndarray, scene: object, *, amount: float) -> np.ndarray:
    """Add a constant."""
    return np.clip(image.astype(float) + amount, 0, 255).astype(image.dtype)


OWN = Operation(
    "own_offset",
    "domain",
    1,
    {"amount": Parameter("greys", "a test", light=[1, 2], medium=[3, 4], heavy=[5, 6], limits=(0, 9))},
    brighter,
)


@pytest.fixture(name="installed")
def install_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = metadata.EntryPoint("own_offset", f"{__name__}:OWN", "dmseg.simulators")
    wrong = metadata.EntryPoint("wrong", f"{__name__}:brighter", "dmseg.simulators")
    monkeypatch.setattr(metadata.EntryPoint, "load", lambda self: {"own_offset": OWN, "wrong": brighter}[self.name])

    def find(*, group: str, name: str | None = None) -> list[metadata.EntryPoint]:
        return [e for e in (entry, wrong) if group == "dmseg.simulators" and name in (None, e.name)]

    monkeypatch.setattr(metadata, "entry_points", find)
    monkeypatch.setattr("dmseg.simulators.operations.OPS", dict(OPS))


def test_a_users_operation_works_like_a_built_in(installed: None) -> None:
    image = make_texture((32, 32), "uint8")
    out = apply("own_offset", image, key="u")
    assert 5 <= int(out[0, 0]) - int(image[0, 0]) <= 6
    drawn = plan("u", modality="ct", domain=("own_offset",), image=image)
    difference = drawn.apply(image, "lq3plus").astype(int) - drawn.apply(image, "lq3")
    assert 5 <= difference.max() <= 6
    assert "own_offset" not in {step.operation for step in plan("u", modality="ct").general}


def test_an_entry_point_that_is_no_operation_is_named(installed: None) -> None:
    with pytest.raises(UsageError, match=r"is not a dmseg\.simulators\.Operation"):
        operation("wrong")
    with pytest.raises(UsageError, match='did you mean "own_offset"'):
        operation("own_ofset")


def test_observe_measures_what_it_says() -> None:
    image = np.zeros((40, 50), np.uint8)
    image[:, 25:] = 255
    image[0, 0] = 100
    facts = observe(image)
    assert (facts["minimum"], facts["maximum"]) == (0, 1)
    assert facts["mean"] == pytest.approx(image.mean() / 255, rel=1e-5)
    assert facts["deviation"] == pytest.approx(image.std() / 255, rel=1e-5)
    assert facts["midtones"] == pytest.approx(1 / 2000) and facts["white"] == 0.5
    same = observe(image.astype(np.uint16) * 257)
    assert same["mean"] == facts["mean"] and same["histogram"] == facts["histogram"]
    assert observe(image, modality="ct", window=Window(0, 100))["window"] == [0, 100]
    with pytest.raises(UsageError, match='did you mean "mri"'):
        observe(image, modality="mrx")
