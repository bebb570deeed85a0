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


def test_noise_that_cannot_be_drawn_again_is_not_kept(counted):
    backbone = counted(posterior="sample")
    with encoding_once(limit=backbone.encode_image(IMAGES).nbytes):
        passed(backbone)
        counted.calls.clear()
        for _ in range(2):
            passed(backbone, generator=torch.Generator().manual_seed(0))
    assert counted.calls == [2], "there was room left"


def _in_place(backbone):
    next(backbone.vae.encoder.parameters()).mul_(1.5)


def _in_another_type(backbone):
    backbone.vae.to(torch.bfloat16).to(torch.float32)


def _in_tiles(backbone):
    backbone.vae.use_tiling = True


@pytest.mark.parametrize("change", [_in_place, _in_another_type, _in_tiles])
@torch.no_grad()
def test_a_vae_that_was_changed_encodes_again(counted, change):
    backbone = counted()
    with encoding_once():
        passed(backbone)
        change(backbone)
        got = passed(backbone)
    assert counted.calls == [2, 2]
    assert same(got, passed(backbone))


def test_images_of_the_same_bytes_and_another_shape_are_other_images(counted):
    backbone, zeros = counted(), torch.zeros(1, 3, 64, 128)
    with encoding_once():
        passed(backbone, images=zeros)
        passed(backbone, images=zeros.mT.contiguous())
    assert counted.calls == [1, 1]


def test_latents_that_a_caller_changes_stay(counted):
    backbone = counted()
    backbone.unet.register_forward_pre_hook(lambda _, given: (given[0].mul_(2), *given[1:]))
    with encoding_once():
        got = [passed(backbone) for _ in range(3)]
    assert same(got[0], got[1])
    assert same(got[0], got[2])


def test_a_unet_in_another_precision_takes_them(counted):
    backbone = counted()
    backbone.unet.to(torch.bfloat16)
    expected = passed(backbone)
    with encoding_once():
        assert same(passed(backbone), expected)
        assert same(passed(backbone), expected)


@torch.no_grad()
def test_passes_without_values_are_left_alone(counted):
    """Traced for export, or of a model that is only measured."""
    backbone, images = counted(), torch.zeros(1, 3, 64, 64)
    with encoding_once():
        backbone.to("meta")(images.to("meta"), CONTEXTS[0].to("meta"))
        assert counted.calls == [1]


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
