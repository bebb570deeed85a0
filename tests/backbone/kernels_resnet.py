"""The Triton kernels in Triton's interpreter on the CPU; `test_kernels.py` starts this file with TRITON_INTERPRET=1."""

import sys

import pytest
import torch
import torch.nn.functional as F
from diffusers import Transformer2DModel
from diffusers.models.resnet import ResnetBlock2D

from tadp_backbone.kernels import fuse_blocks, resnet_launches
from tadp_backbone.kernels.resnet_launches import launch_add_residual, launch_group_norm_silu

# The interpreter cuts bfloat16's digits off where a GPU rounds: up to one of its last digit, 2 ** -7.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 8e-3}
SIZES = [((2, 20, 5, 7), 4), ((1, 24, 17, 17), 8), ((1, 8, 1, 1), 2)]


def relative(got, expected):
    return ((got.double() - expected).norm() / expected.norm().clamp_min(1e-12)).item()


def cells(shape, dtype):
    """Values far from 0: a sum of squares alone would lose their variance in float32."""
    generator = torch.Generator().manual_seed(shape[1])
    x = (torch.randn(shape, generator=generator) + 30).to(dtype).to(memory_format=torch.channels_last)
    return x, [torch.randn(shape[1], generator=generator).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("shifts", "activated"), [(None, True), (1, True), (2, False)])
@pytest.mark.parametrize(("shape", "groups"), SIZES)
def test_norm_and_silu_are_the_plain_formula(shape, groups, shifts, activated, dtype):
    x, (weight, bias) = cells(shape, dtype)
    shift = None if shifts is None else torch.randn(min(shifts, shape[0]), shape[1]).to(dtype)
    got = launch_group_norm_silu(x, groups, weight, bias, 1e-5, shift, activated)
    exact = x.double() if shift is None else x.double() + shift.double()[:, :, None, None]
    expected = F.group_norm(exact, groups, weight.double(), bias.double(), 1e-5)
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert relative(got, F.silu(expected) if activated else expected) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_sum_is_made_in_place(dtype):
    x, (bias, _) = cells((2, 20, 5, 7), dtype)
    residual = torch.randn_like(x)
    expected = x.double() + residual.double() + bias.double()[:, None, None]
    got = launch_add_residual(x, residual, bias)
    assert got is x
    assert relative(got, expected) < TOLERANCE[dtype]


@pytest.fixture
def interpreted(monkeypatch):
    """Kernels are taken as on a GPU; `count` is how often."""
    taken = []

    def runs(x, *_):
        fits = x.is_contiguous(memory_format=torch.channels_last)
        taken.extend([x.shape] if fits else [])
        return fits

    for module in ("group_norm_silu", "add_residual", "resnets"):
        monkeypatch.setattr(sys.modules[f"tadp_backbone.kernels.{module}"], "runs_kernels", runs)
    return taken


@pytest.mark.parametrize("time", [None, 16])
@pytest.mark.parametrize("channels", [8, 16])
@torch.no_grad()
def test_a_resnet_block_gives_the_same_numbers(interpreted, channels, time):
    """With a shortcut, where it has other channels than it is given, and without."""
    torch.manual_seed(0)
    block = ResnetBlock2D(
        in_channels=8, out_channels=channels, temb_channels=time, groups=4, output_scale_factor=2.0
    ).eval()
    x = torch.randn(2, 8, 5, 7).to(memory_format=torch.channels_last)
    embedding = None if time is None else torch.randn(2, time)
    expected = block(x, embedding)
    before = x.clone()
    assert fuse_blocks(block) == 1
    assert relative(block(x, embedding), expected.double()) < 1e-5
    assert len(interpreted) == 4, "the block, two norms and the sum"
    assert torch.equal(x, before), "what a block is given stays"


@pytest.mark.parametrize("linear", [False, True])
@torch.no_grad()
def test_a_transformer_gives_the_same_numbers_without_leaving_channels_last(interpreted, linear):
    torch.manual_seed(0)
    block = Transformer2DModel(2, 8, 16, norm_num_groups=4, cross_attention_dim=12, use_linear_projection=linear).eval()
    x, text = torch.randn(2, 16, 5, 7).to(memory_format=torch.channels_last), torch.randn(2, 3, 12)
    (expected,) = block(x, text, return_dict=False)
    assert fuse_blocks(block) == 3, "with both of its attentions"
    (got,) = block(x, text, return_dict=False)
    assert relative(got, expected.double()) < 1e-5
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert len(interpreted) == 2, "the transformer, and its norm"


def _pre_hook(block):
    block.conv1.register_forward_pre_hook(lambda _, given: (given[0] + 1,))


def _hook(block):
    block.nonlinearity.register_forward_hook(lambda _module, _given, result: result + 1)


def _forward(block):
    block.conv2.forward = lambda x: x[:, :1].expand(-1, block.out_channels, -1, -1)


def _padding(block):
    block.conv1.padding_mode = "circular"
    block.conv1._reversed_padding_repeated_twice = [1, 1, 1, 1]


def _adapter(block):
    block.conv2 = torch.nn.Sequential(block.conv2, torch.nn.Hardtanh(-0.1, 0.1))


@pytest.mark.parametrize("change", [_pre_hook, _hook, _forward, _padding, _adapter])
@torch.no_grad()
def test_a_resnet_block_takes_what_others_put_on_its_parts(interpreted, change):
    torch.manual_seed(0)
    block = ResnetBlock2D(in_channels=8, temb_channels=16, groups=4).eval()
    x, time = torch.randn(2, 8, 5, 7).to(memory_format=torch.channels_last), torch.randn(2, 16)
    before = block(x, time)
    change(block)
    expected = block(x, time)
    fuse_blocks(block)
    assert relative(block(x, time), expected.double()) < 1e-5
    assert relative(before, expected.double()) > 1e-2


@torch.no_grad()
def test_parameters_may_lie_apart_in_memory(interpreted):
    x, (weight, bias) = cells((2, 8, 5, 7), torch.float32)
    spread = [torch.stack([values, -values], 1)[:, 0] for values in (weight, bias)]
    expected = launch_group_norm_silu(x, 2, weight, bias, 1e-5, None, True)
    assert relative(launch_group_norm_silu(x, 2, *spread, 1e-5, None, True), expected.double()) < 1e-6


def test_more_parts_than_one_program_merges(monkeypatch):
    monkeypatch.setattr(resnet_launches, "LEAST_ROWS", 32)
    monkeypatch.setattr(resnet_launches, "MOST_PARTS", 2)
    x, (weight, bias) = cells((1, 8, 17, 17), torch.float32)
    got = launch_group_norm_silu(x, 2, weight, bias, 1e-5, None, False)
    expected = F.group_norm(x.double(), 2, weight.double(), bias.double(), 1e-5)
    assert relative(got, expected) < 1e-5
