"""The probability that a class is in an image, from its area and confidence in a predicted mask."""

# B images, K classes, H W image pixels

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadp_heads.pretrained import PretrainedHead
from tadp_heads.schema import check_config

_TOP = 0.01
"""Share of the pixels, those of a class's highest probability, over which its confidence is averaged."""
_SMALLEST = 1e-4
_RIDGE = 1e-2
_UPDATES = 100


@dataclass(frozen=True, kw_only=True)
class MaskEvidenceConfig:
    """Sizes of a MaskEvidence."""

    num_classes: int

    def __post_init__(self) -> None:
        check_config(self)
        if self.num_classes < 1:
            raise ValueError(f"num_classes {self.num_classes}: expected at least 1")


class MaskEvidence(PretrainedHead):
    """Logits of presence: a logistic regression on area and confidence, with an offset per class."""

    config_class = MaskEvidenceConfig
    config: MaskEvidenceConfig

    def __init__(self, num_classes: int):
        super().__init__()
        self.config = MaskEvidenceConfig(num_classes=num_classes)
        self.weight = nn.Parameter(torch.zeros(2))
        self.offset = nn.Parameter(torch.zeros(num_classes))

    def forward(self, evidence: Tensor) -> Tensor:
        """(B, K, 2), as `evidence_of` gives it -> logits (B, K)."""
        return evidence @ self.weight + self.offset


def evidence_of(probabilities: Tensor) -> Tensor:
    """Class probabilities of pixels (B, K, H, W) -> (B, K, 2): log of the mean, logit of the mean of the largest."""
    pixels = probabilities.flatten(2).float()
    area = pixels.mean(2).clamp(min=_SMALLEST).log()
    confidence = pixels.topk(max(1, round(_TOP * pixels.shape[2])), 2).values.mean(2)
    return torch.stack([area, confidence.logit(eps=_SMALLEST)], 2)


def fit_evidence(evidence: Tensor, present: Tensor) -> MaskEvidence:
    """Logistic regression of labels (N, K) on evidence (N, K, 2), with a ridge penalty, by L-BFGS; deterministic."""
    regression = MaskEvidence(present.shape[1])
    optimizer = torch.optim.LBFGS(regression.parameters(), max_iter=_UPDATES, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        wrong = functional.binary_cross_entropy_with_logits(regression(evidence), present.float())
        penalty = regression.weight.square().sum() + (regression.offset - regression.offset.mean()).square().sum()
        total = wrong + _RIDGE * penalty / len(evidence)
        total.backward()
        return total

    optimizer.step(loss)
    return regression.eval()
