"""silog_loss, depth_metrics and the protocols against reference implementations in float64."""

import math

import numpy as np
import pytest
import torch

from tadp_heads.depth import DepthMetrics, DepthProtocol, depth_metrics, predict_whole, predict_windows, silog_loss


def random_pair(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    pred = torch.rand(shape, generator=generator, dtype=dtype) * 9 + 0.2
    target = torch.rand(shape, generator=generator, dtype=dtype) * 12
    return pred, target * (torch.rand(shape, generator=generator) > 0.3)


def plain_silog(pred, target):
    logs = [
        math.log(t) - math.log(p) for p, t in zip(pred.flatten().tolist(), target.flatten().tolist(), strict=True) if t
    ]
    mean = sum(logs) / len(logs)
    return math.sqrt(sum(d * d for d in logs) / len(logs) - 0.5 * mean**2)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (3, 1, 7, 5)])
def test_silog_is_the_plain_formula(shape):
    pred, target = random_pair(*shape)
    assert float(silog_loss(pred, target)) == pytest.approx(plain_silog(pred, target), abs=1e-12)
    assert float(silog_loss(pred.float(), target.float())) == pytest.approx(plain_silog(pred, target), abs=1e-5)


def test_silog_gradient_is_the_slope():
    pred, target = random_pair(2, 1, 3, 4)
    pred.requires_grad_()
    silog_loss(pred, target).backward()
    for index in np.ndindex(*pred.shape):
        step = torch.zeros_like(pred)
        step[index] = 1e-6
        slope = (plain_silog(pred + step, target) - plain_silog(pred - step, target)) / 2e-6
        assert float(pred.grad[index]) == pytest.approx(slope, abs=1e-7)
    assert not pred.grad[target == 0].any()


def test_silog_without_values_and_at_a_perfect_fit_has_a_finite_gradient():
    for target in (torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0)):
        pred = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
        loss = silog_loss(pred, target)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
        assert torch.equal(pred.grad, torch.zeros_like(pred))


def test_a_common_factor_is_forgiven_in_part():
    target = torch.rand(1, 1, 8, 8) + 1
    assert float(silog_loss(2 * target, target)) == pytest.approx(math.log(2) * math.sqrt(0.5), abs=1e-6)


def plain_metrics(pred, target, rows=slice(None), columns=slice(None), low=1e-3, high=math.inf):
    """Mean over images of the formulas, image by image, in numpy."""
    images = []
    for p, t in zip(
        pred.reshape(-1, *pred.shape[-2:]).numpy(), target.reshape(-1, *pred.shape[-2:]).numpy(), strict=True
    ):
        p, t = p[rows, columns].ravel(), t[rows, columns].ravel()
        keep = (t > low) & (t < high)
        p, t = p[keep], t[keep]
        ratio, log = np.maximum(p / t, t / p), np.log(p) - np.log(t)
        images.append({
            "d1": (ratio < 1.25).mean(), "d2": (ratio < 1.25**2).mean(), "d3": (ratio < 1.25**3).mean(),
            "abs_rel": (abs(p - t) / t).mean(), "sq_rel": ((p - t) ** 2 / t).mean(),
            "rmse": ((p - t) ** 2).mean() ** 0.5, "rmse_log": (log**2).mean() ** 0.5,
            "log10": abs(np.log10(p) - np.log10(t)).mean(), "silog": ((log**2).mean() - 0.5 * log.mean() ** 2) ** 0.5,
        })  # fmt: skip
    return {name: float(np.mean([image[name] for image in images])) for name in images[0]}


def test_nyu_metrics_are_the_plain_formulas_within_the_crop():
    pred, target = random_pair(2, 1, 480, 640)
    expected = plain_metrics(pred, target, slice(45, 471), slice(41, 601), high=10.0)
    assert depth_metrics(pred, target) == pytest.approx(expected, abs=1e-12)
    outside = torch.ones(480, 640, dtype=torch.bool)
    outside[45:471, 41:601] = False
    changed = torch.where(outside, 0.01, pred)
    assert depth_metrics(changed, target) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(3, 1, 5, 7), (3, 5, 7), (5, 7)])
