"""Adapters as the harness uses them: batches, encoder calls, feedback, modes, precision, memory.

Weights are random or regenerated from key names, so nothing here says how good a model is.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_benchmark import write_tiny_benchmark

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import common, fill  # noqa: E402

import dmseg  # noqa: E402
from dmseg import build, harness, phantoms  # noqa: E402
from dmseg.baselines import find_missing_packages, model_cards  # noqa: E402
from dmseg.baselines.loading import FAMILIES, Family, random_network  # noqa: E402
from dmseg.baselines.medsam import MedSamAdapter  # noqa: E402
from dmseg.baselines.networks.robust_sam import RobustSAMNetwork  # noqa: E402
from dmseg.baselines.networks.sam import build_sam  # noqa: E402
from dmseg.baselines.prompted import PromptedAdapter  # noqa: E402
from dmseg.baselines.robust_sam import RobustSamAdapter  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.errors import ModelError, UsageError  # noqa: E402
from dmseg.harness.selfcheck import FAILED, selfcheck  # noqa: E402
from dmseg.types import Prompts  # noqa: E402

SIDE = 64  # the same networks on a 4 x 4 grid: fast, and nothing in an adapter depends on the grid
IMAGES = [common.image(21, 30), common.image(40, 33, seed=8)]


def small(name: str, kind: Any, build: Any, **options: Any) -> Any:
    return kind(name, random_network(Family(kind, build, "small")), **options)


@pytest.fixture(scope="module")
def sam() -> Any:
    return small("sam-vit-b", SamAdapter, partial(build_sam, "vit_b", SIDE))


@pytest.fixture(scope="module")
def robust() -> Any:
    return small("robust-sam-b", RobustSamAdapter, partial(RobustSAMNetwork, "vit_b", SIDE))


def prompts(*points: tuple[int, int], box: tuple[int, int, int, int] | None = None) -> Prompts:
    xy = np.array(points, np.float32).reshape(-1, 2)
    labels = (np.arange(len(xy)) % 2 == 0).astype(np.int8)
    return Prompts(xy, labels, None if box is None else np.array(box, np.float32), max(1, len(xy)))


MIXED = [
    (0, prompts((3, 4))),
    (1, prompts((20, 30))),
    (0, prompts((9, 9), (12, 4))),
    (0, prompts((8, 15))),
    (1, prompts((5, 5), box=(1, 2, 18, 20))),
    (0, prompts(box=(2, 2, 20, 15))),
    (1, prompts((7, 9), box=(3, 2, 30, 20))),
]


@pytest.mark.parametrize("name", ["sam", "robust"])
def test_masks_of_several_images_and_prompts_in_one_call_equal_one_by_one(
    name: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(name)
    embeddings = model.encode(IMAGES)
    for image in (0, 1):
        asked = [given for index, given in MIXED if index == image]
        first = model.predict(embeddings, [image] * len(asked), asked, [None] * len(asked))
        state = [None if i % 2 else one for i, one in enumerate(first.state)]
        together = model.predict(embeddings, [image] * len(asked), asked, state)
        for i, given in enumerate(asked):
            alone = model.predict([embeddings[image]], [0], [given], [state[i]])
            assert torch.allclose(together.logits[i], alone.logits[0], atol=1e-3), i
            assert torch.allclose(together.state[i], alone.state[0], atol=1e-3), i
            assert float(together.scores[i]) == pytest.approx(float(alone.scores[0]), abs=1e-3)


def test_images_of_one_size_are_encoded_in_one_pass_and_prompts_never_encode(
    sam: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    encode = sam.network.encode
    monkeypatch.setattr(sam.network, "encode", lambda pixels: calls.append(len(pixels)) or encode(pixels))
    embeddings = sam.encode([IMAGES[0], IMAGES[0][::-1].copy()])
    assert calls == [2]
    state = [None, None]
    for count in range(1, 4):
        given = [prompts(*[(3 + i, 5) for i in range(count)])] * 2
        state = sam.predict(embeddings, [0, 0], given, state).state
    assert calls == [2]


def test_prompt_free_robust_features_are_made_once_per_image(robust: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    features = robust.network.mask_decoder.fuse_features
    monkeypatch.setattr(
        robust.network.mask_decoder, "fuse_features", lambda *given: calls.append(1) or features(*given)
    )
    embeddings = robust.encode(IMAGES)
    for count in (1, 2):
        robust.predict(embeddings, [0], [prompts(*[(3 + i, 5) for i in range(count)])], [None])
    assert calls == [1]  # one pass for both


def test_the_previous_mask_and_every_kind_of_prompt_change_the_answer(sam: Any) -> None:
    embeddings = sam.encode(IMAGES[:1])
    first = sam.predict(embeddings, [0], [prompts((3, 4))], [None])
    for given, state in (
        (prompts((3, 4)), first.state[0]),
        (prompts((15, 4)), None),
        (prompts((3, 4), (9, 9)), None),
        (prompts((3, 4), box=(1, 1, 20, 9)), None),
    ):
        answer = sam.predict(embeddings, [0], [given], [state])
        assert not torch.allclose(answer.logits, first.logits, atol=1e-3)


def test_official_medsam_answers_to_the_box_alone() -> None:
    model = small("medsam", MedSamAdapter, partial(build_sam, "vit_b", SIDE), mode="official")
    embeddings = model.encode(IMAGES[:1])
    box = (2, 3, 20, 15)
    alone = model.predict(embeddings, [0], [prompts(box=box)], [None])
    more = model.predict(embeddings, [0], [prompts((5, 5), box=box)], alone.state)
    assert torch.equal(alone.logits, more.logits)
    with pytest.raises(ModelError, match="cannot use these prompts: it needs"):
        model.predict(embeddings, [0], [prompts((3, 4))], [None])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_benchmark(tmp_path_factory.mktemp("adapters") / "bench", levels=("clear",))


@pytest.mark.parametrize("name", ["medsam-box", "lite-medsam-box"])
def test_the_box_rows_refuse_presets_with_clicks(name: str, bench: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"negative_points.*choose another --preset"):
        harness.evaluate(name, bench, tmp_path / "run", preset="dmseg", weights="random", device="cpu")
    assert not (tmp_path / "run").exists()


def close(model: PromptedAdapter, reduced: PromptedAdapter) -> float:
    """Relative error of the reduced precision's low-resolution logits, after three steps of feedback."""
    answers = []
    for one in (model, reduced):
        embeddings, state = one.encode(IMAGES[:1]), [None]
        for count in (1, 2, 3):
            state = one.predict(embeddings, [0], [prompts(*[(3 * i + 4, 5) for i in range(count)])], state).state
        assert state[0].dtype == torch.float32
        answers.append(state[0].cpu())
    return float((answers[0] - answers[1]).norm() / answers[0].norm())


