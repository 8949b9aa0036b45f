"""LISA over a bridge: a sentence in, one mask out; prompts and answer rules are those of the authors' evaluation.

Runs in an environment of its own (``lisa.txt``) beside the authors' repository, which is no package. Never run with the
real weights by those who wrote it: the tests put a stub of the same interface in the place of the network.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from integrity import check_weights, hash_code
from torch.nn import functional

QUESTION = "{image}\n What is {text} in this image? Please output segmentation mask."
"""The question of the authors' ``ValDataset`` for an expression, the blank after the line's end included."""
FORCED_ANSWER = "[SEG]."
"""What that evaluation writes into the model's mouth; the mask is read at its token."""
SIDE = 1024
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
LONGEST_ANSWER = 512
ANSWERS = ("forced", "generated")
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Lisa:
    """LISA.

    Args:
        weights: the folder of a published model (``xinlai/LISA-7B-v1`` and the like), with its tokenizer.
        device: ``cuda:N``; anything else means ``cuda``, which is all that the authors' code knows.
        precision: ``bf16``, as the authors' default, or ``fp32``. Their fp16 needs deepspeed and is not offered.
        code: the folder of the authors' repository (commit 3cb2d43).
        vision_tower: the folder or name of CLIP ViT-L/14.
        answer: ``forced``: the authors' evaluation on RefCOCO; one pass of the network answers all sentences of an
            image. ``generated``: the model writes its answer; where it writes no ``[SEG]``, the mask is empty.
    """

    name = "lisa"
    version = "1"
    capabilities = ("text", "batched_prompts")

    def __init__(
        self,
        weights: str | None = None,
        device: str = "cuda",
        precision: str = "bf16",
        code: str = "",
        vision_tower: str = "openai/clip-vit-large-patch14",
        answer: str = "forced",
    ) -> None:
        if weights is None or not Path(weights).is_dir():
            raise ValueError("give --weights FOLDER, a downloaded model of the authors (xinlai/LISA-7B-v1)")
        if not (Path(code) / "model" / "LISA.py").is_file():
            raise ValueError("give --model-arg code=FOLDER, a clone of https://github.com/dvlab-research/LISA")
        if precision not in TYPES:
            raise ValueError(f"precision {precision}; one of {', '.join(TYPES)}: the authors' fp16 needs deepspeed")
        if answer not in ANSWERS:
            raise ValueError(f"answer {answer}; one of {', '.join(ANSWERS)}")
        if not torch.cuda.is_available():
            raise ValueError("the authors' code needs a CUDA device, and torch sees none here")
        torch.cuda.set_device(torch.device(device if device.startswith("cuda:") else "cuda:0"))
        self.answer, self.dtype = answer, TYPES[precision]
        files = [file for kind in ("*.bin", "*.safetensors") for file in Path(weights).glob(kind)]
        self.weights_sha256 = check_weights(files)
        self.version = f"{self.version}+{hash_code(Path(code))}"
        self._load(weights, Path(code), vision_tower)
        self.params = sum(one.numel() for one in self.network.parameters())

    def _load(self, weights: str, code: Path, vision_tower: str) -> None:
        """Build tokenizer and network as the authors' ``chat.py`` does."""
        sys.path.insert(0, str(code))
        from model.LISA import LISAForCausalLM
        from model.llava import conversation
        from model.llava.mm_utils import tokenizer_image_token
        from model.segment_anything.utils.transforms import ResizeLongestSide
        from transformers import AutoTokenizer, CLIPImageProcessor
        from utils import utils

        self._templates, self._split, self._words = conversation.conv_templates, tokenizer_image_token, utils
        self.tokenizer = AutoTokenizer.from_pretrained(
            weights, cache_dir=None, model_max_length=LONGEST_ANSWER, padding_side="right", use_fast=False
        )
        self.tokenizer.pad_token = self.tokenizer.unk_token
        mark = self.tokenizer("[SEG]", add_special_tokens=False).input_ids[0]
        network = LISAForCausalLM.from_pretrained(
            weights, low_cpu_mem_usage=True, vision_tower=vision_tower, seg_token_idx=mark, torch_dtype=self.dtype
        )
        for kind in ("eos", "bos", "pad"):
            setattr(network.config, f"{kind}_token_id", getattr(self.tokenizer, f"{kind}_token_id"))
        network.get_model().initialize_vision_modules(network.get_model().config)
        network.get_model().get_vision_tower().to(dtype=self.dtype)
        self.network = network.to(self.dtype).cuda().eval()
        self.network.get_model().get_vision_tower().to(device="cuda")
        self._look = CLIPImageProcessor.from_pretrained(network.config.vision_tower)
        self._resize = ResizeLongestSide(SIDE)

    def encode(self, images: Sequence[Any]) -> list[dict[str, Any]]:
        """Return, per image, what CLIP sees, SAM's embedding of it, and its sizes."""
        found = []
        for image in images:
            resized = self._resize.apply_image(image)
            pixels = torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1).float()
            mean, deviation = (torch.tensor(values).view(-1, 1, 1) for values in (MEAN, DEVIATION))
            pixels = functional.pad((pixels - mean) / deviation, (0, SIDE - pixels.shape[2], 0, SIDE - pixels.shape[1]))
            look = self._look.preprocess(image, return_tensors="pt")["pixel_values"][0]
            with torch.no_grad():
                embedding = self.network.get_visual_embs(pixels[None].cuda().to(self.dtype))
            found.append(
                {
                    "look": look[None].cuda().to(self.dtype),
                    "embedding": embedding,
                    "pixels": pixels[None].cuda().to(self.dtype),
                    "resized": resized.shape[:2],
                    "size": image.shape[:2],
                }
            )
        return found

    def predict(
        self, embeddings: Sequence[Any], image_index: Sequence[int], prompts: Sequence[Any], state: Sequence[Any]
    ) -> Any:
        """Answer N sentences about one image: logits (N, H, W)."""
        image, texts = embeddings[image_index[0]], [given.text for given in prompts]
        # Its forward pass embeds the image anew for every call; this is the embedding that it would make.
        self.network.get_visual_embs = lambda pixels: image["embedding"]
        try:
            with torch.no_grad():
                if self.answer == "forced":
                    return self._answer_all(image, texts)
                return torch.stack([self._generate(image, text) for text in texts])
        finally:
            del self.network.get_visual_embs

    def _ask(self, text: str, answer: str) -> Any:
        """Return the tokens of a conversation: the question about a sentence, and the answer so far."""
        words = self._words
        talk = self._templates["llava_v1"].copy()
        talk.messages = []
        question = QUESTION.format(image=words.DEFAULT_IMAGE_TOKEN, text=text.strip().lower())
        talk.append_message(talk.roles[0], question)
        talk.append_message(talk.roles[1], answer)
        wrapped = words.DEFAULT_IM_START_TOKEN + words.DEFAULT_IMAGE_TOKEN + words.DEFAULT_IM_END_TOKEN
        prompt = talk.get_prompt().replace(words.DEFAULT_IMAGE_TOKEN, wrapped)
        return self._split(prompt, self.tokenizer, return_tensors="pt")

    def _answer_all(self, image: dict[str, Any], texts: Sequence[str]) -> Any:
        """Return logits of all sentences from one pass, as the authors' evaluation makes them."""
        asked = [self._ask(text, FORCED_ANSWER) for text in texts]
        padding = self.tokenizer.pad_token_id
        tokens = torch.nn.utils.rnn.pad_sequence(asked, batch_first=True, padding_value=padding).cuda()
        found = self.network(
            images=image["pixels"],
            images_clip=image["look"],
            input_ids=tokens,
            labels=tokens,
            attention_masks=tokens.ne(padding),
            offset=torch.tensor([0, len(texts)]).cuda(),
            masks_list=[torch.zeros(len(texts), *image["size"])],
            label_list=[torch.zeros(image["size"])],
            resize_list=[image["resized"]],
            inference=True,
        )
        logits = found["pred_masks"][0]
        if len(logits) != len(texts):
            raise RuntimeError(
                f"{len(logits)} masks for {len(texts)} sentences: a sentence holds the word [SEG] itself"
            )
        return logits.float()

    def _generate(self, image: dict[str, Any], text: str) -> Any:
        """Return the logits of the first mask that the model's own answer names, or of an empty one."""
        _, masks = self.network.evaluate(
            image["look"],
            image["pixels"],
            self._ask(text, "")[None].cuda(),
            [image["resized"]],
            [image["size"]],
            max_new_tokens=LONGEST_ANSWER,
            tokenizer=self.tokenizer,
        )
        return masks[0][0].float() if len(masks) and len(masks[0]) else torch.full(image["size"], -1.0, device="cuda")
