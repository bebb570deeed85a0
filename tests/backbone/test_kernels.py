"""The GPU kernels without a GPU: Triton's interpreter runs them on the CPU, in a process of its own.

Whether functions are interpreted is decided when they are defined, for the whole process: it would leak into others.
"""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import Transformer2DModel
from diffusers.models.resnet import ResnetBlock2D
from peft import LoraConfig, inject_adapter_in_model
from torch.testing import assert_close

import tadp_backbone.kernels
from tadp_backbone.kernels import cross_attention_with_maps, fuse_blocks, group_norm_silu
from tadp_backbone.kernels.available import HAS_TRITON, runs_kernels
from tadp_backbone.kernels.cross_attention import (
    BACKWARD_FROM,
    by_direction,
    fits_kernel,
    plain_attention_with_maps,
)
from tadp_backbone.kernels.group_norm_silu import plain_group_norm_silu

pytestmark = pytest.mark.numerical

HERE = Path(__file__).parent


@pytest.mark.skipif(not HAS_TRITON, reason="needs Triton")
@pytest.mark.parametrize("selection", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_interpreted_kernels(selection):
    files = [str(HERE / name) for name in ("kernels_cross_attention.py", "kernels_resnet.py")]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", "--noconftest", "-m", selection, *files],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:]


# Rounding an exact result to bfloat16's 8 bits moves it by up to 2e-3 on its own.
TOLERANCES = [(torch.float32, 1e-5, 1e-4), (torch.float16, 2e-3, 1e-2), (torch.bfloat16, 4e-3, 2e-2)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("dtype", "forward", "backward"), TOLERANCES)
@pytest.mark.parametrize(("heads", "width"), [(8, 40), (10, 64), (8, 80), (20, 64), (8, 160), (5, 64), (4, 24)])
@pytest.mark.parametrize(("cells", "tokens"), [(1, 1), (63, 77), (4096, 77), (4096, 21), (63, 150), (63, 256)])
def test_on_a_gpu(dtype, forward, backward, heads, width, cells, tokens):
    q = torch.randn(2, cells, heads, width).transpose(1, 2).to("cuda", dtype).requires_grad_()
    k, v = (torch.randn(2, heads, tokens, width).to("cuda", dtype).requires_grad_() for _ in "kv")
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    probabilities = (exact[0] @ exact[1].transpose(-1, -2) * width**-0.5).softmax(-1)
    expected = (probabilities @ exact[2], probabilities.mean(1))
    got = cross_attention_with_maps(q, k, v, width**-0.5)
    for result, wanted in zip(got, expected, strict=True):
        assert (result.double() - wanted).norm() <= forward * wanted.norm()
    assert (got[1].double().sum(-1) - 1).abs().max() <= 2 * forward
    gradients = [torch.randn_like(x) for x in got]
    given = torch.autograd.grad(got, (q, k, v), gradients)
    right = torch.autograd.grad(expected, exact, [x.double() for x in gradients])
    for gradient, wanted in zip(given, right, strict=True):
        # The softmax of one key is constant: its gradient is all rounding, compared with entries of size 1.
        size = wanted.norm() if tokens > 1 else wanted.numel() ** 0.5
        assert (gradient.double() - wanted).norm() <= backward * size


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("dtype", "forward", "backward"), TOLERANCES)
@pytest.mark.parametrize(("channels", "side"), [(320, 64), (960, 33), (2560, 8), (1280, 1)])
def test_group_norm_silu_on_a_gpu(dtype, forward, backward, channels, side):
    x = (torch.randn(2, channels, side, side) + 3).to("cuda", dtype).to(memory_format=torch.channels_last)
    weight, bias, shift = (torch.randn(channels).to("cuda", dtype) for _ in range(3))
    exact = [tensor.double() for tensor in (x, weight, bias)]
    with torch.no_grad():
        assert runs_kernels(x)
        got = group_norm_silu(x, 32, weight, bias, 1e-5, shift=shift[None])
        expected = plain_group_norm_silu(exact[0], 32, *exact[1:], 1e-5, shift=shift[None].double())
    assert (got.double() - expected).norm() <= forward * expected.norm()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("dtype", "forward", "backward"), TOLERANCES)
def test_blocks_on_a_gpu(dtype, forward, backward):
    torch.manual_seed(0)
    resnet = ResnetBlock2D(in_channels=64, out_channels=128, temb_channels=16).eval()
    transformer = Transformer2DModel(8, 16, 128, cross_attention_dim=12).eval()
    x, time, text = torch.randn(2, 64, 33, 33), torch.randn(2, 16), torch.randn(2, 7, 12)
    with torch.no_grad():
        expected = transformer.double()(resnet.double()(x.double(), time.double()), text.double(), return_dict=False)[0]
        for block in (resnet, transformer):
            fuse_blocks(block.to("cuda", dtype).to(memory_format=torch.channels_last))
        x = x.to("cuda", dtype).to(memory_format=torch.channels_last)
        got = transformer(resnet(x, time.to("cuda", dtype)), text.to("cuda", dtype), return_dict=False)[0]
    assert (got.cpu().double() - expected).norm() <= 10 * forward * expected.norm()  # of a row of operations


