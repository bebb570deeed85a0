"""The captions on which the tiny UNet learns: some empty, some bare names, some sentences, some with the look."""

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from tadp_heads.data.scenes import STYLE_TEMPLATES, Scene, caption, class_names
from tadp_heads.data.scenes_shapes import CLASSES

MOST_CLASSES = 4


def training_prompt(scene: Scene, look: str, rng: np.random.Generator) -> str:
    """10 % empty, 15 % names in label order, 30 % names in any order, 10 % look + names, 35 % a sentence.

    One name in seven lists is left out, since the captions of a captioner miss objects too.
    """
    kind = rng.random()
    if kind < 0.10:
        return ""
    if kind >= 0.65:
        return caption(scene, look, rng)
    names = class_names(scene)
    if len(names) > 1 and rng.random() < 1 / 7:
        names.pop(int(rng.integers(len(names))))
    if kind < 0.25:
        return " ".join(names)
    names = [str(name) for name in rng.permutation(names)]
    if kind < 0.55:
        return " ".join(names)
    templates = STYLE_TEMPLATES[look]
    return templates[int(rng.integers(len(templates)))].format(caption=" ".join(names))


class ClassTokens:
    """Finds the tokens of class words, singular or plural, in tokenized prompts."""

    def __init__(self, tokenizer: CLIPTokenizer):
        words = [*CLASSES, *(f"{name}s" for name in CLASSES)]
        self.ids = torch.tensor([tokenizer(word).input_ids[1] for word in words])
        self.labels = torch.arange(len(words)) % len(CLASSES)

    def find(self, input_ids: Tensor) -> Tensor:
        """(B, T) token ids -> (B, classes, T) float: 1 where token t is a word of the class."""
        hits = input_ids[:, None, :] == self.ids[None, :, None]  # (B, words, T)
        singular, plural = hits.split(len(CLASSES), dim=1)
        return (singular | plural).float()
