"""Operations of the backbone that have (or will have) fused implementations; each has a plain PyTorch one beside it."""

from .cross_attention import cross_attention_with_maps

__all__ = ["cross_attention_with_maps"]
