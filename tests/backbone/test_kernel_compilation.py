"""Every kernel compiles for the A100 and the H100 without a GPU, and keeps its registers."""

from itertools import product

import pytest
import torch

pytest.importorskip("triton")

from kernel_registers import DTYPES, SHARED_BYTES, WIDTHS, attention_launches, norm_launches, usage

ATTENTION = [
    *product(DTYPES, [77], WIDTHS),
    *product([torch.float32], [150, 256], WIDTHS),
    *product([torch.bfloat16, torch.float16], [150, 256], [160]),
    *product([torch.bfloat16], [21, 256], [40, 80]),
    *product([torch.bfloat16, torch.float32], [9], [40, 160]),
    *product([torch.bfloat16, torch.float32], [77, 256], [16]),
]
QUICK = [(torch.bfloat16, 77, 40)]


def check(launches, architecture, record_property):
    for launch in launches:
        used = usage(launch, architecture)
        record_property(f"{used.kernel} sm_{architecture}", f"{used.registers} registers, {used.shared} bytes shared")
        assert used.spilled == 0, f"{used.kernel} spills {used.spilled} bytes"
        assert used.shared <= SHARED_BYTES[architecture], used.kernel


@pytest.mark.parametrize("architecture", SHARED_BYTES)
@pytest.mark.parametrize(
    ("dtype", "tokens", "width"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in ATTENTION],
    ids=str,
)
def test_cross_attention(architecture, dtype, tokens, width, record_property):
    check(attention_launches(dtype, tokens, width), architecture, record_property)


@pytest.mark.parametrize("architecture", SHARED_BYTES)
@pytest.mark.parametrize(
    ("dtype", "side"),
    [
        (torch.bfloat16, 64),
        (torch.bfloat16, 1),
        (torch.bfloat16, 300),
        *(pytest.param(dtype, 64, marks=pytest.mark.slow) for dtype in (torch.float16, torch.float32)),
    ],
)
def test_group_norm_silu(architecture, dtype, side, record_property):
    """Side 300: the most parts. Side 1: Triton compiles arguments of 1 in as numbers without methods; `P.to` failed."""
    check(norm_launches(dtype, side), architecture, record_property)
