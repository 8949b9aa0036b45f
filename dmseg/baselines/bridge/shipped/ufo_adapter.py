"""UFO over a bridge: a sentence in, one mask out, by the authors' own test pipeline and head.

Runs in an environment of its own (``ufo.txt``) inside the authors' repository, whose ``mmdet`` is theirs. Never run
with the real weights by those who wrote it: the tests put a stub of the same interface in the place of the network.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from integrity import check_weights, hash_code

CONFIG = "configs/UFO-InternVL2_5-8B/internvl2_5_8b_res_ft_2w_test.py"
BASE = "ckpt/InternVL2_5-8B"
HARMLESS = (
    *("numpy.core.multiarray _reconstruct", "numpy.core.multiarray scalar", "numpy ndarray", "numpy dtype"),
    "mmengine.logging.history_buffer HistoryBuffer",
)
"""What mmengine's checkpoints hold besides tensors."""


class Ufo:
    """UFO-InternVL2.5-8B for referring segmentation.

    The question ("What is ... in this image? Please output segmentation mask."), the Chinese system template, the
    stretch to 896 x 896 and the sixteen mask tokens are the head's and the pipeline's own; the pipeline lower-cases the
    sentence and takes its punctuation. No mask token gives an empty mask; a broken number of them is an error.

    Args:
        weights: ``ufo-internvl2_5-8b-res.pth`` (or ``-instruction-896.pth``) of kanashi6/UFO.
        device: ``cuda:N``; anything else means ``cuda``, which is all that the authors' code knows.
        code: the folder of the authors' repository (commit 6976de9), with ``ckpt/InternVL2_5-8B`` in it, whose
            modelling file is replaced by theirs (their issue 6).
        config: the test configuration, relative to that folder.
    """

    name = "ufo"
    version = "1"
    capabilities = ("text",)

    def __init__(self, weights: str | None = None, device: str = "cuda", code: str = "", config: str = CONFIG) -> None:
        if weights is None or not Path(weights).is_file():
            raise ValueError("give --weights FILE, ufo-internvl2_5-8b-res.pth of huggingface.co/kanashi6/UFO")
        if not (Path(code) / config).is_file():
            raise ValueError(
                f"give --model-arg code=FOLDER, a clone of https://github.com/nnnth/UFO; it has no {config}"
            )
        if not (Path(code) / BASE).is_dir():
            raise ValueError(f"{Path(code) / BASE} is missing: the base model, OpenGVLab/InternVL2_5-8B")
        if not torch.cuda.is_available():
            raise ValueError("the authors' code needs a CUDA device, and torch sees none here")
        weights = str(Path(weights).absolute())
        self.weights_sha256 = check_weights([Path(weights)], HARMLESS)
        self.version = f"{self.version}+{hash_code(Path(code))}"
        sys.path.insert(0, code)
        os.chdir(code)  # the configuration names its files from here
        from mmdet.apis import DetInferencer
        from mmengine.config import Config

        settings = Config.fromfile(config)
        settings.model.pretrain_path = weights
        where = device if device.startswith("cuda:") else "cuda"
        self._inferencer = DetInferencer(settings, weights=None, device=where, scope="mmdet")
        self.params = sum(one.numel() for one in self._inferencer.model.parameters())

    def encode(self, images: Sequence[Any]) -> list[Any]:
        """Return the images as the pipeline takes them: BGR. The network reads image and sentence together."""
        return [np.ascontiguousarray(image[..., ::-1]) for image in images]

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Any], state: Sequence[Any]
    ) -> Any:
        """Answer one sentence: +1 inside of the mask, -1 outside, (1, H, W)."""
        image = embeddings[image_index[0]]
        data = self._inferencer.pipeline({"img": image.copy(), "text": prompts[0].text})
        with torch.no_grad():
            (sample,) = self._inferencer.model.test_step(self._inferencer.collate_fn([data]))
        mask = np.asarray(sample.pred_sem_seg.data.cpu()).reshape(-1, *image.shape[:2])[0] > 0
        return np.where(mask, 1.0, -1.0).astype(np.float32)[None]
