"""The loss that ties a class word's cross-attention to the pixels of its objects.

Stable Diffusion learns this from the scale of its data. The tiny model sees too few images for it and is supervised
by the masks; the model card says so.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# B batch, T tokens, K classes, N = side * side cells


def coverage(masks: Tensor, num_classes: int, side: int) -> Tensor:
    """Share of each cell's pixels that belong to each class: masks (B, H, W) -> (B, K, N); the ground is left out."""
    one_hot = F.one_hot(masks.long(), num_classes + 1)[..., :num_classes].permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(one_hot, side).flatten(2)


def grounding_loss(maps: Tensor, class_tokens: Tensor, covered: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy between what the words compete for and what the mask says, a mean over cells.

    maps (B, N, T): attention averaged over heads and layers. class_tokens (B, K, T). covered (B, K, N) in [0, 1].
    weight (B,): alpha_bar at the sample's time step, since a noised image shows less of where things are.
    All that attends to no class word is one bin more, which is the target wherever no named object is seen.
    """
    named = class_tokens.amax(dim=2, keepdim=True)  # (B, K, 1): is the class in the prompt at all?
    score = torch.einsum("bnt,bkt->bkn", maps, class_tokens)
    target = covered * named
    rest_target = 1 - target.sum(dim=1)
    rest_score = 1 - score.sum(dim=1)
    eps = 1e-4
    nll = -(target * (score + eps).log()).sum(dim=1) - rest_target * (rest_score.clamp(min=0) + eps).log()
    return (nll.mean(dim=1) * weight).mean()
