"""Seconds that `--compile` takes and what it gains: `python benchmarks/compilation.py [--size toy] [--device cuda]`.

The UNet with maps, random weights, one image, from latents. The compiler's caches are empty. Later passes run in turns
compiled and uncompiled; prints the median of the ratios.
"""

import argparse
import os
import statistics
import tempfile

import torch
from baselines import random_backbone
from measuring import seconds_of
from torch._dynamo.utils import counters

TOKENS = 77


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=["sd15", "toy"], default="sd15")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    parser.add_argument("--side", type=int, default=32, help="latent cells along one side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    given = parser.parse_args(arguments)
    os.environ |= {"TORCHINDUCTOR_FX_GRAPH_CACHE": "0", "TORCHINDUCTOR_CACHE_DIR": tempfile.mkdtemp()}
    device = torch.device(given.device)
    torch.manual_seed(0)
    backbone = random_backbone(given.size).to(device)
    latents = torch.randn(1, 4, given.side, given.side, device=device)
    context = torch.randn(1, TOKENS, backbone.unet.config.cross_attention_dim, device=device)

    @torch.no_grad()
    def work() -> object:
        return backbone.extract(latents, context)

    backbone.optimize()
    work()
    uncompiled = seconds_of(work, device)
    backbone.optimize(compile=given.backend)
    first = seconds_of(work, device)
    graphs = counters["stats"]["unique_graphs"]
    ratios = []
    for _ in range(given.rounds):
        compiled = seconds_of(work, device)
        with torch.compiler.set_stance("force_eager"):
            ratios.append(compiled / seconds_of(work, device))
    print(f"first pass {first:.1f} s ({uncompiled:.2f} uncompiled), {graphs} graphs; ", end="")
    print(f"later passes take {statistics.median(ratios):.3f} of the uncompiled time")
    assert counters["stats"]["unique_graphs"] == graphs, "later passes compile nothing"


if __name__ == "__main__":
    main()
