"""Which tensors get which rate and decay, at full width on the meta device, against REFERENCE.md section 4."""

from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from tadp_backbone.table import BACKBONES
from tadp_cli.recipes.recipe import TrainConfig
from tadp_cli.workflows.engine.low_rank import add_low_rank
from tadp_cli.workflows.engine.parameter_groups import choose_trained, describe_groups, parameter_groups
from tadp_heads.depth import DepthHead
from tadp_heads.segmentation import FPNHead


class _Backbone(nn.Module):
    def __init__(self, unet: nn.Module):
        super().__init__()
        self.unet = unet


@pytest.fixture(scope="module")
def backbone():
    with torch.device("meta"):
        return _Backbone(UNet2DConditionModel(**BACKBONES["sd15"].unet))


@pytest.fixture(scope="module")
def head():
    with torch.device("meta"):
        return FPNHead(BACKBONES["sd15"].levels, 150, "ade")


def _groups(head, backbone, config):
    return {group["name"]: group for group in parameter_groups(choose_trained(head, backbone, config), config)}


def test_ade20k_norms_of_the_transformers_train_at_the_heads_rate_without_decay(head, backbone):
    assert len(list(backbone.unet.parameters())) == 128 + 558
    config = TrainConfig(lr=8e-5, weight_decay=0.005, unet_lr_scale=0.1, groups="norms-apart")
    groups = _groups(head, backbone, config)
    assert set(groups) == {"head", "unet", "unet norms"}
    norms, unet = groups["unet norms"], groups["unet"]
    assert (len(norms["params"]), norms["lr"], norms["weight_decay"]) == (128, 8e-5, 0.0)
    # The reference's 558, without the four tensors of the output layers, which no gradient reaches.
    assert len(unet["params"]) == 558 - 4
    assert (unet["lr"], unet["weight_decay"]) == (pytest.approx(8e-6), 0.005)
    # Biases and BatchNorms of the head are decayed too.
    assert len(groups["head"]["params"]) == len(list(head.parameters()))
    assert (groups["head"]["lr"], groups["head"]["weight_decay"]) == (8e-5, 0.005)


def test_nyu_vectors_and_biases_are_not_decayed(backbone):
    with torch.device("meta"):
        head = DepthHead(BACKBONES["sd15"].levels)
    config = TrainConfig(lr=5e-4, weight_decay=0.1, unet_lr_scale=0.01, groups="vectors-undecayed")
    groups = _groups(head, backbone, config)
    assert {name: (group["lr"], group["weight_decay"]) for name, group in groups.items()} == {
        "head": (5e-4, 0.1),
        "head vectors": (5e-4, 0.0),
        "unet": (pytest.approx(5e-6), 0.1),
        "unet vectors": (pytest.approx(5e-6), 0.0),
    }
    assert all(p.ndim == 1 for name in ("head vectors", "unet vectors") for p in groups[name]["params"])
    assert all(p.ndim > 1 for name in ("head", "unet") for p in groups[name]["params"])
    assert sum(len(group["params"]) for group in groups.values()) == len(list(head.parameters())) + 682


def test_pascal_all_rates_are_one(head, backbone):
    config = TrainConfig(lr=1e-5, weight_decay=0.01, unet_lr_scale=1.0, groups="norms-apart")
    groups = _groups(head, backbone, config)
    assert {group["lr"] for group in groups.values()} == {1e-5}
    assert {name: group["weight_decay"] for name, group in groups.items()} == {
        "head": 0.01,
        "unet": 0.01,
        "unet norms": 0.0,
    }


@pytest.mark.parametrize("rule", ["plain", "norms-apart"])
def test_rates_fall_from_block_to_block_towards_the_beginning(head, backbone, rule):
    """Head, 4 up blocks, the middle, 4 down blocks, and what comes before them: 0.5^0, ^1 ... ^10."""
    plain = TrainConfig(lr=1.0, unet_lr_scale=0.1, groups=rule)
    config = replace(plain, layer_decay=0.5)
    rates, undecayed = (
        {id(p): group["lr"] for group in _groups(head, backbone, c).values() for p in group["params"]}
        for c in (config, plain)
    )
    assert len(rates) == len(undecayed) == sum(len(g["params"]) for g in _groups(head, backbone, config).values())
    unet = backbone.unet
    order = [head, *unet.up_blocks[::-1], unet.mid_block, *unet.down_blocks[::-1], unet.conv_in]
    for depth, module in enumerate(order):
        for parameter in module.parameters():
            assert rates[id(parameter)] == pytest.approx(undecayed[id(parameter)] * 0.5**depth)
    assert rates[id(unet.time_embedding.linear_1.weight)] == rates[id(unet.conv_in.weight)]
    lines = describe_groups(parameter_groups(choose_trained(head, backbone, config), config))
    assert any(line.startswith("unet 1 from the end: ") and "lr 0.05" in line for line in lines)


def test_frozen_blocks_do_not_change_the_rates_of_others(head, backbone):
    config = TrainConfig(lr=1.0, unet_lr_scale=1.0, layer_decay=0.5, freeze=("unet.up_blocks.3.*",))
    groups = _groups(head, backbone, config)
    assert "unet 1 from the end" not in groups
    assert groups["unet 2 from the end"]["lr"] == pytest.approx(0.25)


def test_what_matched_is_told_in_numbers(head, backbone):
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
    with torch.device("meta"):
        backbone = _Backbone(UNet2DConditionModel(**BACKBONES["sd15"].unet))
        add_low_rank(backbone.unet, 4, seed=0)
    groups = _groups(head, backbone, TrainConfig(lora_rank=4))
    # 32 attention layers of 4 projections, two matrices each
    assert len(groups["unet"]["params"]) == 32 * 4 * 2
    assert all(4 in p.shape for p in groups["unet"]["params"])
