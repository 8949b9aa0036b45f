"""A stub with the interface of UFO's ``DetInferencer``: pipeline, collate function and network, without weights."""

import string
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn


class Network(nn.Module):
    """Answers with one mask: the left half for a question about the left; [0] where it names no mask."""

    def test_step(self, batch):
        (image,), (text,) = batch["inputs"], batch["texts"]
        assert "," not in text and text == text.lower()
        mask = torch.zeros(1, *image.shape[:2], dtype=torch.long)
        if "broken" in text:
            raise AssertionError("15 tokens")
        if "nothing" not in text:
            half = image.shape[1] // 2
            mask[:, :, slice(0, half) if "left" in text else slice(half, None)] = 1
        return [SimpleNamespace(pred_sem_seg=SimpleNamespace(data=mask), seen=image)]


class DetInferencer:
    def __init__(self, model, weights, device, scope):
        assert weights is None and scope == "mmdet" and device == "cuda"
        assert Path(model.model.pretrain_path).is_file()
        self.model = Network()

    def pipeline(self, given):
        text = given["text"].translate({ord(sign): None for sign in string.punctuation}).lower().strip()
        return {"inputs": given["img"], "texts": text}

    def collate_fn(self, items):
        return {key: [item[key] for item in items] for key in items[0]}
