"""The built-in kinds of prompts: those of the paper (4.1-4.2), VPD's for NYUv2, and those of docs/presence.md."""

# B images, T tokens, D width of the context, K classes

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tadp_cli.config.prompt import PromptConfig
from tadp_cli.prompts.kind import Given, PromptKind

if TYPE_CHECKING:
    from tadp_backbone import DiffusionBackbone
    from tadp_cli.config.recipe import Recipe
    from tadp_cli.prompts.builder import Prompts


class Caption(PromptKind):
    """Each image's caption."""

    needs = frozenset({"captions"})
    in_template = True

    def texts(self, given: Given) -> Mapping[str, str]:
        return given.captions


class Nouns(Caption):
    """The nouns of each caption, each once, in order (TADP(NO))."""

    in_template = False

    def texts(self, given: Given) -> Mapping[str, str]:
        from tadp_captioning.prompts.nouns import load_tagger, nouns_prompt

        tagger = load_tagger()
        return {image_id: nouns_prompt(given.captions[image_id], tagger) for image_id in given.ids}

    @property
    def summary(self) -> str:
        return f"nouns of {super().summary}"

    @classmethod
    def missing(cls) -> str:
        from tadp_captioning.prompts.nouns import nltk_tagger

        try:
            nltk_tagger()
        except ValueError as error:
            return str(error)
        return ""


class CaptionAndClassNames(PromptKind):
    """The caption, and behind it all class names."""

    needs = frozenset({"captions", "classes"})
    in_template = True

    def texts(self, given: Given) -> Mapping[str, str]:
        return {image_id: _joined(given.captions[image_id], self.names) for image_id in given.ids}

    @property
    def template(self) -> str:
        return _joined("{caption}", self.names)


class Empty(PromptKind):
    """No words."""

    own_texts = False
    in_template = True

    def texts(self, given: Given) -> Mapping[str, str]:
        return dict.fromkeys(given.ids, self.template)

    @property
    def template(self) -> str:
        return ""


class ClassNames(Empty):
    """The names of all classes, the same text for every image."""

    needs = frozenset({"classes"})
    lists_classes = True

    @property
    def template(self) -> str:
        from tadp_captioning import class_names_prompt

        return class_names_prompt(self.names)

    @property
    def summary(self) -> str:
        return super().summary if self.names else "names of all classes"


class Oracle(PromptKind):
    """The names of the classes annotated in each image, or a sample of them with a given precision and recall."""

    needs = frozenset({"classes"})
    lists_classes = True
    sampled = True
    in_template = True

    def texts(self, given: Given) -> Mapping[str, str]:
        """Of loose images, which have no annotation, the caption stands in for the names."""
        from tadp_captioning import class_names_prompt
        from tadp_cli.prompts.builder import oracle_names
        from tadp_heads.data.present_classes import annotated_names

        if given.dataset is None:
            return given.captions
        present = annotated_names(given.dataset)
        precision, recall = self.config.precision, self.config.recall
        drawn = oracle_names(present, given.dataset.prompt_names, precision=precision, recall=recall)
        return {image_id: class_names_prompt(there) for image_id, there in drawn.items()}

    @property
    def summary(self) -> str:
        return "names of the classes present"


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


