"""A multi-label classifier on the feature pyramid: a logit per class that the image shows it."""

# B images, K classes, C channels of all levels, h w cells

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tadp_heads.levels import Level, as_levels
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.schema import check_config


@dataclass(frozen=True, kw_only=True)
class PresenceHeadConfig:
    """Sizes of a PresenceHead."""

    levels: tuple[Level, ...]
    """The feature levels that it reads, finest first."""
    num_classes: int
    width: int = 32
    """Units of the hidden layer."""
    dropout: float = 0.3
    """Dropout probability of the hidden layer."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", as_levels(self.levels))
        check_config(self)
        if self.num_classes < 1:
            raise ValueError(f"num_classes {self.num_classes}: expected at least 1")


class PresenceHead(PretrainedHead):
    """Logits (B, K) from the levels' means and maxima, plus a weight and an offset per class for what a caption names.

    The features' part is initialised to zero: with few training images the logits stay near those of the caption alone.
    """

    config_class = PresenceHeadConfig
    config: PresenceHeadConfig

    def __init__(self, levels: Iterable[Any], num_classes: int, **options: Any):
        """`options`: the further fields of PresenceHeadConfig."""
        super().__init__()
        self.config = config = PresenceHeadConfig(levels=tuple(levels), num_classes=num_classes, **options)
        pooled = 2 * sum(level.channels for level in config.levels)
        self.judge = nn.Sequential(
            nn.BatchNorm1d(pooled),
            nn.Linear(pooled, config.width),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.width, num_classes),
        )
        for parameter in self.judge[-1].parameters():
            nn.init.zeros_(parameter)
        self.weight = nn.Parameter(torch.full((num_classes,), 2.5))
        self.offset = nn.Parameter(torch.full((num_classes,), -2.0))

    def forward(self, levels: Sequence[Tensor], mentioned: Tensor) -> Tensor:
        """levels (B, C_i, h_i, w_i), mentioned (B, K) of 0 and 1, all 0 without captions -> logits (B, K)."""
        return self.from_pooled(pool(levels), mentioned)

    def from_pooled(self, pooled: Tensor, mentioned: Tensor) -> Tensor:
        """pooled (B, 2 C), as `pool` gives it -> logits (B, K)."""
        return self.judge(pooled) + self.weight * mentioned + self.offset


def pool(levels: Sequence[Tensor]) -> Tensor:
    """levels (B, C_i, h_i, w_i) -> mean and maximum over the cells of each level (B, 2 C), float32."""
    parts = [part for level in levels for part in (level.float().mean((2, 3)), level.float().amax((2, 3)))]
    return torch.cat(parts, 1)
