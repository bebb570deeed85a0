"""Registers, spills and shared memory of every kernel, without a GPU: `python benchmarks/kernel_registers.py`.

Compiles what a launch of the operators would start (the same arguments, specialised the same way) for the A100 (sm_80)
and the H100 (sm_90), and asks `ptxas` of triton's wheel. Prints a Markdown table; `--quick`: one type and width.
"""

# B batch, N queries, T keys, D channels a head

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from tadp_backbone.kernels import cross_attention_op, resnet_launches
from tadp_backbone.kernels.tiles import Launch

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""What one program may have at most, by architecture."""

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
WIDTHS = (40, 64, 80, 160)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a compiled kernel takes."""

    kernel: str
    registers: int
    """A thread."""

    spilled: int
    """Bytes, stores and loads together."""

    shared: int
    """Bytes a program."""


def attention_launches(dtype: torch.dtype, tokens: int, width: int) -> Iterator[Launch]:
    """Forward, then both halves of backward with a gradient of the maps, of a layer of 64 x 64 cells."""
    q, k = (torch.empty(2, n, 8, width, dtype=dtype).transpose(1, 2) for n in (4096, tokens))
    out, maps = cross_attention_op.empty_results(q, k)
    given = torch.empty(2, 4096, tokens + -tokens % 8, dtype=dtype)
    numbers = torch.empty(2, 8, 4096)
    sums = torch.empty(8, 2, 8, tokens, width)
    yield cross_attention_op.attend_launch(q, k, k, out, maps, 0.1)
    yield cross_attention_op.row_launch(q, k, k, out, given, q, numbers, numbers, 0.1)
    yield cross_attention_op.key_launch(q, k, k, out, given, numbers, numbers, sums, sums, 0.1)


def norm_launches(dtype: torch.dtype, side: int) -> Iterator[Launch]:
    """Norm and SiLU with and without a shift, and the sum, of 320 channels in 32 groups over side x side cells."""
    x = torch.empty(2, 320, side, side, dtype=dtype).to(memory_format=torch.channels_last)
    weight, shift = torch.empty(320, dtype=dtype), torch.empty(2, 320, dtype=dtype)
    yield from resnet_launches.norm_launches(x, 32, weight, weight, 1e-5, shift, True, x)
    yield resnet_launches.norm_launches(x, 32, weight, weight, 1e-5, None, False, x)[-1]
    yield resnet_launches.add_launch(x, x, weight)


def usage(launch: Launch, architecture: int) -> Usage:
    """Of the launch's kernel, compiled for sm_<architecture>."""
    kernel = _compiled(launch, architecture)
    registers, spilled = _assembled(kernel.asm["ptx"], architecture)
    return Usage(kernel=launch.kernel.__name__, registers=registers, spilled=spilled, shared=kernel.metadata.shared)


def _compiled(launch: Launch, architecture: int):
    target = GPUTarget("cuda", architecture, 32)
    backend = make_backend(target)
    kernel = launch.kernel
    constants = {**launch.constants, "enable_fp_fusion": True}
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, specialization, options = bind(*launch.arguments, **constants)
    options, signature, constexprs, attributes = kernel._pack_args(backend, constants, bound, specialization, options)
    source = ASTSource(kernel, signature, constexprs, attributes)
    return triton.compile(source, target=target, options=options.__dict__)


def _assembled(ptx: str, architecture: int) -> tuple[int, int]:
    """What `ptxas -v` says: (registers a thread, bytes spilled)."""
    tools = triton.knobs.nvidia
    ptxas = (tools.ptxas if architecture < 90 else tools.ptxas_blackwell).path
    target = re.search(r"\.target (sm_\w+)", ptx)[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "kernel.ptx").write_text(ptx)
        command = [ptxas, "-v", "--regAllocOptLevel=2", f"--gpu-name={target}", "kernel.ptx", "-o", "kernel.cubin"]
        report = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report)
    return int(re.search(r"Used (\d+) registers", report)[1]), int(spills[1]) + int(spills[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=77)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    dtypes, widths = (DTYPES[:1], WIDTHS[:1]) if given.quick else (DTYPES, WIDTHS)
    cases = [(d, f"D {w}", list(attention_launches(d, given.tokens, w))) for d, w in product(dtypes, widths)]
    cases += [(d, "320 channels", list(norm_launches(d, 64))) for d in dtypes]
    print("| kernel | type | size | sm_80: registers, spilled, shared KiB | sm_90 |\n|---|---|---|---|---|")
    for dtype, size, launches in cases:
        for launch in launches:
            found = [usage(launch, architecture) for architecture in SHARED_BYTES]
            cells = [f"{u.registers}, {u.spilled}, {u.shared / 1024:.0f}" for u in found]
            name = str(dtype).removeprefix("torch.")
            print(f"| {found[0].kernel} | {name} | {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
