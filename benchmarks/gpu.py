"""Kernels, extraction and a training step on a GPU: `python benchmarks/gpu.py [--out FILE] [--only PART]`.

Stable Diffusion 1.5's sizes with random weights, images of 512 x 512, each against the reference's way and diffusers'
defaults (`baselines.py`). Prints tables (Markdown) and writes the numbers with device, versions and commit as JSON.
`--device cpu --size toy` runs the same small anywhere; numbers on a CPU come from `cpu.py`.
"""

# B batch, h w latent cells, T tokens, D width of the context

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from baselines import PASSES, random_backbone, random_taesd
from diffusers.models.attention_processor import AttnProcessor
from gpu_bench import SIZES, Bench, Row, short
from gpu_kernels import attention, blocks
from measuring import cost, machine, matrix_product_tflops, seconds_of, table_head, table_row, write_json

from tadp_backbone import DiffusionBackbone
from tadp_backbone.summary import describe
from tadp_heads.segmentation import FPNHead

TOKENS, CLASSES = 77, 21


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way to extract or train."""

    name: str
    base: str
    """One of `PASSES`."""

    dtype: torch.dtype
    options: dict[str, bool] = field(default_factory=dict)
    """Of `DiffusionBackbone.optimize`."""

    taesd: bool = False
    """Whether a distilled encoder takes the VAE's place."""

    optimized: bool = True
    """Of our passes: whether `DiffusionBackbone.optimize` was called; `tadp train` calls it not."""

    largest_batch_only: bool = False
    """Compiled anew for each batch."""


WAYS = (
    Way(name="explicit (a)", base="explicit", dtype=torch.float32),
    Way(name="explicit (a)", base="explicit", dtype=torch.float16),
    Way(name="diffusers (b)", base="diffusers", dtype=torch.float32),
    Way(name="diffusers (b)", base="diffusers", dtype=torch.bfloat16),
    Way(name="ours", base="ours", dtype=torch.float32),
    Way(name="ours", base="ours", dtype=torch.bfloat16),
)
TRAINING_WAYS = (
    *WAYS,
    Way(name="tadp train", base="ours", dtype=torch.float32, optimized=False),
    Way(name="tadp train", base="ours", dtype=torch.bfloat16, optimized=False),
)
GPU_WAYS = (
    Way(name="ours, CUDA graphs", base="ours", dtype=torch.bfloat16, options={"cuda_graphs": True}),
    Way(name="ours, taesd, CUDA graphs", base="ours", dtype=torch.bfloat16, options={"cuda_graphs": True}, taesd=True),
    Way(
        name="ours, blocks compiled, CUDA graphs",
        base="ours",
        dtype=torch.bfloat16,
        options={"compile": True, "cuda_graphs": True},
        largest_batch_only=True,
    ),
)


def extraction(bench: Bench) -> Iterator[Row]:
    """Features with maps, from latents and from pixels."""
    for way in WAYS + (GPU_WAYS if bench.device.type == "cuda" else ()):
        backbone = prepared(way, bench).freeze().to(way.dtype)
        gflops = describe(backbone, 8 * bench.size.side).gflops
        for batch in bench.size.batches[-1:] if way.largest_batch_only else bench.size.batches:
            latents, images, context = example(bench, batch, backbone, way.dtype)
            for source, work, gflop in (
                ("latents", partial(backbone.extract, latents, context), batch * gflops["unet"]),
                ("pixels", partial(backbone, images, context), batch * (gflops["unet"] + gflops["vae"])),
            ):
                getattr(backbone.compute, "graphs", {}).clear()  # captured anew, inside of what is measured
                measured = bench.guarded(partial(extraction_cells, bench, torch.no_grad()(work), batch, gflop))
                empty = dict.fromkeys(("ms/image", "images/s", "GiB", "TFLOP/s", "of ceiling", "first pass, s", "note"))
                yield {"way": way.name, "dtype": short(way.dtype), "from": source, "batch": batch, **empty, **measured}


def extraction_cells(bench: Bench, work: Callable, batch: int, gflop: float) -> Row:
    first = seconds_of(work, bench.device)  # compilation included
    spent = cost(work, bench.device, bench.size.rounds)
    tflops = gflop / 1e3 / spent.seconds
    speed = {"ms/image": spent.seconds * 1e3 / batch, "images/s": batch / spent.seconds}
    return {**speed, "GiB": spent.gib, "TFLOP/s": tflops, "of ceiling": tflops / bench.ceiling, "first pass, s": first}


