"""SAM 2.1 and MedSAM2 through the package sam2: parity with its own predictor on the same random weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")
pytest.importorskip("sam2", reason="needs the extra [sam2]")

from PIL import Image as PillowImage  # noqa: E402

from dmseg.baselines import load_model  # noqa: E402
from dmseg.baselines.loading import Family, random_network  # noqa: E402
from dmseg.baselines.networks.sam2 import Sam2Network  # noqa: E402
from dmseg.baselines.sam2 import MedSam2Adapter, Sam2Adapter  # noqa: E402
from dmseg.errors import UsageError  # noqa: E402
from dmseg.types import Prompts  # noqa: E402

TINY = "configs/sam2.1/sam2.1_hiera_t.yaml"
CLICKS = (np.array([[40, 30], [70, 10]], np.float32), np.array([1, 0], np.int8))
BOX = np.array([22, 12, 60, 50], np.float32)
NONE = (np.zeros((0, 2), np.float32), np.zeros(0, np.int8))


def draw() -> Any:
    rows, columns = np.mgrid[:60, :90]
    grey = 50 + 120 * ((columns - 40) ** 2 + (rows - 30) ** 2 < 250) + 10 * np.sin(rows)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def network() -> Sam2Network:
    return random_network(Family(Sam2Adapter, partial(Sam2Network, TINY, 128), "tiny"))  # type: ignore[return-value]


def make_predictor(network: Sam2Network) -> Any:
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    predictor = SAM2ImagePredictor(network.sam2)
    predictor._bb_feat_sizes = [(32, 32), (16, 16), (8, 8)]  # the predictor knows only those of 1024 px
    predictor.set_image(draw())
    return predictor


@pytest.mark.parametrize(
    ("mode", "points", "box"),
    [("iterative", 1, False), ("iterative", 2, True), ("iterative", 0, True), ("official", 1, False)],
)
def test_every_step_equals_the_packages_own_predictor(network: Sam2Network, mode: str, points: int, box: bool) -> None:
    adapter, predictor = Sam2Adapter("sam2", network, mode=mode), make_predictor(network)  # type: ignore[arg-type]
    embeddings, state, low_res = adapter.encode([draw()]), [None], None
    torch.testing.assert_close(
        embeddings[0].encoded.embedding, predictor._features["image_embed"], rtol=1e-4, atol=1e-4
    )
    xy, labels = (CLICKS[0][:points], CLICKS[1][:points]) if points else NONE
    for step in (1, 2, 3):
        answer = adapter.predict(embeddings, [0], [Prompts(xy, labels, BOX if box else None, step)], state)
        state = list(answer.state)
        masks, scores, low_res = predictor.predict(
            xy if points else None, labels if points else None, BOX if box else None, low_res,
            multimask_output=mode == "official", return_logits=True,
        )  # fmt: skip
        best = scores.argmax()
        low_res = low_res[best][None]
        np.testing.assert_allclose(answer.logits[0].numpy(), masks[best], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(state[0].numpy(), low_res, rtol=1e-4, atol=1e-4)


def test_several_masks_of_a_call_equal_one_after_another(network: Sam2Network) -> None:
    adapter = Sam2Adapter("sam2", network)  # type: ignore[arg-type]
    embeddings = adapter.encode([draw()])
    given = [Prompts(CLICKS[0][i : i + 1], CLICKS[1][:1], None, 1) for i in (0, 1)]
    together = adapter.predict(embeddings, [0, 0], given, [None, None])
    for place, one in enumerate(given):
        alone = adapter.predict(embeddings, [0], [one], [None])
        torch.testing.assert_close(together.logits[place], alone.logits[0], rtol=1e-4, atol=1e-4)


def test_medsam2_resizes_as_its_scripts_do(network: Sam2Network) -> None:
    pixels, frame = MedSam2Adapter("medsam2", network).prepare(draw())  # type: ignore[arg-type]
    resized = np.asarray(PillowImage.fromarray(draw()).resize((128, 128))).transpose(2, 0, 1) / 255.0
    mean, deviation = (np.array(row)[:, None, None] for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    np.testing.assert_allclose(pixels.numpy(), (resized - mean) / deviation, atol=1e-5)
    assert frame.scale == (128 / 90, 128 / 60)


@pytest.mark.filterwarnings("ignore:.*keys of sam2.1-tiny and medsam2")
def test_an_official_file_is_read_whole(network: Sam2Network, tmp_path: Any) -> None:
    state = dict(network.official_state_dict())
    torch.save({"model": state}, tmp_path / "sam2.1_hiera_tiny.pt")
    loaded = load_model("sam2.1-tiny", weights=tmp_path / "sam2.1_hiera_tiny.pt", device="cpu")
    assert all(torch.equal(value, state[key]) for key, value in loaded.official_state_dict().items())  # type: ignore[union-attr]


def test_it_is_not_exported(tmp_path: Any) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    from dmseg.baselines import export_model

    with pytest.raises(UsageError, match="another layout"):
        export_model("medsam2", "onnx", tmp_path / "out", weights="random")
