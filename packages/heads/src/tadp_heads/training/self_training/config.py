"""How unlabelled images of a target domain train a model."""

from dataclasses import dataclass

from tadp_heads.schema import MOST_FACTOR, at_least, one_of

PROMPTED = ("teacher", "student", "both", "neither")


@dataclass(frozen=True, kw_only=True)
class SelfTrainingConfig:
    """Settings of self-training; a value out of range raises ValueError."""

    images: str = ""
    """Images of the target domain, whose labels are never read: a folder, a .txt list, or NAME:FOLDER of `tadp data
    list`; empty: no self-training."""
    split: str = ""
    """Split of NAME:FOLDER or of a user's folder; empty: the one that domains are learned from, or all images."""
    captions: str = ""
    """File of captions of these images; empty: the captioner writes them, without the words for prompt.domain."""
    prompted: str = "teacher"
    """Which of teacher and student are prompted with prompt.modifier on target images: one of PROMPTED."""
    weight: float = 1.0
    """Factor on the loss of pseudo-labels, in addition to the share of pixels that have one."""
    confidence: float = 0.9
    """Confidence threshold of pseudo-labels for the most confident class; for other classes it is lower, in proportion
    to the teacher's mean confidence in them (FreeMatch)."""
    decay: float = 0.99
    """Decay of the exponential moving average of weights that is the teacher."""
    start: int = 100
    """Steps on the source only before the first pseudo-label."""
    least_diversity: float = 0.5
    """Self-training stops where the effective number of classes that the teacher predicts on the target, exp(entropy),
    falls below this share of its initial value; 0: it is never stopped."""

    def __post_init__(self) -> None:
        one_of("self_training.prompted", self.prompted, PROMPTED)
        at_least("self_training.weight", self.weight, 0, MOST_FACTOR)
        at_least("self_training.start", self.start, 0)
        for name in ("confidence", "decay", "least_diversity"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"self_training.{name} is {getattr(self, name)}, expected at least 0 and below 1")
