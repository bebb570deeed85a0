"""The deletion test: what a prediction loses with a word, and whether that is where the word attends."""

# K classes, H W image pixels

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tadp_backbone.text.word_attention import Word, words_of
from tadp_cli.app.words import Latents, WordMaps, is_spoken, word_maps
from tadp_heads.labelling.encoded_image import EncodedImage

TOP = 0.2
"""The share of the pixels with the highest attention in which the effect is counted."""


class Effect(NamedTuple):
    """Of one word on one prediction."""

    word: str
    attention: np.ndarray
    """(H, W), where the word attends, probabilities in [0, 1]."""
    change: np.ndarray
    """(H, W) in [0, 1]: total variation between the class probabilities with and without the word."""
    changed: float
    """Share of the pixels in [0, 1] whose class changes."""
    areas: dict[str, float]
    """{class: change of its share of the image when the word is taken out, in [-1, 1]}, of classes that change."""

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of attention and change over the pixels; NaN where one of them is constant."""
        return rank_correlation(self.attention, self.change)

    @property
    def top_share(self) -> float:
        """Share of the change in the pixels with the highest attention; chance is TOP."""
        return share_in_top(self.attention, self.change)


def without(words: Sequence[Word], word: Word) -> str:
    """A prompt of these words without one of them; its punctuation stays, so that nothing else changes."""
    return _joined(other.text for other in words if other != word)


def replaced(words: Sequence[Word], old: str, new: str) -> str:
    """A prompt of these words with each `old` as `new`; "" removes it. ValueError where `old` is none of them."""
    if old not in [word.text for word in words]:
        there = ", ".join(word.text for word in words if is_spoken(word))
        raise ValueError(f"{old!r} is not in the prompt; its words are {there}")
    return _joined(text for word in words if (text := new if word.text == old else word.text))


def _joined(texts: Iterable[str]) -> str:
    """Of the same tokens: punctuation follows a word without a space, but other punctuation with one."""
    return re.sub(r"(?<=\w) (?=[,.;:!?])", "", " ".join(texts))


@torch.no_grad()
def effects(encoded: EncodedImage, prompt: str) -> list[Effect]:
    """Of each word of a prompt, taken verbatim; one UNet pass per word and two for the whole prompt."""
    model, size = encoded.model, (encoded.image.height, encoded.image.width)
    found = word_maps(model.backbone, Latents(encoded.latents, size), prompt)
    words = words_of(model.backbone.tokenizer, prompt)
    texts = [prompt, *(without(words, word) for word in found.words)]
    probabilities = encoded.probabilities(model.backbone.encode_text(texts)).float().cpu()  # (1 + words, K, H, W)
    return [
        _effect(found, index, probabilities[0], probabilities[1 + index], model.config.classes)
        for index in range(len(found.words))
    ]


def _effect(found: WordMaps, index: int, whole: Tensor, less: Tensor, classes: Sequence[str]) -> Effect:
    """`whole`, `less` (K, H, W): class probabilities with the word and without it."""
    change, changed, areas = difference(whole, less, classes)
    return Effect(found.words[index].text, found.maps[index], change, changed, areas)


def difference(first: Tensor, second: Tensor, classes: Sequence[str]) -> tuple[np.ndarray, float, dict[str, float]]:
    """Probabilities (K, H, W) twice -> total variation (H, W), share of pixels of another class, changes of areas."""
    before, after = first.argmax(0), second.argmax(0)
    counts = [ids.flatten().bincount(minlength=len(classes)).double() / ids.numel() for ids in (before, after)]
    areas = {name: float(b - a) for name, a, b in zip(classes, *counts, strict=True) if a != b}
    return (first - second).abs().sum(0).div(2).numpy(), float((before != after).double().mean()), areas


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, ties with their mean rank, over arrays of one shape."""
    ranks = [_ranks(values.ravel()) for values in (first, second)]
    if min(values.std() for values in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def share_in_top(attention: np.ndarray, change: np.ndarray) -> float:
    """Share of `change` in the TOP share of the pixels with the highest attention; NaN where nothing changes."""
    count = max(1, round(TOP * attention.size))
    places = np.argpartition(-attention.ravel(), count - 1)[:count]
    total = float(change.sum())
    return float(change.ravel()[places].sum()) / total if total > 0 else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - (counts - 1) / 2)[inverse]).astype(np.float64)
