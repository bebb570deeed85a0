"""A small convolutional network that reads presence off the VAE's latents, without a pass of the UNet."""

# B images, K classes, h w latent cells

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from tadp_heads.pretrained import PretrainedHead
from tadp_heads.schema import check_config


@dataclass(frozen=True, kw_only=True)
class LatentPresenceConfig:
    """Sizes of a LatentPresence."""

    num_classes: int
    channels: int = 4
    """Of the latents."""
    width: int = 48
    """Channels of the first two convolutions; half of those of the last two."""

    def __post_init__(self):
        check_config(self)
        if self.num_classes < 1:
            raise ValueError(f"num_classes {self.num_classes}: expected at least 1")


class LatentPresence(PretrainedHead):
    """latents (B, channels, h, w) -> logits (B, K): the largest value of a class over all cells."""

    config_class = LatentPresenceConfig
    config: LatentPresenceConfig

    def __init__(self, num_classes: int, **options: Any):
        """`options`: the further fields of LatentPresenceConfig."""
        super().__init__()
        self.config = config = LatentPresenceConfig(num_classes=num_classes, **options)
        narrow, wide = config.width, 2 * config.width
        self.cells = nn.Sequential(
            _convolution(config.channels, narrow, 1),
            _convolution(narrow, narrow, 1),
            _convolution(narrow, wide, 2),
            _convolution(wide, wide, 1),
            nn.Dropout2d(0.1),
            nn.Conv2d(wide, num_classes, 1),
        )
        nn.init.constant_(self.cells[-1].bias, -1.0)  # most classes are absent from most images

    def forward(self, latents: Tensor) -> Tensor:
        return self.cells(latents.float()).amax((2, 3))


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())
