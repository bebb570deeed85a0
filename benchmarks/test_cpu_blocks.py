"""What `optimize` changes on a CPU, at Stable Diffusion 1.5's sizes for one image of 512 x 512.

`OMP_NUM_THREADS=1 pytest benchmarks/test_cpu_blocks.py` prints, for each pair, the ratio to the faster way.
"""

# B batch, N cells, D channels a head, C channels, H W cells

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.downsampling import Downsample2D

from tadp_backbone.kernels import fuse_blocks
from tadp_backbone.kernels.attention import chunked_attention

pytestmark = pytest.mark.benchmark(max_time=1, min_rounds=5, warmup=True, warmup_iterations=1)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ATTENTION = {"64": (8, 4096, 40), "32": (8, 1024, 80), "16": (8, 256, 160), "VAE": (1, 4096, 512)}  # heads, N, D
CONVOLUTIONS = {"8": (1280, 8), "8, joined": (2560, 8), "16": (1280, 16), "16, joined": (2560, 16)}  # C in, H
DOWNSAMPLES = {"512": (128, 512), "256": (256, 256)}  # C, H


@pytest.mark.parametrize("way", ["torch", "chunks"])
@pytest.mark.parametrize("layer", ATTENTION)
def test_self_attention(benchmark, layer, way):
    benchmark.group = f"self-attention, bfloat16, {layer}"
    heads, cells, width = ATTENTION[layer]
    q, k, v = (torch.randn(1, cells, heads, width).bfloat16().transpose(1, 2) for _ in range(3))
    attend = {"torch": F.scaled_dot_product_attention, "chunks": chunked_attention}[way]
    got, expected = benchmark(attend, q, k, v), F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    assert (got - expected).norm() < 1e-2 * expected.norm()


@pytest.mark.parametrize("way", ["oneDNN", "im2col"])
@pytest.mark.parametrize("layer", CONVOLUTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_convolution_of_a_small_map(benchmark, layer, way, dtype):
    benchmark.group = f"3x3 convolution, {dtype}, {layer}"
    channels, side = CONVOLUTIONS[layer]
    place = {"dtype": DTYPES[dtype], "memory_format": torch.channels_last}
    convolution, x = torch.nn.Conv2d(channels, 1280, 3, padding=1).to(**place), torch.randn(1, channels, side, side)
    _same(benchmark, convolution, x.to(**place), way == "im2col")


@pytest.mark.parametrize("way", ["copied", "not copied"])
@pytest.mark.parametrize("layer", DOWNSAMPLES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_convolution(benchmark, layer, way, dtype):
    benchmark.group = f"strided convolution, {dtype}, {layer}"
    channels, side = DOWNSAMPLES[layer]
    place = {"dtype": DTYPES[dtype], "memory_format": torch.channels_last}
    block, x = Downsample2D(channels, use_conv=True, padding=0).to(**place), torch.randn(1, channels, side, side)
    _same(benchmark, block, x.to(**place), way == "not copied")


def _same(benchmark, block, x, fused):
    with torch.no_grad():
        expected = block(x)
        assert not fused or fuse_blocks(block) == 1
        assert (benchmark(block, x) - expected).norm() < 1e-2 * expected.norm()
