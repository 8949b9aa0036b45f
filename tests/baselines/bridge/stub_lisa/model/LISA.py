"""A stub with the interface of LISA's network: it reads the question and answers with a rectangle. No weights."""

import torch
from torch import nn

IMAGE_TOKEN = -200


class LISAForCausalLM(nn.Module):
    """Takes what the authors' ``model_forward`` and ``evaluate`` take, and checks it."""

    @classmethod
    def from_pretrained(cls, place, *, low_cpu_mem_usage, vision_tower, seg_token_idx, torch_dtype):
        made = cls()
        made.seg_token_idx, made.config = seg_token_idx, type("Config", (), {"vision_tower": vision_tower})()
        made.embedded, made.passes = 0, 0
        made.tower = nn.Linear(2, 2).to(torch_dtype)
        return made

    def get_model(self):
        return self

    def initialize_vision_modules(self, config):
        assert config is self.config

    def get_vision_tower(self):
        return self.tower

    def get_visual_embs(self, pixels):
        assert pixels.shape[1:] == (3, 1024, 1024)
        self.embedded += 1
        return pixels.mean(dim=(2, 3))[:, :, None, None].expand(-1, 3, 64, 64)

    def forward(self, *, images, images_clip, input_ids, labels, attention_masks, offset, masks_list, label_list,
                resize_list, inference):  # fmt: skip
        assert inference and images_clip.shape == (1, 3, 224, 224) and offset.tolist() == [0, len(input_ids)]
        assert attention_masks.shape == input_ids.shape
        self.get_visual_embs(images)
        self.passes += 1
        rows = [
            row
            for row, mask in zip(input_ids, attention_masks, strict=True)
            for _ in range(int((row[mask] == self.seg_token_idx).sum()))
        ]
        size = tuple(label_list[0].shape)
        return {"pred_masks": [torch.stack([draw(read(row), size) for row in rows])], "gt_masks": masks_list}

    def evaluate(self, look, pixels, input_ids, resize_list, original_size_list, max_new_tokens, tokenizer):
        assert max_new_tokens == 512 and look.shape == (1, 3, 224, 224)
        self.get_visual_embs(pixels)
        text = read(input_ids[0])
        if "nothing" in text:
            return input_ids, [torch.zeros(0, *original_size_list[0])]
        return input_ids, [draw(text, original_size_list[0])[None]]


def read(tokens):
    """Return the text that tokens stand for."""
    return "".join("<image>" if token == IMAGE_TOKEN else chr(token) for token in tokens.tolist() if token != 0)


def draw(text, size):
    """Return logits: the left half for a question about the left, else the right half."""
    if "What is" not in text:
        raise AssertionError(text)
    logits = torch.full(size, -3.0)
    half = size[1] // 2
    logits[:, slice(0, half) if "left" in text else slice(half, None)] = 3.0
    return logits
