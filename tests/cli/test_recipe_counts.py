"""Settings that are counts: no number and no NaN begins what never ends or fits in no memory."""

import pytest

from tadp_cli.config.recipe import load_recipe
from tadp_cli.inputs.preflight_checks import check_head, check_loss
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
    "name", ["train.lr", "train.clip", "backbone.latent_scale", "presence.lr", "loss.gamma", "head.a"]
)
def test_numbers_are_finite(name, value):
    with pytest.raises(ValueError, match=rf"{name} is .*, expected (a finite number|an integer of 64 bits)"):
        load_recipe("scenes-segmentation", (f"{name}={value}",))


@pytest.mark.parametrize(
    "setting",
    [
        *("train.lr=0", "train.lr=1e9", "train.power=-1", "train.power=1e50", "train.weight_decay=1e50"),
        *("backbone.latent_scale=1e50", "presence.lr=-1", "backbone.timestep=1000"),
    ],
)
def test_numbers_with_which_nothing_is_learned_are_refused(setting):
    with pytest.raises(ValueError, match=rf"^--set {setting}: .* is .*, expected (above 0|at least 0|at most)"):
        load_recipe("scenes-segmentation", (setting,))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("loss.kind=focal", "loss.gamma=1e9"), "gamma is .*, expected 0 to 100"),
        (("loss.kind=focal", "loss.gamma=-1"), "gamma is -1.*, expected 0 to 100"),
        (("loss.kind=focal", "loss.gamma=big"), "loss.gamma is 'big', expected float"),
        (("loss.average=some",), "unknown average 'some'"),
        (("loss.kind=3",), "loss.kind is 3, expected str"),
        (("loss.ignore_index=7",), "unknown 'ignore_index'"),
    ],
)
def test_values_that_a_loss_does_not_take_are_refused_before_captions(settings, said):
    with pytest.raises(ValueError, match=said):
        check_loss(load_recipe("scenes-segmentation", settings))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("head.width=60000", "head.inner_width=60000"), r"settings of head: .* GiB of weights, and this machine"),
        (("head.depth=3",), "settings of head: .*unexpected keyword argument 'depth'"),
        (("head.width=1.5",), "settings of head: width is 1.5, expected int"),
    ],
)
def test_settings_that_a_head_does_not_take_are_refused_before_captions(settings, said):
    with pytest.raises(ValueError, match=said):
        check_head(load_recipe("scenes-segmentation", settings), LEVELS, ("a", "b"))


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
