"""Exported networks: the graphs say what the networks say, the files run as models, and wrong files are refused."""

from __future__ import annotations

import functools
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="network baselines need the extra [models]")

from parity_weights import fill  # noqa: E402
from tiny_benchmark import write_tiny_benchmark  # noqa: E402

from dmseg import harness  # noqa: E402
from dmseg.baselines import export_model, load_model, model_facts  # noqa: E402
from dmseg.baselines.exported.graphs import PROMPTS, DecoderGraph, name_parts  # noqa: E402
from dmseg.baselines.lite_medsam import LiteMedSamAdapter  # noqa: E402
from dmseg.baselines.loading import Family, random_network  # noqa: E402
from dmseg.baselines.medsam import MedSamAdapter  # noqa: E402
from dmseg.baselines.networks.mini import build_mini_sam  # noqa: E402
from dmseg.baselines.networks.robust_sam import RobustSAMNetwork  # noqa: E402
from dmseg.baselines.networks.sam_hq import build_sam_hq  # noqa: E402
from dmseg.baselines.robust_sam import RobustSamAdapter  # noqa: E402
from dmseg.baselines.sam import SamAdapter  # noqa: E402
from dmseg.baselines.sam_hq import SamHqAdapter  # noqa: E402
from dmseg.errors import ModelError, UsageError  # noqa: E402
from dmseg.types import Prompts  # noqa: E402

CLICKS = (np.array([[40, 30], [70, 10]], np.float32), np.array([1, 0], np.int8))
NONE = (np.zeros((0, 2), np.float32), np.zeros(0, np.int8))
BOX = np.array([22, 12, 60, 50], np.float32)


def draw(height: int = 60, width: int = 90) -> Any:
    rows, columns = np.mgrid[:height, :width]
    grey = 50 + 120 * ((columns - 40) ** 2 + (rows - 30) ** 2 < 250)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def small(adapter: Any, build: Any, **options: Any) -> Any:
    return adapter("small", random_network(Family(adapter, build, "small")), **options)


SMALL = {
    "sam": lambda: fill(small(SamAdapter, build_mini_sam)),
    "medsam": lambda: fill(small(MedSamAdapter, build_mini_sam)),
    "lite-medsam": lambda: fill(small(LiteMedSamAdapter, build_mini_sam)),
    "robust-sam": lambda: small(RobustSamAdapter, partial(RobustSAMNetwork, "vit_b", 64)),
    "sam-hq": lambda: small(SamHqAdapter, partial(build_sam_hq, "vit_b", 64)),
    "sam-hq multi": lambda: small(SamHqAdapter, partial(build_sam_hq, "vit_b", 64), mode="multi"),
    "mini-pge-sam": lambda: load_model("mini-pge-sam"),
}


@functools.cache
def make(name: str) -> tuple[Any, Any]:
    """Return a small network's adapter and the embedding of the drawn image."""
    adapter = SMALL[name]()
    return adapter, adapter.encode([draw()])[0]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", ["click", "clicks", "box", "both"])
