"""The operations of `tadp_backbone.kernels` against what else computes the same; `python3 tasks.py bench` prints them.

On a GPU where there is one, in bfloat16 at Stable Diffusion's sizes, else small in float32. `gpu.py` measures more.
"""

# B batch, N cells, T tokens, D channels a head, C channels

import pytest
import torch
from baselines import ATTENTIONS, explicit_attention_with_maps
from diffusers.models.resnet import ResnetBlock2D

from tadp_backbone.kernels import fuse_blocks

pytestmark = pytest.mark.benchmark(max_time=0.3, min_rounds=5, warmup=True, warmup_iterations=2)
CUDA = torch.cuda.is_available()
DEVICE, DTYPE = ("cuda", torch.bfloat16) if CUDA else ("cpu", torch.float32)
TOLERANCE = 2e-2 if CUDA else 1e-4
LAYERS = {"fine": (1024, 80), "coarse": (256, 160)}  # N, D of Stable Diffusion at 512 x 512 where maps are read
BATCH, HEADS, TOKENS = (16, 8, 77) if CUDA else (1, 8, 77)


def finished(work):
    """What `work` returns, once it is there."""

    def run():
        results = work()
        if CUDA:
            torch.cuda.synchronize()
        return results

    return run


def close(got, expected):
    return (got.float() - expected.float()).norm() <= TOLERANCE * expected.float().norm()


def layer_inputs(layer, *, gradients=False):
    """Queries, keys and values folded as a layer folds them."""
    cells, width = LAYERS[layer]
    sizes = [(BATCH, n, HEADS, width) for n in (cells, TOKENS, TOKENS)]
    return [torch.randn(s, device=DEVICE, dtype=DTYPE).transpose(1, 2).requires_grad_(gradients) for s in sizes]


@pytest.mark.parametrize("way", ATTENTIONS)
@pytest.mark.parametrize("layer", LAYERS)
def test_cross_attention(benchmark, layer, way):
    benchmark.group = f"cross-attention, {layer}, {DEVICE}"
    q, k, v = layer_inputs(layer)
    results = benchmark(finished(lambda: ATTENTIONS[way](q, k, v, q.shape[-1] ** -0.5)))
    expected = explicit_attention_with_maps(q.float(), k.float(), v.float(), q.shape[-1] ** -0.5)
    assert all(close(*pair) for pair in zip(results, expected, strict=False))  # one way makes no maps


@pytest.mark.parametrize("way", ATTENTIONS)
@pytest.mark.parametrize("layer", LAYERS)
def test_cross_attention_with_gradients(benchmark, layer, way):
    benchmark.group = f"cross-attention forward and backward, {layer}, {DEVICE}"
    q, k, v = layer_inputs(layer, gradients=True)
    given = torch.randn_like(q)

    def step():
        return torch.autograd.grad(ATTENTIONS[way](q, k, v, q.shape[-1] ** -0.5)[0], (q, k, v), given)

    assert all(x.isfinite().all() for x in benchmark(finished(step)))


@pytest.mark.parametrize("way", ["diffusers", "ours"])
def test_resnet_block(benchmark, way):
    benchmark.group = f"resnet block, {DEVICE}"
    channels, side = (320, 64) if CUDA else (64, 32)
    place = {"device": DEVICE, "dtype": DTYPE, "memory_format": torch.channels_last}
    block = ResnetBlock2D(in_channels=channels, temb_channels=1280).to(**place).eval()
    x, time = torch.randn(BATCH, channels, side, side).to(**place), torch.randn(BATCH, 1280, device=DEVICE, dtype=DTYPE)
    with torch.no_grad():
        expected = block(x, time)
        assert way == "diffusers" or fuse_blocks(block) == 1
        assert close(benchmark(finished(lambda: block(x, time))), expected)
