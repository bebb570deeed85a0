"""Features and maps against an unfused network read with the test's own hooks."""

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from torch.testing import assert_close

pytestmark = pytest.mark.numerical

HEADS = 8


def plain_features_and_maps(unet, latents, timestep, context):
    """Explicit softmax(q k^T / sqrt(d)) head by head from the projections' outputs, taps written out by hand."""
    unet.set_attn_processor(AttnProcessor())
    seen, handles = {}, []

    def keep(name, module):
        def hook(_module, _inputs, output):
            seen[name] = output[0] if isinstance(output, tuple) else output

        handles.append(module.register_forward_hook(hook))

    up, down = unet.up_blocks, unet.down_blocks
    taps = (up[3].attentions[2], up[2].attentions[1], up[1].attentions[1], up[0].resnets[1])
    for i, tap in enumerate(taps):
        keep(i, tap)
    layers = {16: (*down[1].attentions, *up[2].attentions), 32: (*down[2].attentions, *up[1].attentions)}
    for stride, transformers in layers.items():
        for i, transformer in enumerate(transformers):
            attention = transformer.transformer_blocks[0].attn2
            keep((stride, i, "q"), attention.to_q)
            keep((stride, i, "k"), attention.to_k)
    with torch.no_grad():
        unet(latents, torch.tensor([timestep] * len(latents)), context)
    for handle in handles:
        handle.remove()
    maps = {}
    for stride, transformers in layers.items():
        total = 0
        for i in range(len(transformers)):
            q, k = seen[stride, i, "q"], seen[stride, i, "k"]
            width = q.shape[-1] // HEADS
            for head in range(HEADS):
                part = slice(head * width, (head + 1) * width)
                scores = torch.einsum("bnd,btd->bnt", q[..., part], k[..., part]) / width**0.5
                total = total + torch.exp(scores) / torch.exp(scores).sum(-1, keepdim=True)
        mean = total / (HEADS * len(transformers))  # (B, N, T)
        side = latents.shape[-1] * 8 // stride
        maps[stride] = mean.transpose(1, 2).reshape(len(latents), -1, latents.shape[-2] * 8 // stride, side)
    features = [seen[i] for i in range(4)]
    features[1] = torch.cat((features[1], maps[16]), 1)
    features[2] = torch.cat((features[2], maps[32]), 1)
    return features, maps


@pytest.mark.parametrize(("size", "tokens", "timestep"), [((8, 8), 77, 1), ((16, 8), 5, 0), ((8, 24), 1, 700)])
def test_features_and_maps_are_the_plain_ones(make_backbone, size, tokens, timestep):
    backbone = make_backbone(timestep=timestep)
    latents, context = torch.randn(2, 4, *size), torch.randn(2, tokens, 64)
    with torch.no_grad():
        got = backbone.extract(latents, context)
    features, maps = plain_features_and_maps(backbone.unet, latents, timestep, context)
    assert len(got.levels) == 4
    for level, expected in zip(got.levels, features, strict=True):
        assert_close(level, expected, atol=1e-4, rtol=1e-4)
    assert set(got.attention) == {16, 32}
    for stride, expected in maps.items():
        assert_close(got.attention[stride], expected, atol=1e-5, rtol=1e-4)


def test_time_step_one_is_the_default_and_differs_from_zero(make_backbone, inputs):
    backbone = make_backbone()
    with torch.no_grad():
        default, one, zero = (backbone.extract(*inputs, timestep=t).levels[3] for t in (None, 1, 0))
    assert torch.equal(default, one)
    assert not torch.allclose(default, zero, atol=1e-3)


def test_encode_image_is_mode_times_factor(make_backbone):
    images = torch.rand(1, 3, 32, 48) * 2 - 1
    backbone = make_backbone(vae=True)
    moments = backbone.vae.quant_conv(backbone.vae.encoder(images))
    mean, log_variance = moments.chunk(2, 1)
    assert_close(backbone.encode_image(images), mean * 0.18215)
    assert_close(make_backbone(vae=True, latent_scale=1.0).encode_image(images), mean)
    sampled = make_backbone(vae=True, posterior="sample")
    first, again = (sampled.encode_image(images, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert_close(first, (mean + noise * torch.exp(0.5 * log_variance.clamp(-30, 20))) * 0.18215)
