"""What the shipped recipes train with, against the numbers of docs/reference.md, section 4, and their targets."""

from dataclasses import asdict

import pytest

from tadp_cli.config.inheritance import shipped_recipes
from tadp_cli.config.paper_tables import row_names
from tadp_cli.config.recipe import load_recipe

COMMON = {
    "betas": (0.9, 0.999),
    "clip": 0,
    "ema": 0,
    "lora_rank": 0,
    "freeze": (),
    "precision": "fp32",
    "crops": 0,
    "seed": 42,
}
NOT_LEARNED = {"flip", "cache", "features_gb", "workers", "save_every", "keep", "eval_every"}
NOT_LEARNED |= {"gradient_checkpointing", "log_with", "shard"}
"""Settings that change no weight; flip is for recipes without a transform."""

MMSEG = {"groups": "norms-apart", "schedule": "poly-mmcv", "power": 1, "min_lr": 0, "unet_lr_scale": 0.1, "size": 512}
ADE = MMSEG | {"weight_decay": 0.005, "transform": "ade", "batch_size": 16, "accumulate": 1}
CITYSCAPES = MMSEG | {"weight_decay": 0.001, "transform": "cityscapes", "accumulate": 1}
CITYSCAPES |= {"lr": 8e-5, "steps": 40_000, "warmup": 1500}
NYU = {"groups": "vectors-undecayed", "lr": 5e-4, "weight_decay": 0.1, "unet_lr_scale": 0.01, "power": 0.9}
NYU |= {"min_lr": 3e-5, "transform": "nyu", "size": 480, "batch_size": 24, "accumulate": 1}
VOC = {"groups": "norms-apart", "lr": 1e-5, "weight_decay": 0.01, "unet_lr_scale": 1, "warmup": 0, "batch_size": 2}
VOC |= {"size": 512, "min_lr": 0}
VOC_BOXES = VOC | {"schedule": "constant", "power": 1, "accumulate": 1, "transform": "squash", "steps": 827_550}

REFERENCE = {
    "ade20k": ADE | {"lr": 8e-5, "steps": 80_000, "warmup": 1500},
    "ade20k-8k": ADE | {"lr": 1.6e-4, "steps": 8000, "warmup": 150},
    "ade20k-4k": ADE | {"lr": 1.6e-4, "steps": 4000, "warmup": 75},
    "cityscapes-dark-zurich": CITYSCAPES | {"batch_size": 2},
    "cityscapes-nighttime-driving": CITYSCAPES | {"batch_size": 16},
    # 24231 images make 1009 batches of 24; 25 epochs, of which the rate rises in 12.
    "nyuv2": NYU | {"schedule": "rise-fall", "steps": 25_225, "warmup": 12_108},
    "nyuv2-1-epoch": NYU | {"schedule": "constant", "steps": 1009, "warmup": 0},
    # 15 epochs of 5291 passes of two images, four to a step.
    "voc2012": VOC | {"schedule": "poly", "power": 0.9, "accumulate": 4, "transform": "pascal", "steps": 19_841},
    # 100 epochs of 16551 images, two to a step.
    "voc-art": VOC_BOXES,
    "voc-watercolor2k": VOC_BOXES,
    "voc-comic2k": VOC_BOXES,
}

IMAGE_READERS = 8
"""One core decodes and varies 10 images of Cityscapes per second, a GPU trains on more."""

ROWS = {
    "table-1/": "voc2012",
    "table-2/": "ade20k",
    "table-3/": "nyuv2",
    "table-3/fast-": "nyuv2-1-epoch",
    "table-4/dark-zurich-": "cityscapes-dark-zurich",
    "table-4/nighttime-driving-": "cityscapes-nighttime-driving",
    "table-5/watercolor-": "voc-watercolor2k",
    "table-5/comic-": "voc-comic2k",
    "table-s1/4k-": "ade20k-4k",
    "table-s1/8k-": "ade20k-8k",
    "table-s2/": "ade20k-4k",
}
"""Whose training the rows of the paper's tables have; the longest beginning counts."""


@pytest.mark.parametrize("name", REFERENCE)
def test_training_is_that_of_the_reference(name):
    recipe = load_recipe(name)
    learned = {key: value for key, value in asdict(recipe.train).items() if key not in NOT_LEARNED}
    assert learned == COMMON | REFERENCE[name]
    assert recipe.seeds == (42,)
    assert recipe.train.workers == IMAGE_READERS


def test_batches_of_nyuv2_are_whole_and_fit_into_80_gb_by_checkpointing():
    """BatchNorm would see other statistics in smaller ones."""
    for name in ("nyuv2", "nyuv2-1-epoch"):
        assert load_recipe(name).train.gradient_checkpointing


def test_every_recipe_of_the_paper_is_compared():
    """The others are for Scenes or one's own images, of later data, or what the two to night have in common."""
    own = {"segmentation", "depth", "detection", "cityscapes-night", "cityscapes-acdc"}
    assert {name for name in shipped_recipes() if not name.startswith("scenes-")} - own == set(REFERENCE)


def test_rows_of_the_tables_train_as_their_schedule_says():
    rows = [name for name in row_names() if name.startswith("table-") and "-miniature/" not in name]
    assert len(rows) > 60
    for row in rows:
        base = ROWS[max((beginning for beginning in ROWS if row.startswith(beginning)), key=len)]
        assert load_recipe(row).train == load_recipe(base).train, row
