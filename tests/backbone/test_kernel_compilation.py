"""Every kernel compiles for the A100 and the H100 without a GPU, and keeps its registers.

What is compiled is what a launch of the operators would start: the same arguments, specialised the same way.
"""

import math
import re
import subprocess
from itertools import product

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import create_function_from_signature

from tadp_backbone.kernels import cross_attention_op, group_norm_silu_op

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""What one program may have at most."""

ATTENTION = [
    *product([torch.bfloat16], [77], [40, 64, 80, 160]),
    *product([torch.bfloat16], [21, 256], [40]),
    (torch.bfloat16, 256, 80),
    (torch.float16, 77, 160),
    (torch.float32, 77, 40),
]
QUICK = [(torch.bfloat16, 77, 40)]


def attention_launches(dtype, tokens, width):
    """Forward, then both halves of backward with a gradient of the maps, of a layer of 64 x 64 cells."""
    q, k = (torch.empty(2, n, 8, width, dtype=dtype).transpose(1, 2) for n in (4096, tokens))
    out, maps = cross_attention_op.empty_results(q, k)
    given = torch.empty(2, 4096, tokens + -tokens % 8, dtype=dtype)
    numbers = torch.empty(2, 8, 4096)
    sums = torch.empty(8, 2, 8, tokens, width)
    yield cross_attention_op.attend_launch(q, k, k, out, maps, 0.1)
    yield cross_attention_op.row_launch(q, k, k, out, given, q, numbers, numbers, 0.1)
    yield cross_attention_op.key_launch(q, k, k, out, given, numbers, numbers, sums, sums, 0.1)


def norm_launches(dtype, side):
    x = torch.empty(2, 320, side, side, dtype=dtype).to(memory_format=torch.channels_last)
    parts = math.ceil(side * side / group_norm_silu_op.ROWS_A_PART)
    weight, means, sums = torch.empty(320, dtype=dtype), torch.empty(2, 32), torch.empty(2, parts, 320)
    yield from group_norm_silu_op.forward_launches(x, 32, weight, weight, 1e-5, x, means, means)
    yield group_norm_silu_op.sums_launch(x, weight, weight, means, means, x, sums, sums)
    yield group_norm_silu_op.input_launch(x, weight, weight, means, means, x, means, means, x)


def compiled(launch, architecture):
    target = GPUTarget("cuda", architecture, 32)
    backend = make_backend(target)
    kernel = launch.kernel
    constants = {**launch.constants, "enable_fp_fusion": True}
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    bound, specialization, options = bind(*launch.arguments, **constants)
    options, signature, constexprs, attributes = kernel._pack_args(backend, constants, bound, specialization, options)
    source = ASTSource(kernel, signature, constexprs, attributes)
    return triton.compile(source, target=target, options=options.__dict__)


def registers_and_spills(ptx, architecture, folder):
    """What `ptxas -v` of triton's wheel says: (registers a thread, bytes spilled)."""
    tools = triton.knobs.nvidia
    ptxas = (tools.ptxas if architecture < 90 else tools.ptxas_blackwell).path
    (folder / "kernel.ptx").write_text(ptx)
    target = re.search(r"\.target (sm_\w+)", ptx)[1]
    command = [ptxas, "-v", "--regAllocOptLevel=2", f"--gpu-name={target}", "kernel.ptx", "-o", "kernel.cubin"]
    report = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stderr
    spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report)
    return int(re.search(r"Used (\d+) registers", report)[1]), int(spills[1]) + int(spills[2])


def check(launches, architecture, folder, record_property):
    for launch in launches:
        kernel = compiled(launch, architecture)
        registers, spilled = registers_and_spills(kernel.asm["ptx"], architecture, folder)
        name = launch.kernel.__name__
        record_property(f"{name} sm_{architecture}", f"{registers} registers, {kernel.metadata.shared} bytes shared")
        assert spilled == 0, f"{name} spills {spilled} bytes"
        assert kernel.metadata.shared <= SHARED_BYTES[architecture], name


@pytest.mark.parametrize("architecture", SHARED_BYTES)
@pytest.mark.parametrize(
    ("dtype", "tokens", "width"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in ATTENTION],
)
def test_cross_attention(architecture, dtype, tokens, width, tmp_path, record_property):
    check(attention_launches(dtype, tokens, width), architecture, tmp_path, record_property)


@pytest.mark.parametrize("architecture", SHARED_BYTES)
@pytest.mark.parametrize(
    ("dtype", "side"),
    [(torch.bfloat16, 64), (torch.bfloat16, 1), pytest.param(torch.float32, 64, marks=pytest.mark.slow)],
)
def test_group_norm_silu(architecture, dtype, side, tmp_path, record_property):
    """Side 1: Triton compiles arguments of 1 in as numbers without a tensor's methods; `P.to` failed."""
    check(norm_launches(dtype, side), architecture, tmp_path, record_property)