def test_bf16_stays_near_fp32(sam: Any, robust: Any) -> None:
    # Eight bits of mantissa, through twelve blocks and three steps of feedback.
    for model in (sam, robust):
        reduced = type(model)(model.name, model.network, precision="bf16")
        assert 0 < close(model, reduced) < 0.05


def test_the_public_loader_hands_the_precision_on() -> None:
    reduced: Any = dmseg.load_model("sam-med2d", weights="random", device="cpu", precision="bf16")
    assert reduced.precision == "bf16"
    with pytest.raises(UsageError, match='unknown precision "fp8"'):
        dmseg.load_model("sam-med2d", weights="random", device="cpu", precision="fp8")


@pytest.mark.parametrize(
    ("kind", "build", "mode"),
    [
        (SamAdapter, build_sam, "iterative"),
        (MedSamAdapter, build_sam, "official"),
        (RobustSamAdapter, RobustSAMNetwork, "iterative"),
    ],
)
@pytest.mark.slow
def test_full_depth_at_a_small_input_passes_the_self_check(kind: Any, build: Any, mode: str) -> None:
    model = small("it", kind, partial(build, "vit_b", SIDE), mode=mode)
    assert [check for check in selfcheck(model) if check.verdict == FAILED] == []


HEAVY = ("sam-vit-l", "sam-vit-h", "robust-sam-l", "gle-sam", "pge-sam-l", "sam2.1-large")


def skip_without_packages(name: str) -> None:
    missing = find_missing_packages(model_cards()[name])
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


CHECKED = [pytest.param(name, marks=[pytest.mark.gpu if name in HEAVY else pytest.mark.slow]) for name in FAMILIES]


@pytest.mark.parametrize("name", CHECKED)
def test_every_network_passes_the_self_check(name: str) -> None:
    skip_without_packages(name)
    model = dmseg.load_model(name, weights="random", device="cuda" if name in HEAVY else "cpu")
    if name == "mini-sam" or FAMILIES[name].bases:
        fill(model)  # with the seeded weights of the small ones any click is answered with the whole image
    assert [check for check in selfcheck(model) if check.verdict == FAILED] == []


MEASURED_RUN = """
import sys
from dmseg.cli import main
from dmseg.jobs import peak_memory
try:
    main(sys.argv[1:])
finally:
    print("peak", peak_memory())
"""


@pytest.mark.slow
def test_mobile_sam_from_a_file_runs_a_phantom_benchmark_within_two_gigabytes(tmp_path: Path) -> None:
    model: Any = fill(dmseg.load_model("mobile-sam", weights="random", device="cpu"))
    torch.save(dict(model.official_state_dict()), tmp_path / "mobile_sam.pt")
    del model
    phantoms.write_phantoms(tmp_path / "raw", per_dataset=4, datasets=["BUSI"])
    build.build(tmp_path / "raw", tmp_path / "bench", levels=("clear", "lq3"))
    arguments = ["--model", "mobile-sam", "--weights", tmp_path / "mobile_sam.pt", "--data", tmp_path / "bench"]
    more = ["--limit", "1", "--split", "all", "--device", "cpu", "--out", tmp_path / "run"]
    command = [sys.executable, "-c", MEASURED_RUN, "evaluate", *map(str, (*arguments, *more))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = harness.open_run(tmp_path / "run").steps
    assert set(steps["step"]) == {1, 2, 3, 4, 5} and set(steps["status"]) == {"ok"}
    peak = int(done.stdout.rsplit("peak", 1)[1])
    assert peak < 2 * 2**30, f"{peak / 2**30:.2f} GiB"
