"""Maps by class instead of by place in the prompt: which tokens name which class."""

# B prompts, T tokens, K classes, h w cells

import re
from collections.abc import Iterator, Sequence

import torch
from einops import einsum, repeat
from torch import Tensor
from transformers import CLIPTokenizer

from .text.word_attention import words_of


def class_tokens(
    tokenizer: CLIPTokenizer, texts: Sequence[str], class_words: Sequence[Sequence[str]], length: int
) -> Tensor:
    """Which of a context's `length` tokens name which class -> (B, length, K) of 0 and 1.

    `class_words`: the words or phrases of each class; case and hyphens don't count. Where phrases overlap, the one of
    more words is meant: in "dining table" nothing names the class "table".
    """
    named = torch.zeros(len(texts), length, len(class_words))
    for row, text in enumerate(texts):
        words = [word for word in words_of(tokenizer, text) if plain_words(word.text)]
        for found, labels in find_phrases([plain_words(word.text) for word in words], class_words):
            indices = [index for word in words[found] for index in word.indices]
            for label in labels:
                named[row, indices, label] = 1
    return named


def find_phrases(
    words: Sequence[tuple[str, ...]], class_words: Sequence[Sequence[str]]
) -> Iterator[tuple[slice, tuple[int, ...]]]:
    """(place of a phrase among `words`, classes that it names), from left to right, the longest phrase at a place.

    `words`: each as `plain_words` has it.
    """
    phrases: dict[tuple[str, ...], list[int]] = {}
    for label, names in enumerate(class_words):
        for name in names:
            phrases.setdefault(plain_words(name), []).append(label)
    longest = max((len(phrase) for phrase in phrases), default=0)
    plain = [" ".join(word) for word in words]
    start = 0
    while start < len(words):
        sizes = range(min(longest, len(words) - start), 0, -1)
        size = next((n for n in sizes if tuple(plain[start : start + n]) in phrases), 0)
        if size:
            yield slice(start, start + size), tuple(phrases[tuple(plain[start : start + size])])
        start += max(size, 1)


def class_channels(maps: Tensor, named: Tensor, kind: str) -> Tensor:
    """Maps by token (B, T, h, w) and `class_tokens` (B, T, K) -> what is appended to a level (B, K, h, w).

    `kind`: `BackboneConfig.class_input`.
    """
    named = named[:, : maps.shape[1]]  # a pooled row has no map
    if kind == "presence":
        return presence_maps(named, (maps.shape[-2], maps.shape[-1]))
    return class_maps(maps, named)


def class_maps(maps: Tensor, named: Tensor) -> Tensor:
    """Maps by token (B, T, h, w) and `class_tokens` (B, T, K) -> maps by class (B, K, h, w)."""
    return einsum(maps, named.to(maps), "b t h w, b t k -> b k h w")


def presence_maps(named: Tensor, size: tuple[int, int]) -> Tensor:
    """`class_tokens` (B, T, K) -> (B, K, h, w): a class's largest value over the tokens, in every cell of `size`."""
    return repeat(named.amax(1), "b k -> b k h w", h=size[0], w=size[1])


def plain_words(text: str) -> tuple[str, ...]:
    """A text's words in lower case, without punctuation."""
    return tuple(re.findall(r"\w+", text.lower().replace("_", " ")))
