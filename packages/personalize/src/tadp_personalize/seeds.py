"""Random numbers as a function of what they are for."""

import hashlib

import torch


def generator(*key: object) -> torch.Generator:
    """Return a CPU generator seeded by the whole key, so that draw k needs none of the draws before it."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
