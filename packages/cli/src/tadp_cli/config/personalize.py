"""How a recipe's target domain is learned, for the modifiers textual-inversion and dreambooth (paper App. D.1)."""

from dataclasses import dataclass

from tadp_heads.schema import MOST_HELD, at_least


@dataclass(frozen=True, kw_only=True)
class PersonalizeConfig:
    images: str = ""
    """For `tadp reproduce`: folder, or NAME:FOLDER, of the images of the domain, where --images names none."""
    split: str = ""
    """Split of the target's data set from which the domain is learned, never evaluated unless it is named here. Empty:
    train, of Dark Zurich train/night; of a user's folder train where there is one, else all that is not evaluated."""
    count: int = 0
    """Number of images, drawn from the split; 0: all."""
    seed: int = 0
    """Of the draw and of the training."""
    preset: str = ""
    """Settings by name, as of `tadp personalize`; empty: the paper's Table S4; for the backbone tiny, miniature."""
    rank: int = 0
    """DreamBooth: rank of a LoRA in place of the whole UNet; 0: the whole UNet."""
    init_word: str = ""
    """Textual Inversion: the word whose embedding initialises the token; empty: chosen from the domain."""

    def __post_init__(self) -> None:
        for name in ("count", "rank"):
            at_least(f"personalize.{name}", getattr(self, name), 0, MOST_HELD)
