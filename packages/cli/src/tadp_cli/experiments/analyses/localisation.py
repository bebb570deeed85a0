"""The maps of classes' words, and the masks of classes."""

# H W image pixels, T tokens, D width of the context

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.attention_maps import all_layers, layers_at
from tadp_backbone.text.word_attention import Word, find_word, heat_maps, words_of
from tadp_captioning.mentions.words import ClassMentions
from tadp_cli.pipelines.forward_pass import attention_pass
from tadp_heads.data import Sample, SampleDataset


@torch.no_grad()
def maps_of(
    backbone: DiffusionBackbone,
    sample: Sample,
    context: str | Tensor,
    words: Mapping[str, Word],
    image_range: str = "sd",
    scales: str = "head",
) -> dict[str, Tensor]:
    """{name: (H, W)} of the words of a text, or of the vectors of a context (1, T, D), from one pass; on the CPU.

    `image_range`: in which of RANGES the backbone takes its images. `scales`: "head" for the strides whose maps the
    head is given, "all" for every stride of the UNet's down and up levels.
    """
    if not words:
        return {}
    given = backbone.encode_text([context]) if isinstance(context, str) else context
    layers = all_layers(backbone) if scales == "all" else layers_at(backbone)
    attention = attention_pass(backbone, sample.image, given, layers, image_range)
    return dict(zip(words, heat_maps(attention.features(), list(words.values())).cpu(), strict=True))


def words_in(backbone: DiffusionBackbone, text: str, names: Sequence[str]) -> dict[str, Word]:
    """{class: its first word in the text, plurals and synonyms too}; classes that the text lacks are left out."""
    words = words_of(backbone.tokenizer, text)
    found = {}
    for name in names:
        named = ClassMentions([name])
        # Before its synonyms: "potted plant" is both words, not "plant" alone.
        word = _several_words(backbone, text, name) if " " in name else None
        word = word or next((word for word in words if named(word.text)), None)
        if word is not None:
            found[name] = word
    return found


def _several_words(backbone: DiffusionBackbone, text: str, name: str) -> Word | None:
    """A name of several words, as it stands, where the context is long enough for it."""
    kept = " ".join(word.text for word in words_of(backbone.tokenizer, text))
    return find_word(backbone.tokenizer, text, name) if f" {name} " in f" {kept} " else None


def mask_of(dataset: SampleDataset, sample: Sample, name: str) -> Tensor:
    """(H, W) bool: the pixels of a class."""
    return sample.target.as_subclass(Tensor) == dataset.prompt_names.index(name)
