"""Texts in the space that a vision transformer shares with its text tower, and cosine maps of them."""

# B images, T texts or classes of an image, D width of the joint space, g cells of the patch grid, K classes

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ..class_maps import find_phrases, plain_words
from .families import Family

CLASS_TEXT = "a photo of a {}"


@torch.no_grad()
def embed_texts(model: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Texts -> unit vectors (B, D). Longer texts than the text tower takes lose their end."""
    longest = model.config.text_config.max_position_embeddings
    # Padded to full length: SigLIP reads the last token, padding included, as it was trained.
    ids = tokenizer(list(texts), padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
    found = model.get_text_features(input_ids=ids.input_ids.to(model.device)).pooler_output
    return F.normalize(found, dim=-1)


def embed_classes(model: Any, tokenizer: Any, class_words: Sequence[Sequence[str]]) -> Tensor:
    """Each class's words in `CLASS_TEXT`, averaged -> unit vectors (K, D)."""
    owners = [label for label, names in enumerate(class_words) for _ in names]
    texts = [CLASS_TEXT.format(name) for names in class_words for name in names]
    found = embed_texts(model, tokenizer, texts)
    summed = found.new_zeros(len(class_words), found.shape[1]).index_add(
        0, torch.tensor(owners).to(found.device), found
    )
    return F.normalize(summed, dim=-1)


def named_classes(texts: Sequence[str], class_words: Sequence[Sequence[str]]) -> Tensor:
    """Which classes a text names -> (B, K) of 0 and 1; longer phrases first, as for attention maps by class."""
    named = torch.zeros(len(texts), len(class_words))
    for row, text in enumerate(texts):
        for _, labels in find_phrases([(word,) for word in plain_words(text)], class_words):
            named[row, list(labels)] = 1
    return named


def text_aligned(model: Any, family: Family, tower: Any, before_last: Tensor) -> Tensor:
    """Tokens that the last block gets (B, N, C) -> unit vectors of the patches in the joint space (B, N, D).

    In the last block and the pooling head each patch attends to itself alone, which keeps it at its place (MaskCLIP,
    Zhou et al. 2022): both run over single patches.
    """
    batch = len(before_last)
    single = rearrange(before_last, "b n c -> (b n) 1 c")
    hidden = tower.get_submodule(family.norm)(tower.get_submodule(family.blocks)[-1](single, None))
    found = model.visual_projection(hidden[:, 0]) if hasattr(model, "visual_projection") else tower.head(hidden)
    return rearrange(F.normalize(found, dim=-1), "(b n) d -> b n d", b=batch)


def cosine_maps(patches: Tensor, context: Tensor) -> Tensor:
    """Unit vectors of patches (B, D, g, g) and of texts (B, T, D), or zeros -> cosines (B, T, g, g) in [-1, 1]."""
    return torch.einsum("bdhw,btd->bthw", patches, context.to(patches))