def test_full_metrics_are_the_plain_formulas_for_any_shape(shape):
    pred, target = random_pair(*shape)
    assert depth_metrics(pred, target, "full") == pytest.approx(plain_metrics(pred, target), abs=1e-12)


def test_batches_add_up_to_the_mean_over_images():
    pred, target = random_pair(5, 6, 6)
    target[4, 1:] = 0  # few pixels: a mean over pixels would weigh this image less
    together = depth_metrics(pred, target, "full")
    metrics = DepthMetrics("full")
    metrics.update(pred[:3], target[:3])
    metrics.update(pred[3:], target[3:])
    assert metrics.compute() == pytest.approx(together, abs=1e-12)
    assert together == pytest.approx(plain_metrics(pred, target), abs=1e-12)


def test_an_image_without_values_is_left_out_and_none_gives_nan():
    pred, target = random_pair(2, 6, 6)
    target[1] = 0
    assert depth_metrics(pred, target, "full") == pytest.approx(plain_metrics(pred[:1], target[:1]), abs=1e-12)
    assert all(math.isnan(v) for v in depth_metrics(pred, torch.zeros_like(target), "full").values())


def test_a_factor_of_exactly_a_quarter_is_not_within_it():
    target = torch.full((4, 4), 2.0)
    assert depth_metrics(target * 1.25, target, "full")["d1"] == 0
    assert depth_metrics(target * 1.2499, target, "full")["d1"] == 1
    assert depth_metrics(target * 1.1, target, "full")["abs_rel"] == pytest.approx(0.1, abs=1e-6)


def test_unusable_predictions_are_taken_for_the_ends_of_the_range():
    target = torch.full((480, 640), 5.0)
    pred = target.clone()
    pred[100, 100], pred[100, 101], pred[100, 102] = math.inf, math.nan, 20.0
    repaired = target.clone()
    repaired[100, 100], repaired[100, 101], repaired[100, 102] = 10.0, 1e-3, 20.0  # 20 m stays: not clamped
    assert depth_metrics(pred, target) == pytest.approx(depth_metrics(repaired, target), rel=1e-6)


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="unknown depth protocol 'kitti'; choose from full"):
        DepthMetrics("kitti")
    with pytest.raises(ValueError, match="meant for 480x640"):
        depth_metrics(torch.ones(64, 64), torch.ones(64, 64))
    with pytest.raises(ValueError, match="resize it first"):
        depth_metrics(torch.ones(1, 8, 8), torch.ones(1, 8, 9), "full")
    with pytest.raises(ValueError, match="differ in shape"):
        silog_loss(torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2))


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (40, 40), (30, 400), (33, 51)])
@pytest.mark.parametrize("flip", [False, True])
def test_windows_put_together_what_they_were_cut_from(size, flip):
    images = torch.rand(2, 3, *size)
    torch.testing.assert_close(predict_windows(lambda x: x[:, :1] + 1, images, flip), images[:, :1] + 1)


def test_nyu_windows_lie_where_the_paper_has_them_and_average():
    seen = []

    def predict(window):
        seen.append((tuple(window.shape[-2:]), int(window[0, 0, 0].min())))
        return torch.full((1, 1, *window.shape[-2:]), float(len(seen)))

    images = torch.arange(640.0).expand(1, 3, 480, 640)
    depth = predict_windows(predict, images)[0, 0]
    assert seen == [((480, 480), 0), ((480, 480), 160)]
    assert [float(depth[7, x]) for x in (0, 159, 160, 479, 480, 639)] == [1, 1, 1.5, 1.5, 2, 2]


def test_flip_averages_with_the_mirrored_prediction():
    ramp = torch.arange(8.0).expand(1, 1, 4, 8)
    depth = predict_whole(lambda x: x[:, :1] * ramp, torch.ones(1, 3, 4, 8), flip=True)
    torch.testing.assert_close(depth, torch.full((1, 1, 4, 8), 3.5))


def test_protocol_dispatches():
    protocol = DepthProtocol(windows=True)
    calls = []
    protocol.predict(lambda x: calls.append(x.shape) or x[:, :1], torch.zeros(1, 3, 10, 15))
    assert calls == [(1, 3, 10, 10)] * 2