@pytest.mark.parametrize(
    ("tokens", "width", "dtype", "fits"),
    [
        (77, 160, torch.bfloat16, True),
        (256, 80, torch.float16, True),
        (257, 40, torch.float16, False),
        (77, 44, torch.float16, False),
        (77, 40, torch.float64, False),
        (77, 168, torch.float16, False),
        (256, 160, torch.float16, True),
        (256, 160, torch.float32, True),
        (257, 64, torch.float32, False),
    ],
)
def test_what_the_kernel_takes(tokens, width, dtype, fits):
    q, k = torch.empty(1, 2, 9, width, dtype=dtype), torch.empty(1, 2, tokens, width, dtype=dtype)
    assert fits_kernel(q, k, k) is fits


@pytest.mark.parametrize(
    ("gradient", "detached", "queries", "by_kernel"),
    [
        (False, False, 4, {"output": True, "maps": True}),
        (True, True, 4, {"output": False, "maps": True}),
        (True, False, 4, {"output": False, "maps": False}),
        (True, False, BACKWARD_FROM, {"output": True, "maps": True}),
    ],
)
def test_the_kernel_works_where_it_wins(gradient, detached, queries, by_kernel):
    q, k, v = (torch.randn(1, 2, n, 8).requires_grad_(gradient) for n in (queries, 5, 5))
    made = []

    def kernel(*arguments):
        made.append(plain_attention_with_maps(*arguments))
        return made[-1]

    got = dict(zip(by_kernel, by_direction(kernel, q, k, v, 0.3, detached), strict=True))
    for place, (name, from_kernel) in enumerate(by_kernel.items()):
        assert any(got[name] is pair[place] for pair in made) is from_kernel, name
    assert got["maps"].requires_grad is (gradient and not detached)
    output, maps = plain_attention_with_maps(q, k, v, 0.3)
    assert_close((got["output"], got["maps"]), (output, maps))
    if gradient:
        assert_close(torch.autograd.grad(got["output"].sum(), q), torch.autograd.grad(output.sum(), q))


@pytest.mark.parametrize("linear", [False, True])
def test_fused_blocks_give_the_same_numbers_and_keep_their_parameters(linear):
    torch.manual_seed(0)
    transformer = Transformer2DModel(2, 8, 16, norm_num_groups=4, cross_attention_dim=12, use_linear_projection=linear)
    model = torch.nn.ModuleList(
        [ResnetBlock2D(in_channels=8, out_channels=16, temb_channels=16, groups=4), transformer]
    )
    x, time, text = torch.randn(2, 8, 5, 7), torch.randn(2, 16), torch.randn(2, 3, 12)
    names, parameters = list(model.state_dict()), [id(p) for p in model.parameters()]

    def result():
        y = model[1](model[0](x, time), text, return_dict=False)[0]
        return y, torch.autograd.grad(y.square().mean(), list(model.parameters()))

    expected = result()
    assert fuse_blocks(model) == 4  # with both of the transformer's attentions
    assert fuse_blocks(model) == 0
    assert list(model.state_dict()) == names
    assert [id(p) for p in model.parameters()] == parameters
    assert_close(result(), expected)


def test_resnets_of_other_kinds_stay():
    block = ResnetBlock2D(in_channels=8, temb_channels=16, groups=4, time_embedding_norm="scale_shift")
    assert fuse_blocks(block) == 0
    assert type(block) is ResnetBlock2D


@pytest.mark.parametrize("linear", [False, True])
def test_adapters_on_a_transformers_projections_are_taken(linear):
    """Peft's layers, which are neither convolutions nor linear layers by type."""
    torch.manual_seed(0)
    transformer = Transformer2DModel(
        2, 8, 16, norm_num_groups=4, cross_attention_dim=12, use_linear_projection=linear
    ).eval()
    x, text = torch.randn(2, 16, 4, 16), torch.randn(2, 3, 12)
    with torch.no_grad():
        before = transformer(x, text, return_dict=False)[0]
        adapter = LoraConfig(r=2, target_modules=["proj_in", "proj_out"], init_lora_weights=False)
        inject_adapter_in_model(adapter, transformer)
        seen = []
        transformer.norm.register_forward_hook(lambda *given: seen.append(given))
        expected = transformer(x, text, return_dict=False)[0]
        fuse_blocks(transformer)
        got = transformer(x, text, return_dict=False)[0]
    assert_close(got, expected)
    assert (before - expected).abs().max() > 1e-3
    assert len(seen) == 2


def test_without_triton_the_plain_formulas_are_used(monkeypatch):
    monkeypatch.setattr(tadp_backbone, "kernels", tadp_backbone.kernels)  # put back, as the modules are
    for name in [name for name in sys.modules if name.startswith(("triton", "tadp_backbone.kernels"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton", None)  # as if it were not installed
    kernels = importlib.import_module("tadp_backbone.kernels")
    assert not importlib.import_module("tadp_backbone.kernels.available").HAS_TRITON
    one = torch.ones(4)
    assert kernels.group_norm_silu(torch.randn(1, 4, 3, 3), 2, one, one, 1e-5).shape == (1, 4, 3, 3)
