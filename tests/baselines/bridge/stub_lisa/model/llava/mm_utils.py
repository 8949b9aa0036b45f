"""A stub of LLaVA's tokenizing around the image."""

import torch


def tokenizer_image_token(prompt, tokenizer, return_tensors=None):
    assert return_tensors == "pt"
    before, after = prompt.split("<image>")
    return torch.tensor([*tokenizer(before).input_ids, -200, *tokenizer(after).input_ids])
