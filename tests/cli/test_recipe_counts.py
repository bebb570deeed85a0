"""Settings that are counts: no number and no NaN begins what never ends or fits in no memory."""

import pytest

from tadp_cli.config.recipe import load_recipe
from tadp_heads.depth.head import DepthHeadConfig
from tadp_heads.detection.head import FasterRCNNHeadConfig
from tadp_heads.segmentation.head import SegmentationHeadConfig
from tadp_personalize import DreamBoothConfig, LoraConfig, TextualInversionConfig

LEVELS = ((8, 8), (8, 16))
COUNTS = (
    *("train.steps", "train.batch_size", "train.accumulate", "train.save_every", "train.keep", "train.warmup"),
    *("train.workers", "train.eval_every", "train.crops", "train.lora_rank", "train.size", "prompt.vectors"),
    *("presence.folds", "presence.steps", "personalize.count", "personalize.rank", "data.min_tokens"),
)


@pytest.mark.parametrize("value", ["nan", "inf", "1e9", "1000000000", "9" * 400, "-1", "true"], ids=lambda v: v[:10])
@pytest.mark.parametrize("name", COUNTS)
def test_counts_that_are_none_are_refused_at_once(name, value):
    with pytest.raises(ValueError, match=rf"^--set {name}=\S+: .*expected (int|at |an integer)"):
        load_recipe("scenes-segmentation", (f"{name}={value}",))


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "9" * 400], ids=lambda v: v[:10])
@pytest.mark.parametrize(
    "name", ["train.lr", "train.clip", "train.weight_decay", "backbone.latent_scale", "presence.lr"]
)
def test_numbers_are_finite(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*, expected a finite number"):
        load_recipe("scenes-segmentation", (f"{name}={value}",))


@pytest.mark.parametrize("value", [float("nan"), 1e9, 10**9, "8", True, [8]])
@pytest.mark.parametrize(
    ("config", "name"),
    [
        (SegmentationHeadConfig, "width"),
        (SegmentationHeadConfig, "num_classes"),
        (DepthHeadConfig, "fusion_channels"),
        (FasterRCNNHeadConfig, "fpn_channels"),
        (FasterRCNNHeadConfig, "max_detections"),
    ],
)
def test_sizes_of_a_head_are_integers_that_memory_holds(config, name, value):
    given = {"levels": LEVELS} | ({} if config is DepthHeadConfig else {"num_classes": 3}) | {name: value}
    with pytest.raises(ValueError, match=f"^{name} is .*, expected (int|at most 65536)"):
        config(**given)


@pytest.mark.parametrize("value", [float("nan"), 1e9, 10**9])
def test_counts_of_personalization_are_bounded(value):
    for make in (
        lambda: TextualInversionConfig(vectors=value),
        lambda: TextualInversionConfig(steps=value),
        lambda: LoraConfig(rank=value),
        lambda: DreamBoothConfig(class_images=value),
        lambda: TextualInversionConfig(learning_rate=value if value != value else float("inf")),
    ):
        with pytest.raises(ValueError, match=r"must be (at least|at most|above 0)"):
            make()
