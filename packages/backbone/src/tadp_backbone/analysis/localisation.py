"""How well maps lie on objects, in numbers."""

# K maps, H W image pixels

from typing import NamedTuple

import torch
from torch import Tensor


class Localised(NamedTuple):
    """Of each map and its object; shares in [0, 1]."""

    hit: Tensor
    """1.0 where the map's maximum lies on the object, else 0.0."""
    mass: Tensor
    """Share of the map's sum that lies on the object."""
    area: Tensor
    """Share of the image that the object covers: the value of a uniform map in both."""
    spread: Tensor
    """Share of the image over which the map is spread: exp(entropy) / pixels; 1 is even."""


def localise(maps: Tensor, masks: Tensor) -> Localised:
    """maps (K, H, W) at least 0, masks (K, H, W) bool -> K values each."""
    flat, on = maps.flatten(1).double(), masks.flatten(1).double()
    shares = flat / flat.sum(1, keepdim=True)
    hit = on.gather(1, flat.argmax(1, keepdim=True))[:, 0]
    spread = torch.special.entr(shares).sum(1).exp() / shares.shape[1]
    return Localised(hit, (shares * on).sum(1), on.mean(1), spread)
