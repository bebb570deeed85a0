"""Losses and mIoU against reference implementations and torchmetrics."""

import math

import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_jaccard_index

from tadp_heads.segmentation import MeanIoU, cross_entropy, focal_loss


def example(seed=0, shape=(2, 7, 9), classes=4, ignored=0.3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, classes, shape, generator=generator)
    target[torch.rand(shape, generator=generator) < ignored] = 255
    return logits, target


def plain_cross_entropy(logits, target, by_all):
    total, valid = 0.0, 0
    for b, y, x in torch.cartesian_prod(*(torch.arange(n) for n in target.shape)).tolist():
        if target[b, y, x] != 255:
            pixel = logits[b, :, y, x]
            total = total + pixel.exp().sum().log() - pixel[target[b, y, x]]
            valid += 1
    return total / (target.numel() if by_all else valid)


@pytest.mark.parametrize("average", ["valid", "all"])
def test_cross_entropy_and_its_gradient(average):
    logits, target = example()
    loss, expected = (
        cross_entropy(logits, target, average=average),
        plain_cross_entropy(logits, target, average == "all"),
    )
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    grad, expected_grad = (torch.autograd.grad(value, logits)[0] for value in (loss, expected))
    torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-14)


def test_mean_over_all_is_the_share_of_valid_pixels_of_the_other():
    """docs/reference.md, section 1: 0.84375 of it when 84.375 % are valid."""
    logits, target = torch.randn(1, 3, 8, 4), torch.zeros(1, 8, 4, dtype=torch.int64)
    target.view(-1)[:5] = 255
    ratio = cross_entropy(logits, target, average="all") / cross_entropy(logits, target)
    assert ratio.item() == pytest.approx(0.84375, rel=1e-6)


def test_focal_loss_and_its_gradient():
    logits, target = example(classes=21)
    valid = target != 255
    expected = 0.0
    for k in range(21):  # The sum over classes, each the mean over valid pixels, of -(1 - p)^2 log p.
        p = torch.sigmoid(logits[:, k][valid])
        p = torch.where(target[valid] == k, p, 1 - p)
        expected = expected - ((1 - p) ** 2 * p.log()).mean()
    loss = focal_loss(logits, target)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    grad, expected_grad = (torch.autograd.grad(value, logits)[0] for value in (loss, expected))
    torch.testing.assert_close(grad, expected_grad, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("loss", [cross_entropy, focal_loss])
def test_nothing_labelled_gives_zero_not_nan(loss):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    value = loss(logits, torch.full((1, 4, 4), 255))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


def test_small_logits_are_brought_to_the_label():
    logits, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 16, 20))
    large = F.interpolate(logits, (16, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(cross_entropy(logits, target), F.cross_entropy(large, target))


@pytest.mark.parametrize("seed", range(3))
def test_miou_against_torchmetrics(seed):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 5, (6, 11, 13), generator=generator)
    prediction = torch.randint(0, 5, target.shape, generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    metric = MeanIoU(5)
    for guess, truth in zip(prediction, target, strict=True):
        metric.update(guess, truth)
    options = {"num_classes": 5, "ignore_index": 255}
    expected = multiclass_jaccard_index(prediction, target, average="macro", **options)
    each = multiclass_jaccard_index(prediction, target, average="none", **options)
    assert metric.compute()["mIoU"] == pytest.approx(expected.item(), abs=1e-6)
    assert list(metric.per_class().values()) == pytest.approx(each.tolist(), abs=1e-6)
    valid = target != 255
    assert metric.compute()["aAcc"] == pytest.approx((prediction == target)[valid].double().mean().item())


def test_absent_classes():
    target, prediction = torch.tensor([[0, 0, 1, 255]]), torch.tensor([[0, 1, 1, 2]])
    skip, one = MeanIoU(["a", "b", "c"]), MeanIoU(["a", "b", "c"], absent="one")
    for metric in (skip, one):
        metric.update(prediction, target)
    # a: 1 of {0, 1}; b: 1 of {1, 2}; c occurs only under an ignored pixel.
    assert skip.compute()["mIoU"] == pytest.approx(0.5)
    assert one.compute()["mIoU"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert math.isnan(skip.per_class()["c"])


def test_a_class_predicted_but_never_there_counts_as_zero():
    metric = MeanIoU(3)
    metric.update(torch.tensor([[0, 2]]), torch.tensor([[0, 0]]))
    assert metric.compute()["mIoU"] == pytest.approx(0.25)


def test_order_and_batches_do_not_matter():
    torch.manual_seed(1)
    prediction, target = torch.randint(0, 3, (5, 8, 8)), torch.randint(0, 3, (5, 8, 8))
    at_once, one_by_one = MeanIoU(3), MeanIoU(3)
    at_once.update(F.one_hot(prediction, 3).movedim(-1, 1).float(), target)  # logits
    for i in (3, 1, 4, 0, 2):
        one_by_one.update(prediction[i], target[i])
    assert at_once.compute() == one_by_one.compute()


def test_wrong_input():
    with pytest.raises(ValueError, match=r"target ids 0\.\.9"):
        MeanIoU(3).update(torch.zeros(1, 2, dtype=torch.int64), torch.tensor([[0, 9]]))
    with pytest.raises(ValueError, match="resize it first"):
        MeanIoU(3).update(torch.zeros(4, 4), torch.zeros(8, 8))
    with pytest.raises(ValueError, match="choose from valid, all"):
        cross_entropy(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2), average="some")
