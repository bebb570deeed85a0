"""Prompts of the classes that the image tagger finds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tadp_cli.prompts.kind import Given, PromptKind
from tadp_cli.prompts.kinds.texts import joined

if TYPE_CHECKING:
    from tadp_backbone import DiffusionBackbone
    from tadp_cli.config.recipe import Recipe
    from tadp_cli.prompts.builder import Prompts


class Tags(PromptKind):
    """The classes that the image tagger finds, without a caption."""

    needs = frozenset({"classes", "tags"})

    def texts(self, given: Given) -> Mapping[str, str]:
        from tadp_captioning import oracle_prompt

        return {image_id: oracle_prompt(given.tags.named(image_id), self.names) for image_id in given.ids}

    @property
    def summary(self) -> str:
        return f"({self.config.kind})"


class CaptionAndTags(Tags):
    """The caption, and behind it the classes that the image tagger finds and the caption does not name."""

    needs = frozenset({"captions", "classes", "tags"})

    def texts(self, given: Given) -> Mapping[str, str]:
        from tadp_captioning.mentions.words import ClassMentions

        mentions = ClassMentions(self.names)
        return {i: _completed(given.captions[i], given.tags.named(i), mentions) for i in given.ids}


class TagsForTheHead(Tags):
    """No words; the head is given the tagger's probabilities."""

    has_words = False
    own_texts = False

    def texts(self, given: Given) -> Mapping[str, str]:
        return dict.fromkeys(given.ids, "")

    def prompts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        from tadp_cli.prompts.builder import PresencePrompts

        return PresencePrompts(super().prompts(given, backbone).texts, found=given.tags)

    @property
    def template(self) -> str:
        return ""

    @classmethod
    def check(cls, recipe: "Recipe") -> None:
        given = f"prompt {recipe.prompt.kind!r}"
        if recipe.backbone.map_index != "presence":
            raise ValueError(f"{given} gives the head probabilities: set backbone.map_index=presence")
        if recipe.backbone.map_words:
            raise ValueError(f"{given} gives probabilities of the data's classes: leave backbone.map_words out")


def _completed(caption: str, found: Sequence[str], mentions: Any) -> str:
    known = set(mentions(caption))
    return joined(caption, [name for name in found if name not in known])
