"""The captions on which the tiny UNet learns, mixed as captions on the web are: most name the medium of a painting."""

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTokenizer

from tadp_heads.data.scenes.scene import Scene, caption, class_names, in_domain
from tadp_heads.data.scenes.shapes import CLASSES

WRONG = 1 / 7
"""Share of the lists and sentences in which a class is missing or replaced, as in the captions of a captioner."""


def training_prompt(scene: Scene, domain: str, rng: np.random.Generator, any_order: bool = False) -> str:
    """60 % sentences, 25 % lists of class names, 10 % empty, 5 % one class name.

    Images of a domain name it in 85 % of those captions, photos in 10 %. Lists are in any order, sentences go from left
    to right unless `any_order`.
    """
    kind = rng.random()
    if kind < 0.10:
        return ""
    names = [str(name) for name in rng.permutation(class_names(scene))]
    if kind < 0.15:
        return in_domain(names[0], domain, rng)
    if kind < 0.40:
        return in_domain(" ".join(_with_error(names, rng)), domain, rng)
    return caption(scene, domain, rng, any_order)


def _with_error(names: list[str], rng: np.random.Generator) -> list[str]:
    """Now and then without one of several names, or with a wrong one in its place."""
    if rng.random() >= WRONG:
        return names
    place = int(rng.integers(len(names)))
    wrong = [CLASSES[int(rng.integers(len(CLASSES)))]] if len(names) == 1 or rng.random() < 0.5 else []
    return [*names[:place], *wrong, *names[place + 1 :]]


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
