"""Segmentation without training: where the names of classes attend in a frozen UNet.

Cross-attention maps of the names are shares of what the words get (start-token rescaling), carried to cells that look
alike by the self-attention of the same pass, and compared (after DiffSegmenter, Wang et al. 2023, and DAAM, Tang et al.
2023). No label and no head is used.
"""

# B batch, K classes, T tokens, N cells, h w cells along the sides, H W image pixels

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, reduce
from torch import Tensor
from torch.nn import functional as F

from ..backbone import DiffusionBackbone
from ..features import Features
from ..inputs import pad_to_multiple
from ..recording import record_self_attention
from ..vae import Generators
from .encoder import max_tokens, text_parts, word_ids
from .word_attention import find_word

BACKGROUND = "background"
_LEAST = 1e-6
_CROSS, _SELF = "attn2", "attn1"
"""Names of the attention layers of a transformer block in diffusers."""


@dataclass(frozen=True, kw_only=True)
class TrainingFreeConfig:
    """How class maps become a segmentation."""

    threshold: float = 0.5
    """A pixel is background where no class reaches this share of the image's highest score; 0: nowhere."""
    refinements: int = 2
    """How often scores are averaged over cells, weighted by self-attention; 0: not refined."""
    rescale: bool = True
    """Whether a word's map is its share of the attention that the start token leaves to the others."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}, expected at least 0 and below 1, e.g. 0.5")
        if not 0 <= self.refinements <= 100:
            raise ValueError(f"refinements is {self.refinements}, expected 0 to 100")


@torch.no_grad()
def class_scores(
    backbone: DiffusionBackbone,
    image: Tensor,
    names: Sequence[str],
    config: TrainingFreeConfig | None = None,
    generator: Generators = None,
) -> Tensor:
    """image (1, 3, H, W) in [-1, 1], any size, names of K classes -> scores (K, H, W) of at least 0.

    Names that do not fit into one prompt take several passes. `generator`: see `DiffusionBackbone.forward`.
    """
    config = config or TrainingFreeConfig()
    if not backbone.map_layers or backbone.config.class_words:
        raise ValueError("training-free segmentation needs a backbone with map_strides and without class_words")
    padded, _ = pad_to_multiple(image, backbone.size_multiple)
    stride = min(backbone.map_layers)
    layers = [path.replace(_CROSS, _SELF) for path in backbone.map_layers[stride]]
    scores = []
    for part in prompt_groups(backbone, names):
        context = backbone.encode_text([" ".join(part)])
        with record_self_attention(backbone.unet, layers=layers if config.refinements else ()) as alike:
            features = backbone(padded, context, generator=generator)
        cells = _class_cells(backbone, features, part, stride, config)
        if config.refinements:
            cells = refined(cells, torch.stack(list(alike.values())).mean(0)[0], config.refinements)
        scores.append(cells)
    size = (padded.shape[-2], padded.shape[-1])
    grown = F.interpolate(torch.cat(scores)[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    return grown[:, : image.shape[-2], : image.shape[-1]]


def segment(scores: Tensor, threshold: float) -> Tensor:
    """Scores (K, H, W) -> ids (H, W): 0 for background, the class with the highest score counted from 1."""
    highest, ids = scores.max(0)
    return torch.where(highest >= threshold * highest.max(), ids + 1, 0)


def refined(scores: Tensor, alike: Tensor, times: int) -> Tensor:
    """Scores (K, h, w), each cell's the mean over those that it attends to; `alike` (N, N): self-attention by rows."""
    flat = rearrange(scores, "k h w -> k (h w)")
    for _ in range(times):
        flat = flat @ alike.to(flat).T
    return rearrange(flat, "k (h w) -> k h w", h=scores.shape[1])


def prompt_groups(backbone: DiffusionBackbone, names: Sequence[str]) -> Iterator[list[str]]:
    """The names in as few prompts as fit into the text encoder's length, in order."""
    tokenizer, _ = text_parts(backbone)
    room = max_tokens(tokenizer) - 2
    group: list[str] = []
    for name in names:
        if not word_ids(tokenizer, name):
            raise ValueError(f"the class {name!r} has no words")
        if group and len(word_ids(tokenizer, " ".join((*group, name)))) > room:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def _class_cells(
    backbone: DiffusionBackbone, features: Features, names: Sequence[str], stride: int, config: TrainingFreeConfig
) -> Tensor:
    """Of names in one prompt, the mean over strides -> (K, h, w) at `stride`."""
    tokenizer, _ = text_parts(backbone)
    words = _words_in_order(tokenizer, names)
    size = features.attention[stride].shape[-2:]
    strides = []
    for maps in features.attention.values():
        cells = torch.stack([maps[0, indices].sum(0) for indices in words])
        if config.rescale:
            cells = cells / (1 - maps[0, 0]).clamp_min(_LEAST)
        strides.append(F.interpolate(cells[None].float(), size=size, mode="bilinear", align_corners=False)[0])
    return reduce(torch.stack(strides), "s k h w -> k h w", "mean")


def _words_in_order(tokenizer: object, names: Sequence[str]) -> list[list[int]]:
    """Of each name in the prompt of all names, the places of its tokens."""
    found = []
    for index, name in enumerate(names):
        before = len(word_ids(tokenizer, " ".join(names[:index]))) if index else 0
        alone = find_word(tokenizer, name, name)
        found.append([before + place for place in alone.indices])
    return found
