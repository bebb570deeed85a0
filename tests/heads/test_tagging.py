"""Heads that say which classes are in an image, and the threshold above which they are believed."""

import pytest
import torch

from tadp_heads.levels import Level
from tadp_heads.tagging import PresenceHead, calibrate
from tadp_heads.tagging.head import pool

LEVELS = (Level(6, 4), Level(5, 8))


def features(count):
    return [torch.randn(count, 6, 8, 8), torch.randn(count, 5, 4, 4)]


@pytest.mark.parametrize("precision", [0.5, 0.7, 0.9])
def test_threshold_has_the_most_recall_at_the_precision(precision):
    torch.manual_seed(0)
    present = (torch.rand(80, 6) < 0.3).float()
    # Few values, so that many pairs have one probability.
    probabilities = ((present * 0.4 + torch.rand(80, 6)).clamp(max=1.2) * 15).round() / 18
    found = calibrate(probabilities, present, precision)

    def at(threshold):
        named = probabilities.double() >= threshold
        right = (named & present.bool()).sum().item()
        return right / named.sum().item(), right / present.sum().item()

    tried = [at(value) for value in probabilities.double().unique().tolist()]
    best = max(recall for reached, recall in tried if reached >= precision)
    assert found.recall == pytest.approx(best)
    assert at(found.threshold) == pytest.approx((found.precision, found.recall))


def test_a_precision_out_of_reach_is_one_line():
    with pytest.raises(ValueError, match=r"0\.9 is not reached .* highest is 0\.500: ask for less with presence.prec"):
        calibrate(torch.tensor([[0.3, 0.3]]), torch.tensor([[1.0, 0.0]]), 0.9)
    with pytest.raises(ValueError, match="expected one shape, and a present class"):
        calibrate(torch.rand(2, 2), torch.zeros(2, 2), 0.5)


def test_presence_head_begins_with_what_the_caption_says():
    head = PresenceHead(LEVELS, 3).eval()
    mentioned = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert torch.equal(head(features(2), mentioned) > 0, mentioned.bool())


def test_presence_head_learns_from_features_alone():
    torch.manual_seed(0)
    images = features(64)
    # Class 0 is there where the finest level's first channel has a high maximum, class 1 where the second's mean is.
    truth = torch.stack([images[0][:, 0].amax((1, 2)) > 2.2, images[1][:, 1].mean((1, 2)) > 0], 1).float()
    head, mentioned = PresenceHead(LEVELS, 2, dropout=0.0), torch.zeros(64, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=2e-2)
    for _ in range(120):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(head(images, mentioned), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((head.eval()(images, mentioned) > 0).float() == truth).float().mean() > 0.95


def test_pool_gives_means_and_maxima_of_each_level():
    levels = features(2)
    pooled = pool([level.half() for level in levels])
    assert (pooled.shape, pooled.dtype) == ((2, 22), torch.float32)
    torch.testing.assert_close(pooled[:, :6], levels[0].half().float().mean((2, 3)))
    torch.testing.assert_close(pooled[:, 17:], levels[1].half().float().flatten(2).max(2).values)


def test_the_head_is_saved_and_loaded(tmp_path):
    head = PresenceHead(LEVELS, 3, width=8).eval()
    head.save_pretrained(tmp_path)
    again = type(head).from_pretrained(tmp_path)
    assert again.config == head.config
    for name, value in head.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
