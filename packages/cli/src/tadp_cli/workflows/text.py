"""From a recipe's prompt settings to the text of each image (paper 4.1-4.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.cache import TextCache
from tadp_backbone.conditioning import averaged_eos_context, class_embs_context
from tadp_captioning import class_names_prompt, get_domain, modify, oracle_prompt
from tadp_captioning.domains import content_of
from tadp_captioning.nouns import load_tagger, nouns_prompt
from tadp_captioning.oracle import sample_oracle
from tadp_cli.recipes.recipe import PromptConfig
from tadp_heads.data import IGNORE_INDEX, SampleDataset

BACKGROUND = "background"
_SHARED = {"class-embs": class_embs_context, "averaged-eos": averaged_eos_context}


@dataclass(frozen=True)
class Prompts:
    """The text of each image of a data set, or one embedding for them all."""

    texts: Mapping[str, str]
    """{image id: prompt}, modifier applied."""
    shared: Tensor | None = None
    """(1, T, D), in place of texts, for embeddings that no string gives."""
    styled: tuple[Mapping[str, str], ...] = ()
    """Further versions of the texts, in each of which another look is named."""

    @property
    def versions(self) -> int:
        """How many texts there are for an image."""
        return 1 + len(self.styled)

    def context(
        self,
        backbone: DiffusionBackbone,
        ids: Sequence[str],
        cache: TextCache | None = None,
        versions: Sequence[int] | None = None,
    ) -> Tensor:
        """(B, T, D) for these images; what is in the cache isn't encoded again.

        `versions`: of each image's text, 0 for `texts` and from 1 on for `styled`; None: 0 for all.
        """
        if self.shared is not None:
            return self.shared.expand(len(ids), -1, -1)
        there = (self.texts, *self.styled)
        texts = [there[v][image_id] for image_id, v in zip(ids, versions or [0] * len(ids), strict=True)]
        if cache is not None:
            return cache.build("caption", captions=texts)
        with torch.no_grad():
            return backbone.encode_text(texts)


def build_prompts(
    config: PromptConfig,
    dataset: SampleDataset,
    backbone: DiffusionBackbone,
    captions: Mapping[str, str] | None,
    classes: Sequence[str] | None = None,
) -> Prompts:
    """`captions` {id: caption} for the kinds "caption" and "nouns"; an image without one is an error that names it.

    `classes`: the model's, where all classes are named and the data set may have fewer; None: the data set's.
    """
    names = object_names(dataset.classes if classes is None else classes)
    if config.kind in ("class-names", "oracle", *_SHARED) and not names:
        raise ValueError(f"prompt {config.kind!r} needs class names, and {dataset.task} data has none: use caption")
    if config.kind in _SHARED:
        if config.modifier != "null":
            raise ValueError(f"prompt {config.kind!r} is an embedding: a modifier cannot be put into it")
        with torch.no_grad():
            return Prompts({}, _SHARED[config.kind](backbone, names))
    if config.kind == "caption":
        plain = {image_id: captions[image_id] for image_id in dataset.ids}
    elif config.kind == "nouns":
        tagger = load_tagger()
        plain = {image_id: nouns_prompt(captions[image_id], tagger) for image_id in dataset.ids}
    elif config.kind == "oracle":
        known, present = object_names(dataset.classes), present_classes(dataset)
        named = sample_oracle(present, known, precision=config.precision, recall=config.recall)
        plain = {image_id: oracle_prompt(found, known) for image_id, found in named.items()}
    else:
        text = class_names_prompt(names) if config.kind == "class-names" else ""
        plain = dict.fromkeys(dataset.ids, text)
    if config.modifier == "null":
        return Prompts(plain)
    token = config.token or None
    return Prompts({key: modify(text, config.domain, config.modifier, token=token) for key, text in plain.items()})


def with_styles(prompts: Prompts, styles: Sequence[str]) -> Prompts:
    """The prompts, and beside them a version for each of the domains `styles`, under its hand-written modifier."""
    texts = prompts.texts.items()
    return replace(prompts, styled=tuple({key: modify(text, name, "simple") for key, text in texts} for name in styles))


def prompt_template(config: PromptConfig, classes: Sequence[str]) -> str:
    """The sentence into which a predictor puts an image's caption; without a slot, the text of every image."""
    if config.kind == "empty":
        text = ""
    elif config.kind == "class-names":
        text = class_names_prompt(object_names(classes))
    else:
        text = "{caption}"
    if config.modifier == "null":
        return text
    return modify(text, get_domain(config.domain), config.modifier, token=config.token or None)


def as_trained(config: PromptConfig, captions: Sequence[str]) -> list[str]:
    """Fresh captions as `build_prompts` would put them into `prompt_template`'s sentence."""
    if config.kind == "nouns":
        tagger = load_tagger()
        captions = [nouns_prompt(caption, tagger) for caption in captions]
    # A modifier's sentence names the medium and begins for itself.
    return list(captions) if config.modifier == "null" else [content_of(caption) for caption in captions]


def object_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names without the background: the paper prompts with objects (Eq. 5)."""
    return tuple(name for name in classes if name != BACKGROUND)


def present_classes(dataset: SampleDataset, ids: Sequence[str] | None = None) -> dict[str, set[str]]:
    """{image id: names of the object classes in its annotation}, of all images or of `ids`; what the oracle knows."""
    if not dataset.classes:
        raise ValueError(f"{dataset.task} data has no classes that could be present")
    names = set(object_names(dataset.classes))
    present = {}
    for image_id in dataset.ids if ids is None else ids:
        target = dataset.read(image_id).target
        labels = target["labels"] if dataset.task == "detection" else target
        found = set(torch.unique(labels.as_subclass(Tensor)).tolist()) - {IGNORE_INDEX}
        present[image_id] = {dataset.classes[label] for label in found} & names
    return present
