"""The Triton kernels in Triton's interpreter on the CPU; `test_kernels.py` starts this file with TRITON_INTERPRET=1."""

import pytest
import torch
import torch.nn.functional as F

from tadp_backbone.kernels.group_norm_silu_op import group_norm_silu_op

FORWARD = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 4e-3}
BACKWARD = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 2e-2}


def relative(got, expected):
    return ((got.double() - expected).norm() / expected.norm().clamp_min(1e-12)).item()


def inputs(shape, dtype):
    """Values far from 0: a sum of squares alone would lose their variance in float32."""
    generator = torch.Generator().manual_seed(shape[1])
    x = (torch.randn(shape, generator=generator) + 30).to(dtype).to(memory_format=torch.channels_last)
    weight, bias = (torch.randn(shape[1], generator=generator).to(dtype) for _ in range(2))
    return [x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()]


@pytest.mark.parametrize("dtype", FORWARD)
@pytest.mark.parametrize(("shape", "groups"), [((2, 20, 5, 7), 4), ((1, 24, 17, 17), 8), ((1, 8, 1, 1), 2)])
def test_result_and_gradients_are_the_plain_formula(shape, groups, dtype):
    tensors = inputs(shape, dtype)
    exact = [x.detach().double().requires_grad_() for x in tensors]
    got = group_norm_silu_op(tensors[0], groups, *tensors[1:], 1e-5)[0]
    expected = F.silu(F.group_norm(exact[0], groups, *exact[1:], 1e-5))
    assert got.dtype == dtype
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert relative(got, expected) < FORWARD[dtype]
    gradient = torch.randn(shape).to(dtype)
    given = torch.autograd.grad(got, tensors, gradient)
    wanted = torch.autograd.grad(expected, exact, gradient.double())
    for name, result, right in zip(("x", "weight", "bias"), given, wanted, strict=True):
        assert relative(result, right) < BACKWARD[dtype], name


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own check does it
def test_torch_accepts_the_operator():
    """Schema, shapes and strides without data, and tracing with gradients agree with the real run."""
    x, weight, bias = inputs((1, 8, 3, 3), torch.float32)
    torch.library.opcheck(group_norm_silu_op, (x, 2, weight, bias, 1e-5))