def training(bench: Bench) -> Iterator[Row]:
    """One step of all UNet weights and an FPN head, weights in float32, half precision by autocast."""
    for batch in bench.size.training_batches:
        for way in TRAINING_WAYS:
            step = bench.guarded(lambda w=way, b=batch: {"step": training_step(w, bench, b)})
            measured = step if "note" in step else bench.guarded(lambda s=step: step_cells(bench, s["step"]))
            row = {"way": way.name, "dtype": short(way.dtype), "batch": batch}
            yield {**row, "ms": None, "GiB": None, "note": None, **measured}


def step_cells(bench: Bench, step: Callable) -> Row:
    spent = cost(step, bench.device, bench.size.rounds)
    return {"ms": spent.seconds * 1e3, "GiB": spent.gib}


def training_step(way: Way, bench: Bench, batch: int) -> Callable[[], None]:
    """A whole step: images through the frozen VAE, features, head, loss, gradients, AdamW."""
    backbone = prepared(way, bench)
    head = FPNHead(backbone.levels, CLASSES).to(bench.device)
    optimizer = torch.optim.AdamW([*backbone.unet.parameters(), *head.parameters()], lr=1e-6)
    _, images, context = example(bench, batch, backbone, torch.float32)
    labels = torch.randint(CLASSES, (len(images), *images.shape[-2:]), device=bench.device)
    kind, half = bench.device.type, way.dtype != torch.float32

    def step() -> None:
        with torch.autocast(kind, way.dtype if half else torch.bfloat16, enabled=half):
            logits = head(backbone(images, context).levels)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def prepared(way: Way, bench: Bench) -> DiffusionBackbone:
    """A backbone of random weights in float32 whose passes go that way."""
    torch.manual_seed(0)
    with bench.device:
        backbone = random_backbone(bench.size.name)
        if way.taesd:
            backbone.use_vae(random_taesd(bench.size.name))
    if way.base == "ours":
        if way.optimized:
            backbone.optimize(**way.options)
    else:
        backbone.run_unet = partial(PASSES[way.base], backbone)
    if way.base == "explicit":
        backbone.vae.set_attn_processor(AttnProcessor())
    return backbone


def example(bench: Bench, batch: int, backbone: DiffusionBackbone, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Latents (B, 4, h, w), images (B, 3, 8 h, 8 w) and a context (B, T, D)."""
    side, width = bench.size.side, backbone.unet.config.cross_attention_dim
    shapes = (batch, 4, side, side), (batch, 3, 8 * side, 8 * side), (batch, TOKENS, width)
    # Images must lie in [-1, 1]; nobody reads the others' values.
    return tuple(2 * torch.rand(shape, device=bench.device, dtype=dtype) - 1 for shape in shapes)


PARTS = {"extraction": extraction, "training": training, "attention": attention, "blocks": blocks}
"""The most important first: what has not begun in time is left out."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part alone; may be repeated")
    parser.add_argument("--size", choices=SIZES, default="sd15")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="what has not begun by then is left out")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/gpu.json"))
    given = parser.parse_args(arguments)
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu --size toy runs the same small")
    start = time.monotonic()
    device, size = torch.device(given.device), SIZES[given.size]
    ceiling = matrix_product_tflops(device, size.product, torch.bfloat16)
    bench = Bench(device=device, size=size, deadline=start + 60 * given.minutes, ceiling=ceiling)
    results = {"machine": machine(device), "size": size.name, "matrix_product_tflops": ceiling, "parts": {}}
    print(f"{results['machine']}\nbfloat16 matrix product: {ceiling:.3g} TFLOP/s", flush=True)
    for name in given.only or PARTS:
        rows = results["parts"][name] = []
        print(f"\n{name}: {PARTS[name].__doc__}\n")
        for row in PARTS[name](bench):
            if not rows:
                print(table_head(row))
            rows.append(row)
            print(table_row(row), flush=True)
        results["seconds"] = time.monotonic() - start
        write_json(given.out, results)  # after each part: one that fails takes none with it


if __name__ == "__main__":
    main()
