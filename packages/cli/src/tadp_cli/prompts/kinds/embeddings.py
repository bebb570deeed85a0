"""Contexts that no text gives: embeddings of class names and rooms, and vectors that train with the head."""

# B images, T tokens, D width of the context, K classes

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tadp_cli.config.prompt import PromptConfig
from tadp_cli.prompts.kind import Given, PromptKind

if TYPE_CHECKING:
    from tadp_backbone import DiffusionBackbone
    from tadp_cli.prompts.builder import Prompts


class Embeddings(PromptKind):
    """Contexts that no text gives."""

    is_text = has_words = own_texts = False

    def prompts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        import torch

        if self.config.modifier != "null":
            raise ValueError(f"prompt {self.config.kind!r} is an embedding, and modifiers need a text prompt")
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
        """Of loose images the caption replaces the room."""
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
