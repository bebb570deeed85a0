"""Which classes a caption speaks of, by the distance between words in a text encoder (paper Fig. S5).

C classes, W words, D width of the encoder.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Encode = Callable[[list[str]], "Tensor"]
"""Texts -> (texts, D), one vector each: for CLIP its pooled output, the embedding of the end token."""

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


class CosineMentions:
    """Finds classes in captions: some word has a cosine of at least `threshold` with the class's name."""

    def __init__(self, classes: Sequence[str], encode: Encode, *, threshold: float = 0.9):
        self.classes = tuple(classes)
        self.threshold = threshold
        self._encode = encode
        self._class_vectors = self._unit(list(classes))  # (C, D)
        self._classes_of: dict[str, set[str]] = {}

    def __call__(self, caption: str) -> list[str]:
        """Classes that the caption names, in label order."""
        self.learn([caption])
        found = set().union(*(self._classes_of[word] for word in words_of(caption)))
        return [name for name in self.classes if name in found]

    def learn(self, captions: Iterable[str], *, batch_size: int = 256) -> None:
        """Encode the words of captions ahead, each once, in batches."""
        words = dict.fromkeys(word for caption in captions for word in words_of(caption))
        new = [word for word in words if word not in self._classes_of]
        for start in range(0, len(new), batch_size):
            batch = new[start : start + batch_size]
            near = self._unit(batch) @ self._class_vectors.T >= self.threshold  # (W, C)
            for word, row in zip(batch, near.tolist(), strict=True):
                self._classes_of[word] = {name for name, hit in zip(self.classes, row, strict=True) if hit}

    def _unit(self, texts: list[str]) -> "Tensor":
        import torch

        with torch.inference_mode():
            return torch.nn.functional.normalize(self._encode(texts).float().cpu(), dim=-1)


def words_of(caption: str) -> list[str]:
    """Words of a caption in lower case, each once."""
    return list(dict.fromkeys(_WORD.findall(caption.lower())))
