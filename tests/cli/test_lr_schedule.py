"""Learning-rate curves of the recipes, against the numbers of docs/reference.md, section 4, in the formulas of the
software that ran them."""

import pytest

from tadp_cli.config.recipe import load_recipe
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.lr_schedule import learning_rate_factor


def _rate(step, config):
    return config.lr * learning_rate_factor(step, config)


def _mmcv(step, *, lr, steps, warmup, ratio=1e-6):
    """PolyLrUpdaterHook(power=1, min_lr=0) with linear warm-up, mmcv 1.6: get_lr, then get_warmup_lr."""
    regular = lr * (1 - step / steps)
    return regular * (1 - (1 - step / warmup) * (1 - ratio)) if step < warmup else regular


@pytest.mark.parametrize(
    ("name", "lr", "steps", "warmup"),
    [
        ("ade20k", 8e-5, 80_000, 1500),
        ("ade20k-8k", 1.6e-4, 8000, 150),
        ("ade20k-4k", 1.6e-4, 4000, 75),
        ("cityscapes-dark-zurich", 8e-5, 40_000, 1500),
        ("cityscapes-nighttime-driving", 8e-5, 40_000, 1500),
    ],
)
def test_ade20k_and_cityscapes(name, lr, steps, warmup):
    config = load_recipe(name).train
    for step in (0, 1, warmup // 2, warmup - 1, warmup, steps // 2, steps - 1):
        assert _rate(step, config) == pytest.approx(_mmcv(step, lr=lr, steps=steps, warmup=warmup), rel=1e-9)
    assert _rate(0, config) == pytest.approx(lr * 1e-6)
    assert _rate(steps // 2, config) == pytest.approx(lr / 2)


def test_nyu_rises_to_its_peak_after_12_of_25_epochs_and_falls_to_where_it_began():
    config = load_recipe("nyuv2").train
    epoch = 24_231 // 24
    half = 12 * epoch
    for step in (0, epoch, half - 2, half - 1, half, 20 * epoch, 24 * epoch - 1, 25 * epoch - 1):
        count = step + 1  # the reference counts from 1
        if count < half:
            expected = (5e-4 - 3e-5) * (count / half) ** 0.9 + 3e-5
        else:
            expected = max((3e-5 - 5e-4) * (count / half - 1) ** 0.9 + 5e-4, 3e-5)
        assert _rate(step, config) == pytest.approx(expected, rel=1e-9)
    assert _rate(half - 1, config) == pytest.approx(5e-4)
    assert _rate(25 * epoch - 1, config) == pytest.approx(3e-5)


def test_one_epoch_of_nyu_has_one_rate():
    config = load_recipe("nyuv2-1-epoch").train
    assert {_rate(step, config) for step in (0, 500, 1008)} == {5e-4}


def test_pascal_falls_with_power_nine_tenths_from_the_first_step():
    config = load_recipe("voc2012").train
    micro = 5291 * 15
    for step in (0, 1000, 10_000, 19_000):
        assert _rate(step, config) == pytest.approx(1e-5 * (1 - 4 * step / micro) ** 0.9, rel=1e-3)


@pytest.mark.parametrize("name", ["voc-art", "voc-watercolor2k", "voc-comic2k"])
def test_nothing_changes_for_detection(name):
    """The reference's lambda counts epochs against images times epochs: over a hundred it loses a ten-thousandth."""
    config = load_recipe(name).train
    for step in (0, 400_000, 827_549):
        epoch = step * 2 // 16_551
        assert _rate(step, config) == pytest.approx(1e-5 * (1 - epoch / (16_551 * 100)) ** 0.9, rel=1e-4)


@pytest.mark.parametrize("schedule", ["poly", "cosine", "poly-mmcv"])
def test_schedules_end_at_the_smallest_rate(schedule):
    config = TrainConfig(lr=1e-3, min_lr=1e-4, steps=1000, warmup=10, schedule=schedule)
    assert _rate(999, config) == pytest.approx(1e-4, rel=1e-2)
    assert _rate(999, config) >= 1e-4
