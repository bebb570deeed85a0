"""Prompts of a data set's images: texts under a modifier, or contexts, as training and evaluation take them; and the
names of classes in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.cache import TextCache
from tadp_captioning import RuleCleaner, modify
from tadp_captioning.prompts.oracle import sample_oracle
from tadp_cli.config.prompt import PromptConfig
from tadp_heads.data.class_names import listed_names, object_names
from tadp_heads.tagging.presence import Presence
from tadp_heads.training import SharedContext
from tadp_heads.training.protocols import Contexts


@dataclass(frozen=True)
class Prompts:
    """The text of each image of a data set, or one embedding for them all."""

    texts: Mapping[str, str]
    """{image id: prompt}, modifier applied."""
    shared: Tensor | None = None
    """(1, T, D), in place of texts, for embeddings that no string gives."""
    styled: tuple[Mapping[str, str], ...] = ()
    """Further versions of the texts, each naming another domain."""

    @property
    def num_tokens(self) -> int | None:
        """Length of the embeddings; None: a text's."""
        return None if self.shared is None else self.shared.shape[1]

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
    ) -> Tensor | None:
        """(B, T, D) for these images, None for a backbone without text; what is in the cache isn't encoded again.

        `versions`: of each image's text, 0 for `texts` and from 1 on for `styled`; None: 0 for all.
        """
        if self.shared is not None:
            return self.shared.expand(len(ids), -1, -1)
        if not hasattr(backbone, "encode_text"):
            return None
        there = (self.texts, *self.styled)
        texts = [there[v][image_id] for image_id, v in zip(ids, versions or [0] * len(ids), strict=True)]
        if cache is not None:
            return cache.build("caption", captions=texts)
        with torch.no_grad():
            return backbone.encode_text(texts)


@dataclass(frozen=True, kw_only=True)
class SoftPrompts(Prompts):
    """The embeddings of all classes, each weighted by how likely the class is in the image."""

    embeddings: Tensor
    """(1, T, D), the tokens of all names."""
    owners: tuple[int, ...]
    """The class of each token."""
    found: Presence

    @property
    def num_tokens(self) -> int | None:
        return self.embeddings.shape[1]

    def context(self, backbone: DiffusionBackbone, ids: Sequence[str], *_: object, **__: object) -> Tensor:
        weights = self.found.of(ids)[:, list(self.owners), None]  # (B, T, 1)
        return self.embeddings * weights.to(self.embeddings)


@dataclass(frozen=True, kw_only=True)
class PresencePrompts(Prompts):
    """A text, and for the head how likely each class is in the image."""

    found: Presence

    def context(
        self,
        backbone: DiffusionBackbone,
        ids: Sequence[str],
        cache: TextCache | None = None,
        versions: Sequence[int] | None = None,
    ) -> Tensor:
        shared = super().context(backbone, ids, cache, versions)
        assert shared is not None, "presence is given to backbones with text alone"
        context = shared.clone()
        # The begin token's columns, as no word stands for a class in these prompts.
        weights = self.found.of(ids).to(context)
        context[:, 0, -weights.shape[1] :] = weights
        return context


@dataclass(frozen=True)
class LearnedPrompts(Prompts):
    """Vectors that train with the head, the same for every image (MetaPrompts)."""

    count: int = 0

    @property
    def num_tokens(self) -> int | None:
        return self.count

    def context(self, backbone: DiffusionBackbone, ids: Sequence[str], *_: object, **__: object) -> Tensor:
        if backbone.learnt_context is None:
            raise ValueError("this backbone has no learned vectors: load it with learnt_context, their number")
        return backbone.learnt_context(len(ids))


@dataclass(frozen=True)
class RoomPrompts(Prompts):
    """One embedding per image, that of its kind of room."""

    rooms: Mapping[str, Tensor] = field(default_factory=dict)
    """{image id: (1, D)}, averaged over templates as for classes."""

    @property
    def num_tokens(self) -> int | None:
        return 1

    def context(self, backbone: DiffusionBackbone, ids: Sequence[str], *_: object, **__: object) -> Tensor:
        return torch.stack([self.rooms[image_id] for image_id in ids])


@dataclass(frozen=True)
class PromptContexts:
    """Implements `tadp_heads.training.protocols.Contexts`."""

    prompts: Prompts
    backbone: DiffusionBackbone
    cache: TextCache | None = None

    @property
    def versions(self) -> int:
        """How many texts there are for an image."""
        return self.prompts.versions

    def context(self, ids: Sequence[str], versions: Sequence[int] | None = None) -> Tensor | None:
        """(B, T, D) for these images; None for a backbone without text."""
        return self.prompts.context(self.backbone, ids, self.cache, versions)


def training_contexts(prompts: Prompts, backbone: DiffusionBackbone, cache: str = "") -> Contexts:
    """Those of the training images; `cache`: folder in which they are kept, "" for none."""
    if isinstance(prompts, LearnedPrompts):  # read within the pass, where they are whole if they are sharded
        return SharedContext(None)
    return PromptContexts(prompts, backbone, TextCache(cache, backbone) if cache else None)


def names_domain(config: PromptConfig) -> bool:
    """Whether prompts name a domain, in a sentence that captions are fitted into."""
    return config.modifier != "null" and config.modifier_style == "grammatical"


def without_domain(config: PromptConfig, captions: Mapping[str, str]) -> Mapping[str, str]:
    """Captions without the words for the domain that the prompts name, so that each prompt names it once."""
    if not names_domain(config):
        return captions
    clean = RuleCleaner(config.target).clean_one
    return {image_id: clean(caption) for image_id, caption in captions.items()}


def modified(config: PromptConfig, texts: Mapping[str, str]) -> Mapping[str, str]:
    """The texts under the recipe's modifier."""
    return {key: modified_text(config, text) for key, text in texts.items()}


def modified_text(config: PromptConfig, text: str) -> str:
    """A text under the recipe's modifier."""
    if config.modifier == "null":
        return text
    return modify(text, config.target, config.modifier, token=config.token or None, style=config.modifier_style)


def with_styles(prompts: Prompts, styles: Sequence[str]) -> Prompts:
    """The prompts, with a version for each of the domains `styles`, under its hand-written modifier."""
    texts = prompts.texts.items()
    return replace(prompts, styled=tuple({key: modify(text, name, "simple") for key, text in texts} for name in styles))


def oracle_names(
    present: Mapping[str, Sequence[str]],
    names: Sequence[str],
    *,
    precision: float = 1.0,
    recall: float = 1.0,
    seed: int = 0,
) -> dict[str, list[str]]:
    """What an oracle of this precision and recall names of `annotated_names`, in label order.

    Objects are drawn; the background, where prompts name it, stays unchanged (docs/reference.md, section 6).
    """
    listed, objects = listed_names(names), dict.fromkeys(object_names(names))
    known = {image_id: [name for name in there if name in objects] for image_id, there in present.items()}
    drawn = sample_oracle(known, tuple(objects), precision=precision, recall=recall, seed=seed)
    return {
        image_id: [name for name in listed if name in (drawn[image_id] if name in objects else there)]
        for image_id, there in present.items()
    }
