"""From the captions of images to their prompts: the one way of training, evaluation, prediction and Python."""

# B images, T tokens, D width of the context

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_captioning import Cleaner, CleaningLimits, load_cleaner
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN, RULES
from tadp_cli.config.prompt import PromptConfig
from tadp_cli.config.recipe import Recipe
from tadp_cli.prompts.builder import Prompts, names_domain, without_domain
from tadp_cli.prompts.kind import Given, make_kind, prompt_kind
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.tagging.presence import Presence
from tadp_heads.tagging.taggers import Captions

PLUGIN = "tadp"
"""Name of `Prompter.from_config` among the plugins "tadp.prompters"."""
_RECORDED = ("kind", "modifier", "modifier_style", "domain", "domain_phrase", "token")


@dataclass(frozen=True, kw_only=True)
class Prompter:
    """Makes the prompts of one run: what a caption becomes does not depend on who asks for it."""

    config: PromptConfig
    names: tuple[str, ...] = ()
    """The model's classes as prompts name them; empty: those of the data set that is asked about."""
    cleaner: str = RULES
    """What removed the words for the domain from the run's captions: rules, or openai:MODEL."""
    limits: CleaningLimits = NO_LIMITS_GIVEN

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        names: Sequence[str] = (),
        cleaner: str = "",
        limits: CleaningLimits = NO_LIMITS_GIVEN,
    ) -> Self:
        """The recipe's; `cleaner` in place of the one that it records."""
        if cleaner and not (names_domain(recipe.prompt) and "captions" in recipe.kind.needs):
            raise ValueError(
                f"--cleaner {cleaner} removes the words for the run's domain from captions, and its prompts have no "
                "captions or name no domain: leave it out"
            )
        return cls(config=recipe.prompt, names=tuple(names), cleaner=cleaner or recipe.test.cleaner, limits=limits)

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> Self:
        """What `to_config` gave; ValueError for anything else."""
        try:
            config = PromptConfig(**{key: values[key] for key in _RECORDED})
            prompt_kind(config.kind)
            return cls(config=config, names=tuple(values["names"]), cleaner=values["cleaner"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"prompter {dict(values)!r} lacks {error}: use the config.json that was saved") from error

    def to_config(self) -> dict[str, Any] | None:
        """What a model's config.json records, JSON-able; None where the model's own template gives the same prompts."""
        kind = make_kind(self.config, self.names)
        if kind.in_template and not ("{caption}" in kind.template and names_domain(self.config)):
            return None
        settings = {key: getattr(self.config, key) for key in _RECORDED}
        return {"plugin": PLUGIN, **settings, "names": list(self.names), "cleaner": self.cleaner}

    def of_data(
        self,
        dataset: SampleDataset,
        backbone: DiffusionBackbone,
        captions: Captions | None,
        found: Presence | None = None,
    ) -> Prompts:
        """Of a data set's images by their ids; `captions` {id: caption} and `found` where the kind needs them.

        An image without a caption is an error that names it.
        """
        names = self.names or dataset.prompt_names
        if "classes" in prompt_kind(self.config.kind).needs and not object_names(names):
            raise ValueError(
                f"prompt {self.config.kind!r} needs class names, and {dataset.task} data has none: use caption"
            )
        return self._made(Given(dataset.ids, found=found, dataset=dataset), captions, backbone, names)

    def of_captions(
        self, captions: Sequence[str], backbone: DiffusionBackbone, found: Presence | None = None
    ) -> Prompts:
        """Of images that are in no data set; their ids are "0", "1", ... in order.

        A caption replaces what only annotations or folders provide: the oracle's names, the kind of room.
        """
        texts = {str(place): caption for place, caption in enumerate(captions)}
        if "tags" in prompt_kind(self.config.kind).needs and found is None:
            raise ValueError(f"prompts of the kind {self.config.kind!r} need an image's tags: use `tadp predict`")
        return self._made(Given(list(texts), texts, found), texts, backbone, self.names)

    def _made(
        self, given: Given, captions: Captions | None, backbone: DiffusionBackbone, names: Sequence[str]
    ) -> Prompts:
        kind = make_kind(self.config, names)
        if "captions" in kind.needs:
            if captions is None:
                raise ValueError(f"prompts of the kind {self.config.kind!r} need captions: pass those of the images")
            own = {image_id: captions[image_id] for image_id in given.ids}
            given = given._replace(captions=without_domain(self.config, own))
        return kind.prompts(given, backbone)

    @torch.no_grad()
    def context(self, backbone: DiffusionBackbone, captions: Sequence[str]) -> Tensor | None:
        """(B, T, D) of new captions, one per image; None for a backbone without text."""
        prompts = self.of_captions(self.clean(captions), backbone)
        return prompts.context(backbone, [str(place) for place in range(len(captions))])

    def clean(self, captions: Sequence[str]) -> list[str]:
        """New captions as a model cleaned the run's own; what the rules remove, they remove from every caption."""
        if self.worker is None:
            return list(captions)
        with naming_the_rules(self.cleaner):
            return self.worker.clean(captions).captions

    @property
    def _reads_captions(self) -> bool:
        return "captions" in prompt_kind(self.config.kind).needs

    @cached_property
    def worker(self) -> Cleaner | None:
        """The model that cleans new captions; None where the rules alone do."""
        if self.cleaner == RULES or not (names_domain(self.config) and self._reads_captions):
            return None
        with naming_the_rules(self.cleaner):
            return load_cleaner(self.cleaner, self.config.target, self.limits)


@contextmanager
def naming_the_rules(cleaner: str) -> Iterator[None]:
    """Errors of a model that cleans captions say what does without it."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if cleaner == RULES:
            raise
        kind = ValueError if isinstance(error, ValueError) else RuntimeError
        raise kind(f"{error}; captions of this run are cleaned by {cleaner}, --cleaner rules needs no model") from error
