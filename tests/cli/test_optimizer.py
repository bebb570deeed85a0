"""Which tensors get which rate and decay, at full width on the meta device, against docs/reference.md, section 4."""

import pytest
import torch
from diffusers import Transformer2DModel, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from torch import nn

from tadp_backbone import DiffusionBackbone
from tadp_backbone.registry import BACKBONES
from tadp_cli.config.recipe import load_recipe
from tadp_heads.segmentation import FPNHead
from tadp_heads.tasks import get_task
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.optimizer import choose_trained, describe_groups, parameter_groups


def _on_meta() -> DiffusionBackbone:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**BACKBONES["sd15"].unet)
    return DiffusionBackbone(unet=unet)


@pytest.fixture(scope="module")
def backbone():
    return _on_meta()


@pytest.fixture(scope="module")
def head():
    with torch.device("meta"):
        return FPNHead(BACKBONES["sd15"].levels, 150, "ade")


def _groups(head, backbone, config):
    return {group["name"]: group for group in parameter_groups(choose_trained(head, backbone, config), config)}


def _settings(name, backbone):
    """The head that a recipe trains, and {id of a parameter: (learning rate, weight decay)}."""
    recipe = load_recipe(name)
    with torch.device("meta"):
        head = get_task(recipe.task).build_head(BACKBONES["sd15"].levels, ["a", "b", "c"], **recipe.head)
    groups = parameter_groups(choose_trained(head, backbone, recipe.train), recipe.train)
    return head, {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def _without_output_layers(unet):
    """No gradient reaches them."""
    behind = {id(p) for module in (unet.conv_norm_out, unet.conv_out) for p in module.parameters()}
    return [p for p in unet.parameters() if id(p) not in behind]


@pytest.mark.parametrize(
    ("name", "head_rate", "unet_rate", "decay"),
    [
        ("ade20k", 8e-5, 8e-6, 0.005),
        ("ade20k-8k", 1.6e-4, 1.6e-5, 0.005),
        ("ade20k-4k", 1.6e-4, 1.6e-5, 0.005),
        ("cityscapes-dark-zurich", 8e-5, 8e-6, 0.001),
        ("cityscapes-nighttime-driving", 8e-5, 8e-6, 0.001),
        ("voc2012", 1e-5, 1e-5, 0.01),
        ("voc-watercolor2k", 1e-5, 1e-5, 0.01),
        ("voc-comic2k", 1e-5, 1e-5, 0.01),
    ],
)
def test_norms_of_the_transformers_train_at_the_heads_rate_without_decay(name, head_rate, unet_rate, decay, backbone):
    head, settings = _settings(name, backbone)
    owners = [m for m in backbone.unet.modules() if isinstance(m, (Transformer2DModel, BasicTransformerBlock))]
    children = [child for owner in owners for child in owner.children()]
    norms = {id(p) for c in children if isinstance(c, (nn.GroupNorm, nn.LayerNorm)) for p in c.parameters()}
    assert len(norms) == 128
    unet = _without_output_layers(backbone.unet)
    # The reference's 686 without the output layers' four, which no gradient reaches.
    assert len(unet) == 128 + 558 - 4
    for parameter in unet:
        rate, wanted = (head_rate, 0) if id(parameter) in norms else (unet_rate, decay)
        assert settings.pop(id(parameter)) == (pytest.approx(rate, rel=1e-9), wanted)
    # Biases and normalisation of the head are decayed too.
    assert settings == {id(p): (head_rate, decay) for p in head.parameters()}


@pytest.mark.parametrize("name", ["nyuv2", "nyuv2-1-epoch"])
def test_nyu_vectors_and_biases_are_not_decayed(name, backbone):
    head, settings = _settings(name, backbone)
    for parameters, rate in ((head.parameters(), 5e-4), (_without_output_layers(backbone.unet), 5e-6)):
        for parameter in parameters:
            wanted = 0.1 if parameter.ndim > 1 else 0
            assert settings.pop(id(parameter)) == (pytest.approx(rate, rel=1e-9), wanted)
    assert not settings


def test_what_matched_is_reported_in_numbers(head, backbone):
    config = TrainConfig(lr=8e-5, groups="norms-apart")
    lines = describe_groups(parameter_groups(choose_trained(head, backbone, config), config))
    count = sum(p.numel() for p in head.parameters())
    assert (
        lines[0] == f"head: {len(list(head.parameters()))} tensors, {count:,} parameters, lr 8e-05, weight decay 0.005"
    )
    assert "unet norms: 128 tensors" in lines[1] + lines[2]


def test_frozen_patterns_do_not_train_and_unknown_ones_are_refused(head, backbone):
    config = TrainConfig(freeze=("unet.down_blocks.*", "head.fpn.neck.*"))
    trained = choose_trained(head, backbone, config)
    assert not any(name.startswith(("unet.down_blocks.", "head.fpn.neck.")) for name in trained)
    assert any(name.startswith("unet.up_blocks.") for name in trained)
    assert not any(p.requires_grad for p in backbone.unet.down_blocks.parameters())
    with pytest.raises(ValueError, match=r"'unet\.nothing\.\*' names no parameter; they begin with head\.fpn, unet\."):
        choose_trained(head, backbone, TrainConfig(freeze=("unet.nothing.*",)))
    with pytest.raises(ValueError, match="leaves nothing to train"):
        choose_trained(head, backbone, TrainConfig(freeze=("*",)))
    assert {n.partition(".")[0] for n in choose_trained(head, backbone, TrainConfig(unet_lr_scale=0))} == {"head"}


def test_low_rank_updates_train_in_place_of_the_unets_weights(head):
    backbone = _on_meta()
    with torch.device("meta"):
        backbone.add_low_rank(4, seed=0)
    groups = _groups(head, backbone, TrainConfig(lora_rank=4))
    # 32 attention layers of 4 projections, two matrices each
    assert len(groups["unet"]["params"]) == 32 * 4 * 2
    assert all(4 in p.shape for p in groups["unet"]["params"])