class Embeddings(PromptKind):
    """Contexts that no text gives."""

    is_text = has_words = own_texts = False

    def prompts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        import torch

        if self.config.modifier != "null":
            raise ValueError(f"prompt {self.config.kind!r} is an embedding: a modifier cannot be put into it")
        with torch.no_grad():
            return self.contexts(given, backbone)

    def contexts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        """The prompts."""
        raise NotImplementedError

    def placeholder(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        return self.prompts(given, backbone)


class ClassEmbeddings(Embeddings):
    """The embeddings of all class names, each encoded alone."""

    needs = frozenset({"classes"})
    lists_classes = True
    in_template = True

    def contexts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        from tadp_backbone.text.conditioning import class_embs_context
        from tadp_cli.prompts.builder import Prompts

        return Prompts({}, class_embs_context(backbone, self.names))

    @property
    def summary(self) -> str:
        return f"embeddings (words) of {', '.join(self.names) or 'the class names'}"

    @classmethod
    def tokens(cls, config: PromptConfig, classes: int) -> int | None:
        return 2 * classes  # a name has about two


class AveragedEndTokens(Embeddings):
    """Of each class the embedding of the end token, averaged over 80 sentences."""

    needs = frozenset({"classes"})
    lists_classes = True
    in_template = True

    def contexts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        from tadp_backbone.text.conditioning import averaged_eos_context
        from tadp_cli.prompts.builder import Prompts

        return Prompts({}, averaged_eos_context(backbone, self.names))

    @property
    def summary(self) -> str:
        names = ", ".join(self.names) or "the class names"
        return f"embeddings (end tokens, averaged over 80 templates) of {names}"

    @classmethod
    def tokens(cls, config: PromptConfig, classes: int) -> int | None:
        return classes


class WeightedEmbeddings(ClassEmbeddings):
    """The embeddings of all class names, each weighted by how likely the tagger finds the class in the image."""

    needs = frozenset({"classes", "tags"})
    lists_classes = in_template = False

    def contexts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        import torch

        from tadp_backbone.text.conditioning import class_embs_context
        from tadp_cli.prompts.builder import SoftPrompts

        each = [class_embs_context(backbone, [name]) for name in self.names]
        owners = tuple(label for label, tokens in enumerate(each) for _ in range(tokens.shape[1]))
        return SoftPrompts({}, embeddings=torch.cat(each, 1), owners=owners, found=given.tags)

    def placeholder(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        import torch

        with torch.no_grad():
            return super().contexts(given, backbone)  # as long, without weights

    @property
    def template(self) -> str:
        return ""

    @property
    def summary(self) -> str:
        return f"({self.config.kind})"


class RoomType(Embeddings):
    """VPD's for NYUv2: the embedding of the room in whose folder an image lies, averaged over 80 sentences.

    TADP's code gives each image the rooms of the whole batch (tadp_depth.py:131-136), which is not followed.
    """

    def contexts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        """Of loose images the caption stands in for the room."""
        from tadp_backbone.text.conditioning import averaged_eos_context
        from tadp_cli.prompts.builder import RoomPrompts

        rooms = given.captions if given.dataset is None else _rooms(given.ids)
        each = {room: averaged_eos_context(backbone, [room])[0] for room in sorted(set(rooms.values()))}
        return RoomPrompts({}, rooms={image_id: each[room] for image_id, room in rooms.items()})

    @property
    def summary(self) -> str:
        return "embedding of the image's room, averaged over 80 templates"

    @classmethod
    def tokens(cls, config: PromptConfig, classes: int) -> int | None:
        return 1


class LearnedVectors(Embeddings):
    """Free vectors in place of text, trained with the head (MetaPrompts)."""

    in_template = True

    def contexts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        from tadp_cli.prompts.builder import LearnedPrompts

        return LearnedPrompts({}, count=backbone.config.learnt_context)

    @property
    def template(self) -> str:
        return ""

    @property
    def summary(self) -> str:
        return f"({self.config.kind})"

    @classmethod
    def tokens(cls, config: PromptConfig, classes: int) -> int | None:
        return config.vectors

    @classmethod
    def backbone_settings(cls, config: PromptConfig) -> dict[str, Any]:
        return {"learnt_context": config.vectors}


def _joined(caption: str, names: Sequence[str]) -> str:
    return ", ".join((caption, " ".join(names))) if names else caption


def _completed(caption: str, found: Sequence[str], mentions: Any) -> str:
    known = set(mentions(caption))
    return _joined(caption, [name for name in found if name not in known])


def _rooms(ids: Sequence[str]) -> dict[str, str]:
    """{image id: room}."""
    from tadp_heads.data.readers.nyuv2 import room_type

    strange = [image_id for image_id in ids if image_id.strip("/").count("/") == 0]
    if strange:
        raise ValueError(
            "prompt 'room-type' reads the room from names such as /bathroom/rgb_00045.jpg, NYUv2's; "
            f"{strange[0]!r} has none: use caption"
        )
    return {image_id: room_type(image_id) for image_id in ids}
