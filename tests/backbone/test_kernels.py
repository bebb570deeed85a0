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
from diffusers.models.resnet import ResnetBlock2D
from torch.testing import assert_close

import tadp_backbone.kernels
from tadp_backbone.kernels import cross_attention_with_maps, fuse_resnets, group_norm_silu
from tadp_backbone.kernels.available import HAS_TRITON
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
    files = [str(HERE / name) for name in ("kernels_cross_attention.py", "kernels_group_norm_silu.py")]
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
    weight, bias = (torch.randn(channels).to("cuda", dtype) for _ in range(2))
    tensors = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    got, expected = group_norm_silu(x, 32, weight, bias, 1e-5), plain_group_norm_silu(exact[0], 32, *exact[1:], 1e-5)
    assert (got.double() - expected).norm() <= forward * expected.norm()
    gradient = torch.randn_like(got)
    given = torch.autograd.grad(got, tensors, gradient)
    right = torch.autograd.grad(expected, exact, gradient.double())
    for result, wanted in zip(given, right, strict=True):
        assert (result.double() - wanted).norm() <= backward * wanted.norm().clamp_min(1e-3)


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


@pytest.mark.parametrize("time_channels", [16, None])
def test_fused_resnets_give_the_same_numbers_and_keep_their_parameters(time_channels):
    torch.manual_seed(0)
    model = torch.nn.Sequential(ResnetBlock2D(in_channels=8, out_channels=16, temb_channels=time_channels, groups=4))
    x, time = torch.randn(2, 8, 5, 7), None if time_channels is None else torch.randn(2, 16)
    names, parameters = list(model.state_dict()), [id(p) for p in model.parameters()]
    expected = model[0](x, time)
    assert fuse_resnets(model) == 1
    assert fuse_resnets(model) == 0
    assert list(model.state_dict()) == names
    assert [id(p) for p in model.parameters()] == parameters
    assert_close(model[0](x, time), expected)


def test_resnets_of_other_kinds_stay():
    block = ResnetBlock2D(in_channels=8, temb_channels=16, groups=4, time_embedding_norm="scale_shift")
    assert fuse_resnets(block) == 0
    assert type(block.norm1) is torch.nn.GroupNorm


def test_without_triton_the_plain_formulas_are_used(monkeypatch):
    monkeypatch.setattr(tadp_backbone, "kernels", tadp_backbone.kernels)  # put back, as the modules are
    for name in [name for name in sys.modules if name.startswith(("triton", "tadp_backbone.kernels"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton", None)  # as if it were not installed
    kernels = importlib.import_module("tadp_backbone.kernels")
    assert not importlib.import_module("tadp_backbone.kernels.available").HAS_TRITON
    assert kernels.GroupNormSiLU(2, 4)(torch.randn(1, 4, 3, 3)).shape == (1, 4, 3, 3)