def test_the_decoders_graph_gives_the_networks_mask_and_its_way_back_to_the_canvas(name: str, kind: str) -> None:
    adapter, embedding = make(name)
    count = 1 if kind == "click" else 2
    points, labels = NONE if kind == "box" else (CLICKS[0][:count], CLICKS[1][:count])
    given = Prompts(points, labels, BOX if kind in ("box", "both") else None, 1)
    first = adapter.predict([embedding], [0], [given], [None])
    second = adapter.predict([embedding], [0], [given], first.state)
    graph = DecoderGraph(adapter, embedding.encoded, adapter.mode == "multi")
    coords = [embedding.frame.to_input(points)] if len(points) else []
    kinds = [labels] if len(points) else []
    coords.append(np.zeros((1, 2)) if given.box is None else adapter.box(BOX, embedding.frame).reshape(2, 2))
    kinds.append(np.array([-1] if given.box is None else [2, 3]))
    parts = name_parts(embedding.encoded)
    for has_mask, wanted in ((0.0, first), (1.0, second)):
        before = torch.zeros_like(first.state[0])[None] if not has_mask else first.state[0][None]
        prompts = dict(
            zip(
                PROMPTS,
                (
                    torch.tensor(np.concatenate(coords)[None], dtype=torch.float32),
                    torch.tensor(np.concatenate(kinds)[None], dtype=torch.float32),
                    before,
                    torch.tensor([has_mask]),
                    torch.tensor([60.0, 90.0]),
                ),
                strict=True,
            )
        )
        with torch.inference_mode():
            masks, scores, low_res = graph(*parts.values(), *prompts.values())
        assert masks.shape[2:] == (60, 90)
        torch.testing.assert_close(low_res[:, 0], wanted.state[0], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(masks[0, :1], wanted.logits, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(scores[0, :1], wanted.scores, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def onnx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="needs the extra [onnx]")
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    out = tmp_path_factory.mktemp("exported") / "mini"
    assert export_model("mini-sam", "onnx", out).difference < 1e-3
    return out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_benchmark(tmp_path_factory.mktemp("benchmark") / "tiny")


def test_the_files_have_the_names_and_shapes_of_metas_export(onnx_folder: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx_folder / "decoder.onnx"))
    assert [one.name for one in session.get_inputs()] == ["image_embeddings", *PROMPTS]
    assert [one.name for one in session.get_outputs()] == ["masks", "iou_predictions", "low_res_masks"]
    embedding = onnxruntime.InferenceSession(str(onnx_folder / "encoder.onnx")).run(
        None, {"input_image": np.zeros((1, 3, 256, 256), np.float32)}
    )[0]
    for height, width in ((480, 640), (100, 30)):  # the size is an input: Meta's own export freezes the crop
        given = (
            np.float32([[[30, 40], [60, 60], [0, 0]]]), np.float32([[1, 0, -1]]),
            np.zeros((1, 1, 128, 128), np.float32), np.float32([0]), np.float32([height, width]),
        )  # fmt: skip
        masks = session.run(["masks"], {"image_embeddings": embedding, **dict(zip(PROMPTS, given, strict=True))})[0]
        assert masks.shape == (1, 1, height, width)
    assert json.loads((onnx_folder / "model.json").read_text())["model"] == "mini-sam"


def test_a_run_of_the_files_is_the_networks_run(onnx_folder: Path, tiny: Path, tmp_path: Path) -> None:
    place = f"onnx:{onnx_folder / 'encoder.onnx'},{onnx_folder / 'decoder.onnx'}"
    ours = harness.evaluate("mini-sam", tiny, tmp_path / "torch", levels=("clear",)).path
    theirs = harness.evaluate(place, tiny, tmp_path / "onnx", levels=("clear",)).path
    one, other = (harness.open_run(path) for path in (ours, theirs))
    assert (one.steps["dice"] - other.steps["dice"]).abs().max() < 0.005
    assert other.info["model"]["name"] == "mini-sam-onnx"
    assert set(other.info["model"]["files"]) == {"encoder", "decoder"}


def test_selfcheck_passes_on_the_files(onnx_folder: Path) -> None:
    from dmseg.harness.selfcheck import FAILED, selfcheck

    checks = selfcheck(load_model(f"onnx:{onnx_folder}"))
    assert [check for check in checks if check.verdict == FAILED] == []


def test_other_bytes_are_another_model(onnx_folder: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(onnx_folder / "decoder.onnx")
    before = model_facts(load_model(f"onnx:{onnx_folder}"))
    model.doc_string = "changed"
    onnx.save(model, tmp_path / "decoder.onnx")
    after = model_facts(load_model(f"onnx:{onnx_folder / 'encoder.onnx'},{tmp_path / 'decoder.onnx'}"))
    assert before["files"]["encoder"] == after["files"]["encoder"]
    assert before["files"]["decoder"] != after["files"]["decoder"]
    assert before["weights_sha256"] != after["weights_sha256"]


def test_files_of_other_programs_say_nothing_of_their_preparation(onnx_folder: Path, tmp_path: Path) -> None:
    import onnx

    for name in ("encoder.onnx", "decoder.onnx"):
        model = onnx.load(onnx_folder / name)
        del model.metadata_props[:]
        onnx.save(model, tmp_path / name)
    with pytest.raises(ModelError, match="like=NAME"):
        load_model(f"onnx:{tmp_path}")
    with pytest.raises(UsageError, match="unknown network"):
        load_model(f"onnx:{tmp_path}", arguments={"like": "mini"})
    image, given = draw(), Prompts(*CLICKS, None, 2)
    answers = []
    for model in (load_model(f"onnx:{tmp_path}", arguments={"like": "mini-sam"}), load_model(f"onnx:{onnx_folder}")):
        answers.append(model.predict(model.encode([image]), [0], [given], [None]).logits)
    assert torch.equal(*answers)
    with pytest.raises(UsageError, match="leave out --model-arg like"):
        load_model(f"onnx:{onnx_folder}", arguments={"like": "mini-sam"})
    with pytest.raises(ModelError, match="another export"):
        load_model(f"onnx:{onnx_folder / 'encoder.onnx'},{tmp_path / 'decoder.onnx'}")


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("{0}/decoder.onnx,{0}/encoder.onnx", {}, "not a SAM encoder"),
        ("{0}/encoder.onnx", {}, "give onnx:ENCODER,DECODER"),
        ("{0}/encoder.onnx,{0}/gone.onnx", {}, "no such file"),
        ("{0}/encoder.onnx,{0}/model.json", {}, "runs .onnx files"),
        ("{0}/encoder.onnx,{1}/broken.onnx", {}, "cannot read it"),
        ("{0}", {"weights": "x.pth"}, "leave out --weights"),
        ("{0}", {"device": "cuda"}, "runs on the CPU only"),
        ("{0}", {"precision": "bf16"}, "no choice of precision"),
        ("{0}", {"arguments": {"width": 3}}, "one of: like, mode"),
        ("{0}", {"arguments": {"mode": "official"}}, "exported for mode iterative"),
    ],
)
def test_wrong_files_and_options_are_refused_in_words(
    onnx_folder: Path, tmp_path: Path, place: str, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    with pytest.raises((UsageError, ModelError), match=message):
        load_model("onnx:" + place.format(onnx_folder, tmp_path), **options)


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path: Path, onnx_folder: Path) -> None:
    with pytest.raises(UsageError, match="nothing to export"):
        export_model("watershed", "onnx", tmp_path / "out")
    with pytest.raises(UsageError, match="unknown format"):
        export_model("mini-sam", "tflite", tmp_path / "out")
    with pytest.raises(UsageError, match="not empty"):
        export_model("mini-sam", "onnx", onnx_folder)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_openvino_files_answer_as_the_network(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra [openvino]")
    pytest.importorskip("openvino", reason="needs the extra [openvino]")
    assert export_model("mini-sam", "openvino", tmp_path / "mini").difference < 1e-3
    model = load_model(f"openvino:{tmp_path / 'mini'}")
    assert set(model_facts(model)["files"]) == {"encoder", "decoder", "encoder_weights", "decoder_weights"}


@pytest.mark.slow
def test_a_network_that_uses_prompts_twice_is_exported_whole(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra [onnx]")
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    assert export_model("mini-pge-sam", "onnx", tmp_path / "pge").difference < 1e-3


def test_encoders_that_normalise_themselves_get_the_pixels_back() -> None:
    from dmseg.baselines.exported.running import ExportedNetwork, Graph

    class Recorder(Graph):
        def __init__(self, **inputs: tuple[int | None, ...]) -> None:
            self.inputs, self.given = inputs, np.zeros(0)

        def run(self, given: Any) -> Any:
            self.given = given["input_image"]
            return {"image_embeddings": np.zeros((1, 4, 2, 2), np.float32)}

    encoder = Recorder(input_image=(None, None, 3))  # as samexporter's --use-preprocess
    network = ExportedNetwork(encoder, Recorder(image_embeddings=(1, 4, 2, 2), mask_input=(1, 1, 8, 8)))
    network.side = 90
    image = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)
    pixels, _ = SamAdapter("sam", network).prepare(image)  # type: ignore[arg-type]
    network.encode(pixels[None])
    assert encoder.given.shape == (90, 90, 3)
    np.testing.assert_allclose(encoder.given[:60], image, atol=1e-3)


def test_a_run_without_a_name_is_named_by_the_folder_of_the_files() -> None:
    from dmseg.cli.evaluate import _name_run

    assert _name_run("onnx:models/lite/encoder.onnx,models/lite/decoder.onnx") == "lite-onnx"
    assert _name_run("openvino:models/lite") == "lite-openvino"
    assert _name_run("mine/model.py:Model") == "Model" and _name_run("watershed") == "watershed"
