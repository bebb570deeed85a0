"""Memory and hours of a recipe, estimated without weights, data or a GPU."""

import pytest
from invoking import tadp

from tadp_backbone import DiffusionBackbone
from tadp_backbone.summary import describe
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines import training_cost
from tadp_cli.pipelines.memory_estimate import SCENES_SIDE, estimated_bytes, estimated_flops
from tadp_cli.pipelines.training_cost import PASS_SECONDS, TrainingCosts

BATCH = ("train.unet_lr_scale=0.1", "train.batch_size=32")


def test_half_precision_keeps_smaller_activations():
    """torch's autocast does not reach tensors without memory: both were estimated as in float32."""
    full, half = (
        estimated_bytes(load_recipe("scenes-segmentation", (*BATCH, f"train.precision={precision}")), 13, 77)
        for precision in ("fp32", "bf16")
    )
    weights = estimated_bytes(load_recipe("scenes-segmentation", ("train.batch_size=1",)), 13, 77)
    assert 0.4 < (half - weights) / (full - weights) < 0.85


@pytest.mark.slow
def test_checkpointing_adds_one_pass_forward_of_the_unet():
    plain, checkpointed = (
        estimated_flops(load_recipe("scenes-segmentation", (*BATCH, f"train.gradient_checkpointing={on}")), 13, 77)
        for on in ("false", "true")
    )
    unet = 1e9 * describe(DiffusionBackbone.from_pretrained("tiny"), SCENES_SIDE).gflops["unet"]
    assert plain > 3 * unet
    assert 0.6 * unet < checkpointed - plain <= unet, "all but the last operations of blocks"


def test_hours_are_those_of_all_passes_and_recipes_that_take_the_same_are_estimated_once(monkeypatch):
    asked = []
    monkeypatch.setattr(training_cost, "estimated_flops", lambda recipe, *_: 1e12)
    monkeypatch.setattr(training_cost, "estimated_bytes", lambda recipe, *_: asked.append(recipe) or 5e9)
    costs = TrainingCosts()
    small = costs.of(load_recipe("voc2012"), "bf16")  # 19841 steps of 4 passes: as long as kernels take to launch
    assert small == pytest.approx((5e9, 19_841 * 4 * PASS_SECONDS["bf16"] / 3600))
    large = costs.of(load_recipe("nyuv2"), "fp32")
    assert large.hours == pytest.approx(25_225 * 24 * 1e12 / training_cost.FLOPS["fp32"] / 3600)
    assert costs.of(load_recipe("nyuv2-1-epoch"), "fp32").hours < large.hours / 20
    assert [recipe.train.precision for recipe in asked] == ["bf16", "fp32"]


def test_the_command_lists_both_precisions(monkeypatch):
    monkeypatch.setattr(training_cost, "estimated_flops", lambda recipe, *_: 1e12)
    monkeypatch.setattr(training_cost, "estimated_bytes", lambda recipe, *_: 5e9)
    said = tadp("recipes", "nyuv2-1-epoch", "--costs")
    assert "nyuv2-1-epoch: 1009 steps of 1 x 24 images, fp32 5 GB 0.1 h, bf16 5 GB 0.0 h" in said
