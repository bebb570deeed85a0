"""Operations of the backbone with fused implementations for CUDA, each also in PyTorch, and diffusers' blocks with
fewer operations on any device."""

from .cross_attention import cross_attention_with_maps
from .fusing import fuse_blocks
from .group_norm_silu import group_norm_silu

__all__ = ["cross_attention_with_maps", "fuse_blocks", "group_norm_silu"]
