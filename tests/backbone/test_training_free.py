"""Training-free segmentation: against a plain computation, and on shapes that the tiny model knows."""

import pytest
import torch
from torch.testing import assert_close

from tadp_backbone import record_cross_attention, record_self_attention
from tadp_backbone.text.training_free import TrainingFreeConfig, class_scores, prompt_groups, refined, segment


def test_scores_are_rescaled_refined_shares_of_attention(make_backbone):
    """One stride, an image that needs no padding, a name of two tokens: every step written out."""
    backbone = make_backbone(text=True, vae=True, map_strides=(16,))
    image = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    cross, alike = (backbone.map_layers[16], [p.replace("attn2", "attn1") for p in backbone.map_layers[16]])
    with (
        torch.no_grad(),
        record_cross_attention(backbone.unet, layers=cross) as maps,
        record_self_attention(backbone.unet, layers=alike) as selfs,
    ):
        backbone(image, backbone.encode_text(["cat ox"]))
    mean = torch.stack([maps[p] for p in cross]).mean(0)[0]  # (N, T)
    words = torch.stack((mean[:, 1], mean[:, 2] + mean[:, 3])) / (1 - mean[:, 0])
    similar = torch.stack([selfs[p] for p in alike]).mean(0)[0]
    expected = (similar @ similar @ words.T).T.reshape(2, 4, 8)
    grown = torch.nn.functional.interpolate(expected[None], size=(64, 128), mode="bilinear")[0]
    assert_close(class_scores(backbone, image, ("cat", "ox")), grown, rtol=1e-4, atol=1e-6)
    plain = class_scores(backbone, image, ("cat", "ox"), TrainingFreeConfig(refinements=0, rescale=False))
    unrefined = torch.stack((mean[:, 1], mean[:, 2] + mean[:, 3])).reshape(1, 2, 4, 8)
    assert_close(plain, torch.nn.functional.interpolate(unrefined, size=(64, 128), mode="bilinear")[0])


def test_any_size_and_names_of_several_prompts(make_backbone):
    backbone = make_backbone(text=True, vae=True)
    names = [f"word{letter}" for letter in "abcdefghijklmnopqrst"]
    groups = list(prompt_groups(backbone, names))
    assert [name for group in groups for name in group] == names
    assert len(groups) > 1
    assert class_scores(backbone, torch.zeros(1, 3, 50, 70), names).shape == (20, 50, 70)
    with pytest.raises(ValueError, match="the class ' ' has no words"):
        list(prompt_groups(backbone, ["cat", " "]))


def test_refinement_averages_over_what_a_cell_attends_to():
    scores = torch.tensor([[[1.0, 0.0]]])
    assert_close(refined(scores, torch.tensor([[0.5, 0.5], [0.0, 1.0]]), 2), torch.tensor([[[0.25, 0.0]]]))


def test_pixels_below_the_threshold_are_background():
    scores = torch.tensor([[[0.9, 0.2, 0.5]], [[0.1, 0.4, 1.0]]])
    assert segment(scores, 0.5).tolist() == [[1, 0, 2]]
    assert segment(scores, 0.0).tolist() == [[1, 2, 2]]


@pytest.mark.parametrize("settings", [{"threshold": 1.0}, {"refinements": -1}])
def test_settings_out_of_range_are_reported(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        TrainingFreeConfig(**settings)
