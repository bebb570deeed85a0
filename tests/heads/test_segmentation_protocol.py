"""Protocols: every pixel of every image is predicted, in the right place."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tadp_heads.levels import Level
from tadp_heads.segmentation import PROTOCOLS, SegmentationProtocol, SegmentationTask, predict_probabilities
from tadp_heads.segmentation.protocol import evaluation_mask, windows

SIZES = [(333, 517), (300, 4000), (4000, 300), (64, 64), (30, 17)]


class Painter:
    """A "network" whose logits say how red a pixel is, at a quarter of the size; it takes multiples of 16 only."""

    def __init__(self):
        self.sizes = []

    def __call__(self, images):
        assert images.shape[-2] % 16 == 0
        assert images.shape[-1] % 16 == 0
        self.sizes.append(tuple(images.shape[-2:]))
        red = F.avg_pool2d(images[:, :1], 4)
        return torch.cat([-20 * red, 20 * red], 1)


def halves(height, width, batch=2):
    """Left half blue, right half red; class 1 is red."""
    images = torch.full((batch, 3, height, width), -1.0)
    images[..., : width // 2][:, 2], images[..., width // 2 :][:, 0] = 1, 1
    return images, (images[:, 0] > 0).long()


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("size", SIZES)
def test_every_protocol_at_every_size(name, size):
    images, truth = halves(*size, batch=1)
    found = predict_probabilities(Painter(), images, PROTOCOLS[name], multiple=16)
    if PROTOCOLS[name].squash:
        truth = evaluation_mask(truth[0], PROTOCOLS[name])[None]
    assert found.shape == (1, 2, *truth.shape[-2:])
    torch.testing.assert_close(found.sum(1), torch.ones_like(truth, dtype=torch.float32))
    wrong = (found.argmax(1) != truth).float().mean(dim=(0, 1))  # by column
    middle = truth.shape[-1] // 2
    reach = max(4, truth.shape[-1] // 8)
    assert not wrong[: middle - reach].any()
    assert not wrong[middle + reach :].any()


@pytest.mark.parametrize("length", [1, 5, 511, 512, 513, 853, 1000, 2048])
def test_windows_cover_every_pixel(length):
    spans = windows(length, 512, 341)
    assert {x for start, end in spans for x in range(start, end)} == set(range(length))
    assert all(end - start == min(512, length) for start, end in spans)
    count = max(length - 512 + 341 - 1, 0) // 341 + 1  # mmsegmentation's h_grids
    assert len(spans) == count


def test_overlapping_windows_are_averaged():
    calls = iter([0.0, 8.0])

    def constant(images):
        return torch.full((1, 1, *images.shape[-2:]), next(calls))

    logits = []

    def spy(images):
        logits.append(constant(images))
        return torch.cat([logits[-1], -logits[-1]], 1)

    found = predict_probabilities(spy, torch.zeros(1, 3, 16, 24), SegmentationProtocol(crop=16, stride=8), multiple=16)
    expected = torch.tensor([0.0, 4.0, 8.0]).repeat_interleave(8)
    torch.testing.assert_close(found[0, 0, 0], torch.sigmoid(2 * expected))


def test_flip_is_undone_and_averaged():
    def left_biased(images):
        ramp = torch.linspace(3, -1, images.shape[-1]).expand(images.shape[0], 1, *images.shape[-2:])
        return torch.cat([ramp, -ramp], 1)

    images = torch.zeros(1, 3, 16, 32)
    once = predict_probabilities(left_biased, images, SegmentationProtocol(), multiple=16)
    both = predict_probabilities(left_biased, images, SegmentationProtocol(flip=True), multiple=16)
    torch.testing.assert_close(both, (once + once.flip(-1)) / 2)


def test_fit_follows_mmsegmentation():
    """Resize((2048, 512), keep_ratio): the side that reaches its limit first decides."""
    for size, expected in [((333, 517), (512, 795)), ((300, 4000), (154, 2048)), ((1000, 1000), (512, 512))]:
        painter = Painter()
        predict_probabilities(painter, torch.zeros(1, 3, *size), SegmentationProtocol(fit=(2048, 512)), multiple=16)
        assert painter.sizes == [tuple(-(-side // 16) * 16 for side in expected)]


def test_squashed_labels_are_nearest():
    mask = torch.randint(0, 200, (30, 50))
    squashed = evaluation_mask(mask, PROTOCOLS["squash-512"])
    rows, columns = (torch.arange(512) * 30 // 512), (torch.arange(512) * 50 // 512)
    assert torch.equal(squashed, mask[rows][:, columns])


def test_task_predicts_each_image_once_whatever_the_batch():
    class Head(torch.nn.Module):
        input_levels = (Level(1, 16),)

        def forward(self, features):
            return Painter()(features[0])

    task = SegmentationTask()
    images, truth = halves(40, 56, batch=5)
    for batch in (1, 2, 5):
        found = [p for part in images.split(batch) for p in task.predict(Head(), lambda x: [x], part, "whole")]
        assert len(found) == 5
        metric = task.metric(["blue", "red"], "whole")
        for prediction, target in zip(found, truth, strict=True):
            metric.update(prediction, task.evaluation_target(target, "whole"))
        assert metric.compute()["mIoU"] > 0.9


def test_wrong_protocols():
    with pytest.raises(ValueError, match="unknown segmentation protocol 'fast'"):
        SegmentationTask().metric(["a"], "fast")
    with pytest.raises(ValueError, match="left out"):
        SegmentationProtocol(crop=100, stride=101)
    with pytest.raises(ValueError, match="at most one"):
        replace(PROTOCOLS["ade"], squash=512)
