"""Stable Diffusion at full size with random weights: time, peak memory and arithmetic of one image from its pixels.

SIZE in pixels: TADP_BENCH_SIZE, 256 by default. On a GPU where there is one, in bfloat16.
"""

import os
import resource

import pytest
import torch

from tadp_backbone.summary import describe, untrained

SIZE = int(os.environ.get("TADP_BENCH_SIZE", "256"))
MEMORY_GIB = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


@pytest.mark.skipif(MEMORY_GIB < 8, reason="needs 8 GiB of memory")
@pytest.mark.parametrize("name", ["sd15", "sd21"])
def test_one_image(benchmark, capsys, name):
    cuda = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if cuda else ("cpu", torch.float32)
    backbone = untrained(name, device=device, dtype=dtype).freeze()
    images = torch.rand(1, 3, SIZE, SIZE, device=device) * 2 - 1
    context = torch.randn(1, 77, backbone.unet.config.cross_attention_dim, device=device)

    def extract():
        with torch.no_grad():
            features = backbone(images, context)
        if cuda:
            torch.cuda.synchronize()
        return features

    features = benchmark.pedantic(extract, rounds=20 if cuda else 2, warmup_rounds=3 if cuda else 0)
    assert all(level.isfinite().all() for level in features.levels)
    seconds = benchmark.stats.stats.min
    gflops = sum(describe(backbone, SIZE).gflops.values())
    # The process's own peak holds what ran before, too; full size is the largest by far.
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with capsys.disabled():
        print(
            f"\n{name}, {SIZE} x {SIZE}, {device}, {dtype}: {seconds:.2f} s, peak memory {peak / 2**30:.1f} GiB, "
            f"{gflops:.0f} GFLOP, {gflops / seconds:.0f} GFLOP/s"
        )
