"""Kinds of prompts: what the text encoder is given for an image. One registered class per kind."""

# B images, T tokens, D width of the context, K classes

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from tadp_cli.config.prompt import PromptConfig
from tadp_heads.registry import Registry

if TYPE_CHECKING:
    from tadp_backbone import DiffusionBackbone
    from tadp_cli.config.recipe import Recipe
    from tadp_cli.prompts.builder import Prompts
    from tadp_heads.data import SampleDataset
    from tadp_heads.tagging.presence import Presence

Kind = TypeVar("Kind", bound="type[PromptKind]")

_BUILT_IN = {
    "empty": "texts:Empty",
    "class-names": "texts:ClassNames",
    "class-embs": "embeddings:ClassEmbeddings",
    "averaged-eos": "embeddings:AveragedEndTokens",
    "room-type": "embeddings:RoomType",
    "caption": "texts:Caption",
    "nouns": "texts:Nouns",
    "oracle": "texts:Oracle",
    "caption+class-names": "texts:CaptionAndClassNames",
    "caption+presence": "tags:CaptionAndTags",
    "presence": "tags:Tags",
    "soft-presence": "embeddings:WeightedEmbeddings",
    "presence-only": "tags:TagsForTheHead",
    "learned": "embeddings:LearnedVectors",
}
PROMPT_KINDS = Registry("prompt.kind", {name: f"tadp_cli.prompts.kinds.{cls}" for name, cls in _BUILT_IN.items()})


class Given(NamedTuple):
    """The images whose prompts are made, and what is known of them."""

    ids: Sequence[str]
    captions: Mapping[str, str] = MappingProxyType({})
    """{image id: caption}, where the kind needs captions, and for loose images in any case."""
    found: "Presence | None" = None
    """How likely each class is in each image, where the kind needs tags."""
    dataset: "SampleDataset | None" = None
    """With folders and annotations; None: loose images."""

    @property
    def tags(self) -> "Presence":
        """`found`, for kinds that need it."""
        if self.found is None:
            raise ValueError("this kind of prompt needs image tags, and none are given")
        return self.found


class PromptKind:
    """Makes the prompts of one run. A subclass gives at least `texts`, or `prompts` where no string gives them."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Of "captions", "classes" (the data has class names) and "tags" (of the image tagger, [presence] of a recipe)."""
    lists_classes: ClassVar[bool] = False
    """Whether class names are listed, each once: on Pascal VOC the background too, as in the paper's code."""
    is_text: ClassVar[bool] = True
    """Whether it is a text: a modifier can be put into it, and a map of a token stands for a word."""
    has_words: ClassVar[bool] = True
    """Whether there are words to show."""
    own_texts: ClassVar[bool] = True
    """Whether each image has a text of its own to encode."""
    sampled: ClassVar[bool] = False
    """Whether prompt.precision and prompt.recall apply."""
    in_template: ClassVar[bool] = False
    """Whether `template`, filled with a caption, is the prompt: a saved model then needs no record of the kind."""

    def __init__(self, config: PromptConfig, names: Sequence[str] = ()):
        """`names`: each of the model's classes as prompts name it, "" for one that they leave out."""
        from tadp_heads.data.class_names import listed_names, object_names

        self.config = config
        self.names = listed_names(names) if self.lists_classes else object_names(names)

    def texts(self, given: Given) -> Mapping[str, str]:
        """{image id: text}, without the modifier."""
        raise NotImplementedError(f"{type(self).__name__} is not a text prompt: it has only prompts()")

    def prompts(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        """The texts under the recipe's modifier, or contexts that no text gives."""
        from tadp_cli.prompts.builder import Prompts, modified

        return Prompts(modified(self.config, self.texts(given)))

    def placeholder(self, given: Given, backbone: "DiffusionBackbone") -> "Prompts":
        """Contexts of the same length, without captions and tags: for a dry run."""
        from tadp_cli.prompts.builder import Prompts

        return Prompts(dict.fromkeys(given.ids, ""))

    @property
    def template(self) -> str:
        """The text of every image, with {caption} in the place of an image's caption; without the modifier."""
        return "{caption}"

    @property
    def modified_template(self) -> str:
        """The template under the recipe's modifier."""
        from tadp_cli.prompts.builder import modified_text

        return modified_text(self.config, self.template)

    @property
    def summary(self) -> str:
        """The prompts in a few words, where the images or their captions are not known."""
        return self.modified_template or "(empty)"

    @classmethod
    def tokens(cls, config: PromptConfig, classes: int) -> int | None:
        """Length of the contexts for data of so many classes, estimated; None: that of a text."""
        return None

    @classmethod
    def backbone_settings(cls, config: PromptConfig) -> dict[str, Any]:
        """Fields of `BackboneConfig` that it needs."""
        return {}

    @classmethod
    def check(cls, recipe: "Recipe") -> None:
        """Raise ValueError for settings that do not go with it."""

    @classmethod
    def missing(cls) -> str:
        """What it needs and this machine lacks; "" for nothing."""
        return ""


def register_prompt(name: str) -> Callable[[Kind], Kind]:
    """Decorate a subclass of `PromptKind`; `prompt.kind` of a recipe chooses it by `name`."""

    def register(cls: Kind) -> Kind:
        PROMPT_KINDS.add(name, cls)
        return cls

    return register


def prompt_kind(name: str) -> type[PromptKind]:
    """The class of a kind by its name; ValueError for an unknown one."""
    from pkgutil import resolve_name

    try:
        PROMPT_KINDS.check(name)
    except ValueError as error:
        raise ValueError(f"{error}, or pass the file that registers it with --plugin") from None
    found = PROMPT_KINDS[name]
    return resolve_name(found) if isinstance(found, str) else found


def make_kind(config: PromptConfig, names: Sequence[str] = ()) -> PromptKind:
    """The recipe's kind for these classes, as prompts name them."""
    return prompt_kind(config.kind)(config, names)
