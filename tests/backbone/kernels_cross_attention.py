"""The Triton kernels in Triton's interpreter on the CPU; `test_kernels.py` starts this file with TRITON_INTERPRET=1.

bfloat16 is left to a GPU: the interpreter multiplies the bit patterns of bfloat16 as if they were integers.
"""

import pytest
import torch
from torch.testing import assert_close

from tadp_backbone.kernels.cross_attention_op import cross_attention_op

FORWARD = {torch.float32: 1e-5, torch.float16: 2e-3}
BACKWARD = {torch.float32: 1e-4, torch.float16: 1e-2}
SIZES = [  # B, heads, N, T, D; large heads take other tiles, float32 ones earlier than half precision
    (1, 5, 1, 1, 8),
    (2, 2, 20, 77, 40),
    (1, 1, 17, 77, 160),
    *(
        pytest.param(sizes, marks=pytest.mark.slow)
        for sizes in (
            *(
                (2, 2, 33, 77, 40),
                (1, 2, 5, 256, 24),
                (1, 2, 20, 21, 64),
                (1, 1, 17, 150, 80),
                (1, 2, 33, 50, 80),
                (1, 20, 2, 5, 8),
            ),
            *((1, 1, 17, 256, 160), (1, 8, 3, 21, 40), (1, 10, 2, 77, 16)),
        )
    ),
]


def inputs(batch, heads, cells, tokens, width, dtype):
    """Queries folded as a layer folds them, keys that are a slice, values that are contiguous."""
    generator = torch.Generator().manual_seed(cells + tokens)
    q = torch.randn(batch, cells, heads, width, generator=generator).transpose(1, 2)
    k = torch.randn(batch, heads, tokens, width + 3, generator=generator)[..., 1:-2]
    v = torch.randn(batch, heads, tokens, width, generator=generator)
    return [x.to(dtype).detach().requires_grad_() for x in (q, k, v)]


def plain(q, k, v, scale):
    probabilities = (torch.einsum("bhnd,bhtd->bhnt", q, k) * scale).softmax(-1)
    return torch.einsum("bhnt,bhtd->bhnd", probabilities, v), probabilities.mean(1)


def relative(got, expected):
    return ((got.double() - expected).norm() / expected.norm().clamp_min(1e-12)).item()


@pytest.mark.parametrize("dtype", FORWARD)
@pytest.mark.parametrize("sizes", SIZES)
def test_results_and_gradients_are_the_plain_formula(sizes, dtype):
    tensors = inputs(*sizes, dtype)
    exact = [x.detach().double().requires_grad_() for x in tensors]
    scale = sizes[-1] ** -0.5
    got, expected = cross_attention_op(*tensors, scale), plain(*exact, scale)
    for name, result, wanted in zip(("output", "maps"), got, expected, strict=True):
        assert result.dtype == dtype
        assert relative(result, wanted) < FORWARD[dtype], name
    assert_close(got[1].double().sum(-1), torch.ones(sizes[0], sizes[2]).double(), atol=2 * FORWARD[dtype], rtol=0)
    gradients = [torch.randn(x.shape).to(dtype) for x in got]
    given = torch.autograd.grad(got, tensors, gradients)
    wanted = torch.autograd.grad(expected, exact, [x.double() for x in gradients])
    for name, gradient, right in zip("qkv", given, wanted, strict=True):
        if sizes[3] > 1 or name == "v":
            assert relative(gradient, right) < BACKWARD[dtype], name
        else:  # the softmax of one key is constant: its gradient is rounding, which differs by processor
            assert gradient.abs().max() < BACKWARD[dtype]


@pytest.mark.parametrize(("tokens", "width"), [(5, 16), pytest.param(150, 72, marks=pytest.mark.slow)])
@pytest.mark.parametrize("used", ["output", "maps"])
def test_gradient_through_one_result_alone(used, tokens, width):
    tensors = inputs(1, 2, 18, tokens, width, torch.float32)
    exact = [x.detach().double().requires_grad_() for x in tensors]
    which = ("output", "maps").index(used)
    result, wanted = cross_attention_op(*tensors, 0.3)[which], plain(*exact, 0.3)[which]
    weights = torch.randn(result.shape)
    given = torch.autograd.grad((result * weights).sum(), tensors)
    right = torch.autograd.grad((wanted * weights.double()).sum(), exact, allow_unused=True)
    for name, gradient, expected in zip("qkv", given, right, strict=True):
        if expected is None:  # maps don't depend on values
            assert gradient.abs().max() == 0
        else:
            assert relative(gradient, expected) < 1e-4, name


@pytest.mark.parametrize("width", [16, pytest.param(72, marks=pytest.mark.slow)])
def test_many_rows_are_summed_over_all_parts(monkeypatch, width):
    """Keys' gradients come in parts of rows; here in three, the last one short."""
    from tadp_backbone.kernels import cross_attention_op as module

    monkeypatch.setattr(module, "ROWS_A_PART", 32)
    tensors = inputs(1, 2, 70, 9, width, torch.float32)
    exact = [x.detach().double().requires_grad_() for x in tensors]
    given = torch.autograd.grad(cross_attention_op(*tensors, 0.3)[0].square().sum(), tensors)
    right = torch.autograd.grad(plain(*exact, 0.3)[0].square().sum(), exact)
    for gradient, expected in zip(given, right, strict=True):
        assert relative(gradient, expected) < 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own check does it
def test_torch_accepts_the_operator():
    """Schema, shapes and strides without data, and tracing with gradients agree with the real run."""
    torch.library.opcheck(cross_attention_op, (*inputs(1, 2, 5, 6, 8, torch.float32), 0.3))


@pytest.mark.slow
def test_compilation_keeps_the_operator_whole():
    graphs = []

    def backend(graph, _inputs):
        graphs.append(str(graph.code))
        return graph

    run = torch.compile(lambda q, k, v: cross_attention_op(q * 2, k, v, 0.3)[0] + 1, backend=backend, fullgraph=True)
    q, k, v = (x.detach() for x in inputs(1, 2, 5, 6, 8, torch.float32))
    assert_close(run(q, k, v), plain(q * 2, k, v, 0.3)[0] + 1)
    assert len(graphs) == 1
    assert graphs[0].count("tadp.cross_attention_with_maps") == 1
