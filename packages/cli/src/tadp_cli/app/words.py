"""Where each word of a prompt attends: the image is encoded once, a new prompt costs one pass of the UNet."""

# T tokens, D width of the context, H W image pixels, h w latent cells

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from tadp_backbone import DiffusionBackbone, record_cross_attention
from tadp_backbone.attention_maps import Attention, Recording, attention_of, layers_at
from tadp_backbone.inputs import pad_to_multiple, padded_size
from tadp_backbone.text.word_attention import Word, heat_maps, words_of
from tadp_heads.preprocessing import RANGES


class WordMaps(NamedTuple):
    """Of one prompt."""

    words: tuple[Word, ...]
    """Without punctuation, in the prompt's order."""
    maps: np.ndarray
    """(words, H, W), probabilities in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Latents:
    """An image, encoded."""

    values: Tensor
    """(1, 4, h, w), scaled."""
    image_size: tuple[int, int]
    """(H, W) in pixels."""


@torch.no_grad()
def encode(backbone: DiffusionBackbone, image: Image.Image, image_range: str = "sd") -> Latents:
    """An RGB image of any size."""
    pixels = RANGES[image_range](pil_to_tensor(image)[None]).to(backbone.device)
    padded, _ = pad_to_multiple(pixels, backbone.size_multiple)  # as a whole pass does: padded latents are others
    return Latents(backbone.encode_image(padded), (image.height, image.width))


def spoken_words(backbone: DiffusionBackbone, prompt: str) -> list[Word]:
    """The prompt's words without punctuation."""
    return [word for word in words_of(backbone.tokenizer, prompt) if is_spoken(word)]


def is_spoken(word: Word) -> bool:
    """Whether it is no punctuation."""
    return any(letter.isalnum() for letter in word.text)


@torch.no_grad()
def word_maps(
    backbone: DiffusionBackbone, latents: Latents, prompt: str, layers: dict[str, int] | None = None
) -> WordMaps:
    """Of the prompt's words; `layers` {path: stride in image pixels}, None: those whose maps a head is given."""
    words = spoken_words(backbone, prompt)
    if not words:
        return WordMaps((), np.zeros((0, *latents.image_size), dtype=np.float32))
    maps = heat_maps(attention(backbone, latents, prompt, layers or layers_at(backbone)).features(), words)
    return WordMaps(tuple(words), maps.float().cpu().numpy())


@torch.no_grad()
def attention(backbone: DiffusionBackbone, latents: Latents, prompt: str, layers: dict[str, int]) -> Attention:
    """Cross-attention of one UNet pass, of each of these layers."""
    with record_cross_attention(backbone.unet, layers=list(layers)) as maps:
        backbone.extract(latents.values, backbone.encode_text([prompt]), image_size=latents.image_size)
    size = padded_size(latents.image_size, backbone.size_multiple)
    return attention_of(Recording(passes=1, first=dict(maps), padded_size=size), layers, latents.image_size)
