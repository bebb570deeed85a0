"""Seeding the global generators: the draws of Python, NumPy and torch repeat."""

import random

import numpy as np
import torch

from tadp_heads.seeds import seed_all


def test_all_global_draws_repeat_and_are_those_of_the_libraries_own_seeds():
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    seed_all(7)
    first = draws()
    seed_all(7)
    assert draws() == first
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    assert draws() == first
