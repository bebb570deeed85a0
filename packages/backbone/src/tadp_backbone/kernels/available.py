"""Whether the fused kernels can be compiled here."""

from importlib.util import find_spec

HAS_TRITON = find_spec("triton") is not None
"""torch's CUDA wheels bring Triton on Linux only."""
