"""Sizes, batches, time steps, gradients and refusals of the backbone."""

import pytest
import torch
from diffusers import ModelMixin
from torch.testing import assert_close

from tadp_backbone import Level

pytestmark = pytest.mark.numerical


def hooks_of(backbone):
    return sum(len(module._forward_hooks) for module in backbone.modules())


@pytest.mark.parametrize(("height", "width"), [(64, 64), (333, 517), (65, 7), (1, 130)])
def test_any_size_gives_cells_that_the_image_touches(make_backbone, height, width):
    backbone = make_backbone(vae=True)
    with torch.no_grad():
        features = backbone(torch.rand(1, 3, height, width) * 2 - 1, torch.randn(1, 3, 64))
    assert features.image_size == (height, width)
    assert features.padding == (-height % 64, -width % 64)
    for level, tensor in zip(backbone.levels, features.levels, strict=True):
        assert tensor.shape[2:] == (-(-height // level.stride), -(-width // level.stride))
    for stride, maps in features.attention.items():
        assert maps.shape == (1, 3, -(-height // stride), -(-width // stride))
        assert_close(maps.sum(1), torch.ones_like(maps[:, 0]))


def test_padding_is_mid_grey_and_then_cut_off(make_backbone):
    backbone = make_backbone(vae=True)
    images, context = torch.rand(1, 3, 48, 100) * 2 - 1, torch.randn(1, 4, 64)
    grey = torch.zeros(1, 3, 64, 128)
    grey[:, :, :48, :100] = images
    with torch.no_grad():
        cut, whole = backbone(images, context), backbone(grey, context)
    assert_close(cut.levels[1], whole.levels[1][:, :, :3, :7])


def test_an_unpadded_image_may_be_encoded_first(make_backbone):
    backbone = make_backbone(vae=True)
    images, context = torch.rand(2, 3, 64, 128) * 2 - 1, torch.randn(2, 4, 64)
    with torch.no_grad():
        direct, staged = backbone(images, context), backbone.extract(backbone.encode_image(images), context)
    for a, b in zip(direct.levels, staged.levels, strict=True):
        assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("tokens", "dtype"), [(1, torch.float32), (21, torch.float16), (77, torch.bfloat16), (150, torch.float32)]
)
def test_levels_are_as_declared(make_backbone, tokens, dtype):
    backbone = make_backbone(num_tokens=tokens).to(dtype)
    with torch.no_grad():
        features = backbone.extract(torch.randn(1, 4, 8, 8), torch.randn(1, tokens, 64))
    assert backbone.levels == (Level(32, 8), Level(64 + tokens, 16), Level(128 + tokens, 32), Level(128, 64))
    for level, tensor in zip(backbone.levels, features.levels, strict=True):
        assert tensor.shape == (1, level.channels, 64 // level.stride, 64 // level.stride)
        assert tensor.dtype == dtype
    for maps in features.attention.values():
        assert_close(maps.float().sum(1), torch.ones_like(maps[:, 0], dtype=torch.float32), atol=0.02, rtol=0)


@pytest.mark.parametrize(("batch", "dtype", "tolerance"), [(1, torch.bfloat16, 0.1), (3, torch.float16, 0.02)])
def test_half_precision_stays_close_to_full(make_backbone, batch, dtype, tolerance):
    """Relative to the spread of a level, over a size that needs padding in both directions."""
    latents, context = torch.randn(batch, 4, 9, 17), torch.randn(batch, 21, 64)
    with torch.no_grad():
        full = make_backbone().extract(latents, context, image_size=(67, 131))
        half = make_backbone().to(dtype).extract(latents, context, image_size=(67, 131))
    assert full.padding == half.padding == (61, 61)
    for a, b in zip(half.levels, full.levels, strict=True):
        assert a.shape == b.shape
        assert (a.float() - b).square().mean().sqrt() < tolerance * b.std()


def test_one_image_in_a_batch_gives_what_it_gives_alone(make_backbone, inputs):
    backbone = make_backbone()
    latents, context = inputs
    with torch.no_grad():
        both = backbone.extract(latents, context, timestep=torch.tensor([1, 500]))
        second = backbone.extract(latents[1:], context[1:], timestep=500)
        shared = backbone.extract(latents, context[:1])
        first = backbone.extract(latents[:1], context[:1])
    assert_close(both.levels[2][1:], second.levels[2], atol=1e-4, rtol=1e-4)
    assert_close(shared.levels[2][:1], first.levels[2], atol=1e-4, rtol=1e-4)


def test_noise_is_the_forward_process_and_repeats_with_its_generator(make_backbone, inputs):
    noisy, clean = make_backbone(noise=True, timestep=261), make_backbone(timestep=261)
    latents, context = inputs
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0)[261].float()
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        got = noisy.extract(latents, context, generator=torch.Generator().manual_seed(5))
        expected = clean.extract(kept**0.5 * latents + (1 - kept) ** 0.5 * noise, context)
    assert_close(got.levels[3], expected.levels[3], atol=1e-4, rtol=1e-4)


def test_noise_of_a_generator_per_image_is_that_of_the_image_alone_in_any_precision(make_backbone, inputs):
    noisy = make_backbone(noise=True, timestep=261, map_strides=())
    latents, context = inputs

    def seeded(*seeds):
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    with torch.no_grad():
        both = noisy.extract(latents, context, generator=seeded(3, 4)).levels[3]
        second = noisy.extract(latents[1:], context[1:], generator=seeded(4)).levels[3]
        half = noisy.to(torch.bfloat16).extract(latents, context, generator=seeded(3, 4)).levels[3]
    assert_close(both[1:], second, atol=1e-4, rtol=1e-4)
    assert (half.float() - both).norm() < 0.05 * both.norm()
    with pytest.raises(ValueError, match="1 generators for 2 images: expected one each, or one for all"):
        noisy.extract(latents, context, generator=seeded(3))


def test_no_maps_means_no_recording(make_backbone, inputs):
    backbone = make_backbone(map_strides=())
    with torch.no_grad():
        features = backbone.extract(*inputs)
    assert features.attention == {}
    assert [level.shape[1] for level in features.levels] == [32, 64, 128, 128]


def test_a_pass_does_not_walk_the_modules_for_their_device_and_type(make_backbone, monkeypatch):
    """As diffusers' own properties do: milliseconds at each use, more than a GPU takes for a small pass."""
    backbone = make_backbone(vae=True)
    for name in ("device", "dtype"):
        monkeypatch.setattr(ModelMixin, name, property(lambda self: pytest.fail("walks all modules")))
    with torch.no_grad():
        backbone(torch.rand(1, 3, 64, 64) * 2 - 1, torch.randn(1, 4, 64))


def test_maps_of_other_strides(make_backbone, inputs):
    with torch.no_grad():
        features = make_backbone(map_strides=(8,)).extract(*inputs)
    assert {stride: maps.shape for stride, maps in features.attention.items()} == {8: (2, 7, 16, 16)}
    assert features.levels[0].shape[1] == 32 + 7


@pytest.mark.parametrize("detach", [True, False])
def test_gradient_through_maps_is_a_choice(make_backbone, inputs, detach):
    features = make_backbone(detach_maps=detach).extract(*inputs)
    assert features.levels[0].requires_grad
    assert features.attention[16].requires_grad == (not detach)


def test_nothing_is_left_in_the_unet_after_a_call_or_an_error(make_backbone, inputs):
    backbone = make_backbone()
    before = dict(backbone.unet.attn_processors)
    backbone.extract(*inputs)
    handle = backbone.unet.conv_out.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backbone.extract(*inputs)
    handle.remove()
    assert hooks_of(backbone) == 0
    assert backbone.unet.attn_processors == before


def test_a_call_inside_another_disturbs_neither(make_backbone, inputs):
    first, second = make_backbone(), make_backbone(seed=7)
    with torch.no_grad():
        expected, other = first.extract(*inputs), second.extract(*inputs)
        nested = []

        def call_both(*_):
            handle.remove()
            nested.extend((first.extract(*inputs, timestep=700), second.extract(*inputs)))

        handle = first.unet.mid_block.register_forward_hook(call_both)
        got = first.extract(*inputs)
    assert torch.equal(nested[1].levels[1], other.levels[1])
    assert not torch.equal(nested[0].levels[1], expected.levels[1])
    assert torch.equal(got.levels[2], expected.levels[2])
    assert torch.equal(got.levels[0], expected.levels[0])


def test_freezing_keeps_nothing_for_backward(make_backbone):
    def saved_tensors(backbone):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            backbone(torch.rand(1, 3, 64, 64), backbone.encode_text(["a cat"]))
        return len(saved)

    assert saved_tensors(make_backbone(vae=True, text=True)) > 100
    assert saved_tensors(make_backbone(vae=True, text=True).freeze()) == 0


def test_vae_and_text_encoder_never_train(make_backbone):
    backbone = make_backbone(vae=True, text=True).train()
    assert not backbone.vae.training
    assert not backbone.text_encoder.training
    assert backbone.unet.training
    trainable = {name.split(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trainable == {"unet"}
    latents = backbone.encode_image(torch.rand(1, 3, 64, 64))
    assert not latents.requires_grad


def test_gradient_checkpointing_leaves_results_and_gradients(make_backbone, inputs):
    def run(checkpointed):
        backbone = make_backbone().train()
        backbone.checkpoint_gradients(checkpointed)
        features = backbone.extract(*inputs)
        features.levels[0].square().mean().backward()
        return features.levels[1].detach(), backbone.unet.conv_in.weight.grad

    plain, checkpointed = run(False), run(True)
    assert_close(checkpointed[0], plain[0], atol=1e-4, rtol=1e-4)
    assert_close(checkpointed[1], plain[1], atol=1e-5, rtol=1e-3)


def test_taps_by_name(make_backbone, inputs):
    backbone = make_backbone(taps=("down_blocks.0.resnets.0", "mid_block"), map_strides=())
    seen = {}
    backbone.unet.mid_block.register_forward_hook(lambda _m, _i, output: seen.update(mid=output))
    with torch.no_grad():
        features = backbone.extract(*inputs)
    assert backbone.levels == (Level(32, 8), Level(128, 64))
    assert features.levels[0].shape == (2, 32, 16, 16)
    assert torch.equal(features.levels[1], seen["mid"])
    with pytest.raises(ValueError, match=r"no module 'up_blocks\.9'"):
        make_backbone(taps=("up_blocks.9",))


def test_text_adapter_starts_close_to_identity_and_trains(make_backbone, inputs):
    plain, adapted = make_backbone(), make_backbone(text_adapter=True)
    adapted.freeze()
    features = adapted.extract(*inputs)
    assert_close(features.levels[1], plain.extract(*inputs).levels[1].detach(), atol=1e-2, rtol=1e-2)
    features.levels[0].mean().backward()
    assert adapted.text_adapter.gamma.grad.abs().sum() > 0


def test_learnt_context_stands_for_text(make_backbone, inputs):
    backbone = make_backbone(learnt_context=5).freeze()
    features = backbone.extract(inputs[0])
    assert features.attention[16].shape[1] == 5
    features.levels[0].mean().backward()
    assert backbone.learnt_context.vectors.grad.abs().sum() > 0


def test_wrong_images_are_refused(make_backbone):
    backbone = make_backbone(vae=True)
    for images, message in (
        (torch.rand(1, 3, 64, 64) * 255, r"expected values in \[-1, 1\]"),
        (torch.full((1, 3, 64, 64), float("nan")), r"expected values in \[-1, 1\]"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "torch.uint8"),
        (torch.zeros(3, 64, 64), r"\(3, 64, 64\), expected floats \(B, 3, H, W\)"),
        (torch.zeros(1, 64, 64, 3), r"\(1, 64, 64, 3\), expected floats"),
    ):
        with pytest.raises(ValueError, match=message):
            backbone(images, torch.zeros(1, 1, 64))


def test_other_wrong_input_is_refused(make_backbone, inputs):
    backbone = make_backbone()
    latents, context = inputs
    for call, message in [
        (
            lambda: backbone.extract(latents, context[..., :32]),
            r"context is \(2, 7, 32\), expected \(2 or 1, tokens, 64\)",
        ),
        (lambda: backbone.extract(latents, context[[0, 0, 0]]), r"context is \(3, 7, 64\)"),
        (lambda: backbone.extract(latents), "no context given"),
        (lambda: backbone.extract(latents[:, :3], context), r"expected floats \(B, 4, h, w\)"),
        (lambda: backbone.extract(latents, context, timestep=1000), "expected 0 to 999"),
        (lambda: backbone.extract(latents, context, timestep=torch.tensor([1, 2, 3])), "expected an integer or"),
        (lambda: backbone.extract(latents, context, image_size=(128, 129)), r"\(128, 129\).*at most \(128, 128\)"),
        (lambda: backbone.encode_image(latents), "no VAE"),
        (lambda: backbone.encode_text(["a"]), "no text encoder"),
        (lambda: backbone.load_tokens("x"), "need a backbone with a tokenizer"),
        (lambda: make_backbone(map_strides=(16, 64)), "no cross-attention at stride 64: .*at strides 8, 16, 32"),
        (lambda: make_backbone(timestep=1000), "timestep is 1000"),
        (lambda: make_backbone(posterior="mean"), "expected 'mode' or 'sample'"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_folded_backbone_gives_the_same_features_and_holds_no_projection_of_text(make_backbone):
    backbone = make_backbone(text=True, vae=True, text_adapter=True).eval()
    context = backbone.encode_text(["a cat"]).detach()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone(images, context)
        before = len(backbone.state_dict())
        with backbone.folded(context):
            names = [name for name in backbone.state_dict() if ".attn2.to_k." in name or "time_emb_proj" in name]
            assert {name.rsplit(".", 1)[1] for name in names} == {"value"}
            folded = backbone(images, context)
        with backbone.folded():
            other = backbone.encode_text(["two dogs"])
            varied = backbone(images, other)
        assert len(backbone.state_dict()) == before
        assert_close(varied.levels[0], backbone(images, other).levels[0], atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(expected.levels, folded.levels, strict=True):
        assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
