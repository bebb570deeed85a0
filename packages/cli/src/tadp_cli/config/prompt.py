"""What a recipe says of the text of each image."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tadp_heads.schema import MOST_HELD, MOST_RATE, above_0, at_least, one_of

if TYPE_CHECKING:
    from tadp_captioning import Domain

RENAMED = {"learnt": "learned"}
"""{earlier name of a kind of prompt: its name}."""
MODIFIERS = ("null", "simple", "textual-inversion", "dreambooth", "nearby", "unrelated")


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    kind: str = "caption"
    """One of the kinds of `tadp_cli.prompts`, built in (docs/reference.md, docs/presence.md) or registered."""
    precision: float = 1.0
    """Share of the names in an oracle's prompts that are right, over the data set (paper, Table S2)."""
    recall: float = 1.0
    """Share of the classes present that an oracle's prompts name (paper, Table S2)."""
    vectors: int = 64
    """Number of free vectors of the kind learned."""
    modifier: str = "null"
    """One of MODIFIERS (paper 4.3), applied in training and in testing."""
    modifier_style: str = "grammatical"
    """grammatical: the caption fitted into the modifier's sentence. reference: the literal strings of the paper's code,
    "a foggy photo of a a car" included."""
    domain: str = ""
    """The target domain, for every modifier but null."""
    domain_phrase: str = ""
    """Name for images of a domain that is not in the table, e.g. "dusk photo"."""
    token: str = ""
    """The learned token as prompts write it; empty: the domain's own."""
    token_file: str = ""
    """learned_embeds.safetensors of Textual Inversion."""
    styles: tuple[str, ...] = ()
    """Domains of randomised prompts: at every epoch each training image's prompt is, with equal probability, unchanged
    or under the simple modifier of one of these; `modifier` then applies to testing only."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", RENAMED.get(self.kind, self.kind))
        at_least("prompt.vectors", self.vectors, 1, MOST_HELD)
        one_of("prompt.modifier_style", self.modifier_style, ("grammatical", "reference"))
        if self.domain_phrase:
            if not self.domain:
                raise ValueError(f"prompt.domain_phrase {self.domain_phrase!r} needs prompt.domain: set it too")
            _ = self.target

    @property
    def target(self) -> "Domain":
        """The target domain."""
        from tadp_captioning.domains import get_domain

        return get_domain(self.domain, self.domain_phrase)


@dataclass(frozen=True, kw_only=True)
class PresenceConfig:
    """The image tagger of prompts that need tags: how likely each class is in an image."""

    source: str = "head"
    """The tagger. head: a small head, trained on the source's labels, which reads a first pass of the backbone.
    mask: the area and confidence of each class in the model's own mask (self-prompting), for segmentation.
    captioner: the captioner's own word probabilities, untrained. clip: CLIP's zero-shot tagging, untrained."""
    first_pass: str = "caption"
    """Prompt of the pass whose features or mask the tagger reads: caption, or empty."""
    passes: int = 1
    """Source mask: number of masks predicted in sequence, each after the first under the classes found before."""
    precision: float = 0.75
    """Minimum precision of the named classes on held-out images; the threshold is that of the highest recall."""
    recall: float = 0.0
    """Instead of presence.precision: guaranteed share of an image's classes that are named, by conformal risk control;
    valid for images of the training distribution, not for other domains. 0: presence.precision decides."""
    confidence: float = 0.9
    """Confidence of the guarantee of presence.recall."""
    folds: int = 5
    """Number of folds of the training images; each is tagged by a head trained on the others."""
    steps: int = 300
    """Optimizer steps per fold; for the source mask, per head."""
    lr: float = 2e-3
    """Peak learning rate of the small head."""
    seed: int = 0
    """Random seed of the small head and of the folds."""
    clip: str = "openai/clip-vit-large-patch14"
    """The CLIP model, a folder or a hub id."""

    def __post_init__(self) -> None:
        one_of("presence.source", self.source, ("head", "mask", "captioner", "clip"))
        one_of("presence.first_pass", self.first_pass, ("caption", "empty"))
        at_least("presence.folds", self.folds, 2, MOST_HELD)
        at_least("presence.steps", self.steps, 10)
        above_0("presence.lr", self.lr, MOST_RATE)
        at_least("presence.passes", self.passes, 1, MOST_HELD)
        if not (0 <= self.recall < 1 and 0 < self.confidence < 1):
            raise ValueError(
                f"presence.recall {self.recall} and presence.confidence {self.confidence}: expected shares below 1"
            )
        if not 0 < self.precision <= 1:
            raise ValueError(f"presence.precision is {self.precision}, expected a share above 0, at most 1")
