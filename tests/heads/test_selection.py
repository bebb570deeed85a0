"""Uncertainties of pixels, images that differ, and how well uncertainty finds errors."""

import math

import numpy as np
import pytest
import torch

from tadp_heads.labelling.selection import disagreement, diverse, entropy, error_auroc


def test_uncertainty_is_zero_where_prompts_agree_and_choices_differ():
    one = torch.tensor([[0.9, 0.1], [0.9, 0.1]])[:, :, None, None]
    other = torch.tensor([[0.9, 0.1], [0.1, 0.9]])[:, :, None, None]
    assert float(disagreement(one)) == pytest.approx(0, abs=1e-6)
    mean, each = 0.5, -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert float(disagreement(other)) == pytest.approx(-2 * mean * np.log(mean) - each, abs=1e-5)
    assert float(entropy(one[:1])) == pytest.approx(each, abs=1e-5)
    files = list("abcd")
    features = dict(zip(files, torch.tensor([[1.0, 0], [0.99, 0.01], [0, 1], [0.6, 0.6]]), strict=True))
    assert diverse(features, files, [], 3) == [files[0], files[2], files[3]]
    assert diverse(features, files[1:], files[:1], 1) == [files[2]], "not like what is labelled"


def test_the_area_is_the_share_of_pairs_that_are_in_order():
    generator = torch.Generator().manual_seed(0)
    for levels in (3, 1000):
        scores = torch.randint(levels, (60,), generator=generator).float()
        wrong = torch.rand(60, generator=generator) < 0.3
        above = (scores[wrong][:, None] > scores[~wrong][None]).float()
        equal = (scores[wrong][:, None] == scores[~wrong][None]).float()
        assert error_auroc(scores, wrong) == pytest.approx(float((above + equal / 2).mean()))
    assert error_auroc(torch.tensor([0.1, 0.9]), torch.tensor([False, True])) == 1
    assert math.isnan(error_auroc(torch.tensor([0.1, 0.9]), torch.tensor([True, True])))
