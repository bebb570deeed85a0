"""`encoding_once`: a batch of images goes through equal encoders once."""

import pytest
import torch

from tadp_backbone.latent_memory import encoding_once

IMAGES = torch.linspace(-1, 1, 2 * 3 * 64 * 64).reshape(2, 3, 64, 64)
CONTEXTS = torch.linspace(-1, 1, 2 * 7 * 64).reshape(2, 1, 7, 64)


@pytest.fixture
def counted(make_backbone):
    """counted(**arguments): a backbone whose VAE appends to `counted.calls` how many images it encodes."""

    def make(**arguments):
        backbone = make_backbone(vae=True, **arguments)
        encode = backbone.vae.encode
        backbone.vae.encode = lambda pixels: make.calls.append(len(pixels)) or encode(pixels)
        return backbone

    make.calls = []
    return make


@torch.no_grad()
def passed(backbone, context=CONTEXTS[0], images=IMAGES, **how):
    return backbone(images, context.expand(len(images), -1, -1), **how)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.levels, other.levels, strict=True))


def test_several_prompts_and_models_with_the_same_vae_cost_one_pass_of_the_encoder(counted):
    first, second = counted(), counted(map_strides=())
    expected = [passed(model, context) for model in (first, second) for context in CONTEXTS]
    counted.calls.clear()
    with encoding_once():
        got = [passed(model, context) for model in (first, second) for context in CONTEXTS]
        assert counted.calls == [2]
        passed(first, images=-IMAGES)
        passed(first, images=IMAGES[:1])
        assert counted.calls == [2, 2, 1], "other images, and another batch, whose latents differ by rounding"
    assert all(map(same, got, expected)), "no number changes"
    passed(first)
    assert counted.calls == [2, 2, 1, 2], "outside, as before"


@pytest.mark.parametrize("arguments", [{"seed": 1}, {"latent_scale": 1.0}], ids=str)
def test_other_weights_or_settings_are_another_encoder(arguments, counted):
    with encoding_once():
        passed(counted())
        other = passed(counted(**arguments))
    assert counted.calls == [2, 2]
    assert same(other, passed(counted(**arguments)))


def test_another_precision_is_another_encoder(counted):
    backbone = counted()
    with encoding_once():
        passed(backbone)
        with torch.autocast("cpu", torch.bfloat16):
            passed(backbone)
        backbone.optimize()
        passed(backbone)
        backbone.optimize(dtype=torch.bfloat16)
        passed(backbone)
    assert counted.calls == [2] * 4


def test_a_sampled_posterior_draws_as_before(counted):
    def drawn(seed):
        return passed(backbone, generator=torch.Generator().manual_seed(seed))

    backbone = counted(posterior="sample")
    expected = [drawn(seed) for seed in (0, 1)]
    counted.calls.clear()
    with encoding_once():
        got = [drawn(seed) for seed in (0, 1, 0)]
    assert counted.calls == [2, 2], "the same noise twice"
    assert all(map(same, got, [*expected, expected[0]]))
    assert not same(*expected)


def test_beyond_the_limit_images_are_encoded_again(counted):
    backbone = counted()
    with encoding_once(limit=4 * backbone.encode_image(IMAGES[:1]).nbytes):
        counted.calls.clear()
        for images in (IMAGES, -IMAGES, IMAGES / 2, IMAGES / 2, IMAGES, -IMAGES):
            passed(backbone, images=images)
    assert counted.calls == [2] * 4, "two batches are kept, the third is not"


def test_passes_with_gradients_are_left_alone(counted):
    """Training draws other crops at each step."""
    backbone = counted()
    with encoding_once():
        for _ in range(2):
            backbone(IMAGES, CONTEXTS[0].expand(2, -1, -1)).levels[0].sum().backward()
    assert counted.calls == [2, 2]
