"""nnInteractive over a bridge: a slice is a volume of one slice, and the session of the package itself is asked.

Runs in an environment of its own (``nninteractive.txt``), without dmseg. Every prompt is given as the package's
programs give it: one interaction, one prediction. Colour becomes grey (ITU-R 601). What the session remembers of an
object is its state: interactions, prediction, and their intensity, which decays from prompt to prompt.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

GREY = (0.299, 0.587, 0.114)
SMALL_PATCH = (64, 64, 64)
"""Of the network with random weights, which is for tests; the session's refinement needs more than 48 per axis."""


class NnInteractive:
    """nnInteractive.

    Args:
        weights: the folder of a trained model (``plans.json``, ``dataset.json``, ``fold_0/checkpoint_final.pth``, ...),
            as the authors publish it, or ``random``: a small network of the package's builder, seeded, for tests.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        autozoom: let the session look at a larger field where the object leaves its patch (the package's default).
    """

    name = "nninteractive"
    version = "1"
    capabilities = ("points", "negative_points", "box", "scribbles", "lassos", "mask_feedback")

    def __init__(self, weights: str | None = None, device: str = "cpu", autozoom: bool = True) -> None:
        if weights is None:
            raise ValueError("give --weights FOLDER, the folder of the authors' model, or --weights random")
        self.session = nnInteractiveInferenceSession(
            device=torch.device(device),
            torch_n_threads=torch.get_num_threads(),
            do_autozoom=bool(autozoom),
            interactions_storage="tensor",
            enable_undo=False,
        )
        self.weights_sha256 = None
        if weights == "random":
            self._use_random_network()
        else:
            self.weights_sha256 = check_folder(Path(weights))
            self.session.initialize_from_trained_model_folder(str(weights), 0)
        self._volume: Any = None

    def encode(self, images: Sequence[Any]) -> list[Any]:
        """Return one-slice volumes (1, 1, H, W) float32; the session has no work that it could do ahead."""
        return [(image @ np.array(GREY, np.float32)).astype(np.float32)[None, None] for image in images]

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Any], state: Sequence[Any]
    ) -> tuple[Any, list[Any]]:
        """Answer one mask: its new prompts are added one by one to what the session knew of it."""
        volume, given, before = embeddings[image_index[0]], prompts[0], state[0]
        np.random.seed(0)  # noqa: NPY002  # the session's refinement draws from numpy's global generator
        self._open(volume, before)
        known = before["given"] if before else {"points": 0, "strokes": 0, "box": False}
        if given.box is not None and not known["box"]:
            x0, y0, x1, y1 = (float(value) for value in given.box)
            self.session.add_bbox_interaction([[0, 1], [round(y0), round(y1) + 1], [round(x0), round(x1) + 1]], True)
        for stroke in given.strokes[known["strokes"] :]:
            self._draw(stroke, volume.shape[1:])
        for (x, y), label in list(zip(given.points, given.labels))[known["points"] :]:  # noqa: B905  # Python 3.8
            self.session.add_point_interaction((0, round(float(y)), round(float(x))), bool(label == 1))
        mask = np.asarray(self.session.target_buffer)[0] > 0
        found = {
            "given": {"points": len(given.points), "strokes": len(given.strokes), "box": given.box is not None},
            "interactions": self.session.interactions.clone(),
            "target": np.array(self.session.target_buffer),
            "intensity": self.session.current_interaction_intensity,
        }
        return np.where(mask, 1.0, -1.0).astype(np.float32)[None], [found]

    def _open(self, volume: Any, state: Any) -> None:
        """Give the session an image, and what it knew of the object."""
        session = self.session
        if self._volume is not volume:
            session.set_image(volume)
            session.set_target_buffer(np.zeros(volume.shape[1:], np.uint8))
            session._finish_preprocessing_and_initialize_interactions()
            self._volume = volume
        session.reset_interactions()
        if state is not None:
            session.interactions.copy_(state["interactions"])
            session.target_buffer[:] = state["target"]
            session.current_interaction_intensity = state["intensity"]

    def _draw(self, stroke: Any, shape: tuple[int, int, int]) -> None:
        from skimage.draw import line, polygon2mask

        drawn = np.zeros(shape, np.uint8)
        path = np.asarray(stroke.path, np.float64)
        if stroke.kind == "lasso":
            drawn[0] = polygon2mask(shape[1:], path[:, ::-1])  # type: ignore[no-untyped-call]
            self.session.add_lasso_interaction(drawn, bool(stroke.label == 1))
            return
        corners = np.rint(path).astype(int)
        for start, end in zip(corners, [*corners[1:], corners[-1]]):  # noqa: B905  # Python 3.8
            rows, columns = line(start[1], start[0], end[1], end[0])  # type: ignore[no-untyped-call]
            drawn[0, rows, columns] = 1
        self.session.add_scribble_interaction(drawn, bool(stroke.label == 1))

    def _use_random_network(self) -> None:
        plans, dataset = make_small_plans()
        manager = PlansManager(plans)
        configuration = manager.get_configuration("small")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "inference_session_class.json").write_text(json.dumps({"point_radius": 4}))
            content, radius, thickness, decay, pad = self.session._load_capability_and_runtime_defaults(folder)
        from nnInteractive.interaction.point import PointInteraction_stub

        session = self.session
        session._apply_capability(content)
        session.point_interaction = PointInteraction_stub(radius, True)
        session.preferred_scribble_thickness, session.interaction_decay, session.pad_mode_data = thickness, decay, pad
        torch.manual_seed(0)
        network = nnInteractiveTrainer_stub.build_network_architecture(
            manager, configuration, 1 + session.num_interaction_channels, 2, False
        )
        session.manual_initialization(network.eval(), manager, configuration, dataset, "nnInteractiveTrainer_stub")


def check_folder(folder: Path) -> str:
    """Return the sha256 of a model folder's checkpoint.

    Raises:
        ValueError: there is none, or reading it would run code: the package unpickles it as it is.
    """
    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    if not checkpoint.is_file():
        raise ValueError(f"{folder}: no fold_0/checkpoint_final.pth in it; give the folder of the authors' model")
    try:
        with torch.serialization.safe_globals([_find_scalar(), np.dtype, *_list_number_types()]):
            torch.load(checkpoint, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        line = str(error).strip().splitlines()[0]
        raise ValueError(f"{checkpoint}: refused, since reading it would execute code from the file: {line}") from None
    return hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def _find_scalar() -> Any:
    """Return numpy's maker of scalars, which has moved between versions, as pickles name it."""
    return np.float64(0).__reduce__()[0]


def _list_number_types() -> list[Any]:
    return [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int64, np.int32, np.bool_)]


def make_small_plans() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return nnU-Net plans of a small residual U-Net and their dataset file."""
    stages = 3
    network = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [4, 8, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "n_blocks_per_stage": [1, 1, 1],
            "n_conv_per_stage_decoder": [1] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    small = {
        "data_identifier": "small",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 1,
        "patch_size": list(SMALL_PATCH),
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": network,
    }
    plans = {
        "dataset_name": "Dataset001_random",
        "plans_name": "random",
        "label_manager": "LabelManager",
        "image_reader_writer": "SimpleITKIO",
        "configurations": {"small": small},
    }
    dataset = {"channel_names": {"0": "image"}, "labels": {"background": 0, "object": 1}, "file_ending": ".nii.gz"}
    return plans, dataset
