"""The divergence between two predictions against torch.distributions, and its place in the loss of segmentation."""

import pytest
import torch
from torch.distributions import Categorical, kl_divergence
from torch.nn import functional as F

from tadp_heads.segmentation.consistency import symmetric_kl
from tadp_heads.segmentation.task import SegmentationTask


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (2, 5, 3, 7)])
def test_it_is_the_mean_of_both_divergences_of_torch_with_the_same_gradient(shape):
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(shape, generator=generator, requires_grad=True) for _ in range(2))
    p, q = (Categorical(logits=logits.movedim(1, -1)) for logits in (first, second))
    expected = (kl_divergence(p, q) + kl_divergence(q, p)).mean() / 2
    torch.testing.assert_close(symmetric_kl(first, second), expected)
    gradients = torch.autograd.grad(symmetric_kl(first, second), (first, second))
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (first, second)))


def test_it_is_symmetric_and_nothing_for_the_same_prediction():
    first, second = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(1)).half()
    assert symmetric_kl(first, second) > 0
    torch.testing.assert_close(symmetric_kl(first, second), symmetric_kl(second, first))
    assert symmetric_kl(first, first + 2) < 1e-5, "logits say the same whatever is added to them all"


def test_the_loss_is_that_of_both_views_and_the_weighted_divergence_between_the_halves():
    """Images 0 and 1, then again: the divergence is between predictions for the same image."""
    logits = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    masks = [torch.randint(0, 3, (6, 6), generator=torch.Generator().manual_seed(i)) for i in range(2)] * 2
    loss = SegmentationTask().loss(lambda features: features[0], [logits], masks, consistency=0.5)
    divergence = sum(symmetric_kl(logits[i : i + 1], logits[i + 2 : i + 3]) for i in range(2)) / 2
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.stack(masks)) + 0.5 * divergence)
