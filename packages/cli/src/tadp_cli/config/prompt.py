"""What a recipe says of the text of each image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tadp_heads.schema import MOST_HELD, MOST_RATE, above_0, at_least, one_of

if TYPE_CHECKING:
    from tadp_captioning import Domain

PROMPTS = (
    "empty",
    "class-names",
    "class-embs",
    "averaged-eos",
    "room-type",
    "caption",
    "nouns",
    "oracle",
    "caption+class-names",
    "caption+presence",
    "presence",
    "soft-presence",
    "presence-only",
    "learnt",
)
"""The paper's (4.1-4.2; room-type is VPD's for NYUv2), and from caption+class-names on those of docs/presence.md.
caption+presence: the caption, and the classes that the presence judge finds and the caption does not name. presence:
those that it finds, without a caption. soft-presence: every class's embedding, weighted by its probability.
presence-only: no words; the head is given the probabilities. learnt: free vectors in place of text, trained with the
head (MetaPrompts)."""
LISTING_PROMPTS = ("class-names", "class-embs", "averaged-eos", "oracle")
"""Those that list classes: all, or with the oracle those present. Each is named once, the background on Pascal VOC
alone, as the paper's code has it."""
CAPTION_PROMPTS = ("caption", "nouns", "caption+class-names", "caption+presence")
"""Those that are made of each image's caption."""
PRESENCE_PROMPTS = ("caption+presence", "presence", "soft-presence", "presence-only")
CLASS_PROMPTS = (*LISTING_PROMPTS, "caption+class-names", *PRESENCE_PROMPTS)
"""Those that need class names."""
EMBEDDING_PROMPTS = ("class-embs", "averaged-eos", "room-type", "soft-presence", "learnt")
"""Those that are not made of words: no modifier can be put into them, and no map of theirs stands for a word."""
WORDLESS_PROMPTS = (*EMBEDDING_PROMPTS, "presence-only")
MODIFIERS = ("null", "simple", "textual-inversion", "dreambooth", "nearby", "unrelated")


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    kind: str = "caption"
    """One of PROMPTS; nouns are the caption's."""
    precision: float = 1.0
    recall: float = 1.0
    """Of the names in an oracle's prompts, over the data set (paper, Table S2)."""
    vectors: int = 64
    """How many, of the kind learnt."""
    modifier: str = "null"
    """One of MODIFIERS (paper 4.3), applied in training and in testing."""
    modifier_style: str = "grammatical"
    """grammatical: the caption fitted into the modifier's sentence. reference: the literal strings of the paper's code,
    "a foggy photo of a a car" included."""
    domain: str = ""
    """The target domain, for every modifier but null."""
    domain_phrase: str = ""
    """What images of the domain are called, e.g. "dusk photo", where it is not in the table."""
    token: str = ""
    """The learnt token as prompts write it; empty: the domain's own."""
    token_file: str = ""
    """learned_embeds.safetensors of Textual Inversion."""
    styles: tuple[str, ...] = ()
    """Domains for prompts drawn at random: at every pass each training image's prompt is, with equal chances, left as
    it is or put under the simple modifier of one of these; `modifier` is then for testing alone."""

    def __post_init__(self):
        at_least("prompt.vectors", self.vectors, 1, MOST_HELD)
        one_of("prompt.modifier_style", self.modifier_style, ("grammatical", "reference"))
        if self.domain_phrase:
            if not self.domain:
                raise ValueError(f"prompt.domain_phrase {self.domain_phrase!r} describes prompt.domain: name it too")
            _ = self.target

    @property
    def target(self) -> "Domain":
        """The target domain."""
        from tadp_captioning.domains import get_domain

        return get_domain(self.domain, self.domain_phrase)


@dataclass(frozen=True, kw_only=True)
class PresenceConfig:
    """The judge behind prompts of PRESENCE_PROMPTS, which says how likely each class is in an image."""

    source: str = "head"
    """Who judges. head: a small head, trained on the source's labels, which reads a first pass of the backbone.
    captioner: the captioner's own chances of words, untrained. clip: CLIP's zero-shot tagging, untrained."""
    first_pass: str = "caption"
    """Prompt of the pass whose features it reads: caption, or empty."""
    precision: float = 0.75
    """Of the classes named, on images that it was not trained on: the threshold is the one of the highest recall."""
    folds: int = 5
    """Parts of the training images; each is judged by a head trained on the others."""
    steps: int = 300
    """Updates of its weights in each fold."""
    lr: float = 2e-3
    seed: int = 0
    clip: str = "openai/clip-vit-large-patch14"
    """The CLIP model, a folder or a hub id."""

    def __post_init__(self):
        one_of("presence.source", self.source, ("head", "captioner", "clip"))
        one_of("presence.first_pass", self.first_pass, ("caption", "empty"))
        at_least("presence.folds", self.folds, 2, MOST_HELD)
        at_least("presence.steps", self.steps, 10)
        above_0("presence.lr", self.lr, MOST_RATE)
        if not 0 < self.precision <= 1:
            raise ValueError(f"presence.precision is {self.precision}, expected a share above 0, at most 1")
