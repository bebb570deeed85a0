"""Heads that say which classes are in an image, and the threshold above which they are believed."""

import pytest
import torch

from tadp_heads.levels import Level
from tadp_heads.segmentation import FPNHead
from tadp_heads.tagging import (
    PassSettings,
    PresenceHead,
    SelfPrompting,
    calibrate,
    conformal_threshold,
    train_self_prompting,
)
from tadp_heads.tagging.head import pool
from tadp_heads.tagging.mask_evidence import evidence_of, fit_evidence

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


def drawn(count, seed):
    """A tagger's probabilities, to two decimals, and the labels of so many images of one kind."""
    draw = torch.Generator().manual_seed(seed)
    present = (torch.rand(count, 6, generator=draw) < 0.3).float()
    return (present * 0.5 + torch.rand(count, 6, generator=draw) * 0.5).mul(100).round() / 100, present


def named_share(probabilities, present, threshold):
    """Mean over images with classes of the share of them that is named."""
    rows = present.any(1)
    return (((probabilities >= threshold) * present).sum(1)[rows] / present.sum(1)[rows]).mean().item()


def test_a_conformal_threshold_names_the_share_with_its_confidence():
    """In at least 90 % of the draws of a calibration set; and not by naming everything."""
    everyone = drawn(20_000, seed=1_000)
    shares = [
        named_share(*everyone, conformal_threshold(*drawn(150, seed), recall=0.8).threshold) for seed in range(40)
    ]
    assert sum(share >= 0.8 for share in shares) >= 36
    assert max(shares) < 0.97


def test_a_conformal_threshold_asks_for_enough_images():
    with pytest.raises(ValueError, match=r"with classes cannot show with a confidence of 0\.9 that a share of 0\.95"):
        conformal_threshold(*drawn(20, seed=0), recall=0.95)


def test_evidence_of_a_mask_is_area_and_confidence():
    masks = torch.full((1, 3, 10, 10), 0.01)
    masks[0, 1, 2:7, 2:6] = 0.9  # 20 of 100 pixels
    masks[0, 2, 0, 0] = 0.9
    area, confidence = evidence_of(masks)[0].unbind(1)
    assert area.argsort().tolist() == [0, 2, 1]
    assert confidence[1] == confidence[2] > confidence[0]
    present = torch.tensor([[0.0, 1.0, 0.0]]).expand(40, 3)
    found = fit_evidence(evidence_of(masks).expand(40, 3, 2), present)(evidence_of(masks))
    assert (found.sigmoid().round() == present[:1]).all()


def squares(count):
    """Images of 32 x 32 pixels with a red or a green square on black, their masks, and which of both is there."""
    draw = torch.Generator().manual_seed(3)
    images, masks = torch.zeros(count, 3, 32, 32), torch.zeros(count, 32, 32, dtype=torch.int64)
    for index in range(count):
        label = index % 2
        top, left = (int(torch.randint(16, (), generator=draw)) for _ in range(2))
        images[index, label, top : top + 16, left : left + 16] = 1
        masks[index, top : top + 16, left : left + 16] = label + 1
    return images, masks, torch.nn.functional.one_hot(torch.arange(count) % 2, 2).float()


def extract(images, texts):
    """A pyramid that takes no notice of the texts."""
    return [torch.nn.functional.avg_pool2d(images, stride).repeat(1, 2, 1, 1) for stride in (2, 4)]


def self_prompting(masks, present, passes=1):
    images = squares(len(masks))[0]
    return train_self_prompting(
        images,
        masks,
        [""] * len(images),
        present,
        names=("red", "green"),
        labels=(1, 2),
        build_head=lambda: FPNHead((Level(6, 2), Level(6, 4)), 3, "ade", width=8),
        extract=extract,
        choose=lambda found, present: calibrate(found, present, 0.4),
        settings=PassSettings(passes=passes, folds=2, steps=25, lr=2e-2, batch_size=4, seed=0),
    )


def test_self_prompting_finds_the_classes_of_its_own_mask_and_is_kept(tmp_path):
    images, masks, present = squares(12)
    tagger, found = self_prompting(masks, present, passes=2)
    assert ((found > 0.5) == present.bool()).float().mean() > 0.9
    tagger.save_pretrained(tmp_path)
    again, texts = SelfPrompting.from_pretrained(tmp_path), [""] * 12
    assert torch.equal(again.probabilities(images, texts, extract), tagger.probabilities(images, texts, extract))
    assert [one.threshold for one in again.passes] == [one.threshold for one in tagger.passes]


def test_the_mask_of_a_training_image_does_not_depend_on_its_labels(monkeypatch):
    seen = []

    def fitted(evidence, present):
        seen.append(evidence)
        return fit_evidence(evidence, present)

    monkeypatch.setattr("tadp_heads.tagging.train_passes.fit_evidence", fitted)
    _, masks, present = squares(8)
    other_masks, other = masks.clone(), present.clone()
    other_masks[3], other[3] = (masks[3] > 0) * (3 - masks[3]), 1 - present[3]
    self_prompting(masks, present)
    self_prompting(other_masks, other)
    first, second = seen
    assert torch.equal(first[3], second[3])
    assert not torch.equal(first, second)
