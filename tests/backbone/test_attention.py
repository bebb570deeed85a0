"""Recording of attention maps."""

import pytest
import torch
from torch.testing import assert_close

from tadp_backbone import record_cross_attention, record_self_attention
from tadp_backbone.kernels import cross_attention_with_maps

pytestmark = pytest.mark.numerical


def processors(unet):
    return dict(unet.attn_processors)


def plain_attention(q, k, v, scale):
    """Head by head in float64."""
    q, k, v = q.double(), k.double(), v.double()
    probabilities = torch.stack(
        [torch.softmax(q[:, h] @ k[:, h].transpose(1, 2) * scale, -1) for h in range(q.shape[1])], 1
    )
    return torch.stack([probabilities[:, h] @ v[:, h] for h in range(q.shape[1])], 1), probabilities.mean(1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize(("cells", "tokens"), [(1, 1), (63, 77), (16, 150)])
def test_the_operation_is_the_plain_formula(dtype, tolerance, cells, tokens):
    q = torch.randn(2, cells, 5, 8).transpose(1, 2).to(dtype)  # not contiguous, as the fold of heads leaves it
    k, v = (torch.randn(2, 5, tokens, 8).to(dtype) for _ in "kv")
    output, maps = cross_attention_with_maps(q, k, v, 0.35)
    expected_output, expected_maps = plain_attention(q, k, v, 0.35)
    assert output.dtype == maps.dtype == dtype
    assert_close(output.double(), expected_output, atol=tolerance, rtol=tolerance)
    assert_close(maps.double(), expected_maps, atol=tolerance, rtol=tolerance)


def test_the_operation_has_right_gradients_through_both_results():
    q, k, v = (torch.randn(1, 2, n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 5, 5))
    assert torch.autograd.gradcheck(lambda q, k, v: cross_attention_with_maps(q, k, v, 0.5), (q, k, v))


def test_every_cross_attention_layer_is_recorded_and_the_output_stays(make_backbone, inputs):
    unet = make_backbone().unet
    latents, context = inputs
    with torch.no_grad():
        expected = unet(latents, 1, context).sample
        with record_cross_attention(unet) as maps:
            got = unet(latents, 1, context).sample
    assert_close(got, expected, atol=1e-5, rtol=1e-4)
    assert len(maps) == 16
    assert all(path.endswith("attn2") for path in maps)
    for path, cells in maps.items():
        assert cells.shape[0] == 2
        assert cells.shape[2] == 7
        assert_close(cells.sum(-1), torch.ones_like(cells[..., 0]), msg=path)


def test_processors_are_restored_after_an_error(make_backbone, inputs):
    unet = make_backbone().unet
    before = processors(unet)
    with pytest.raises(RuntimeError), record_cross_attention(unet):
        unet(inputs[0], 1, torch.randn(2, 7, 3))
    assert processors(unet) == before


def test_nested_contexts_each_get_the_maps_of_what_runs_inside(make_backbone, inputs):
    unet = make_backbone().unet
    before = processors(unet)
    with torch.no_grad(), record_cross_attention(unet) as outer:
        with record_cross_attention(unet) as inner:
            unet(inputs[0], 1, inputs[1])
        seen = {path: maps.clone() for path, maps in inner.items()}
        assert all(torch.equal(outer[path], maps) for path, maps in inner.items())
        unet(inputs[0], 900, inputs[1])
    assert processors(unet) == before
    assert all(torch.equal(inner[path], maps) for path, maps in seen.items())
    assert any(not torch.equal(outer[path], maps) for path, maps in seen.items())


@pytest.mark.parametrize("detach", [True, False])
def test_maps_carry_gradient_only_when_asked(make_backbone, inputs, detach):
    unet = make_backbone().unet
    with record_cross_attention(unet, detach=detach) as maps:
        unet(inputs[0], 1, inputs[1])
    assert {cells.requires_grad for cells in maps.values()} == {not detach}


@pytest.mark.parametrize("detach", [True, False])
def test_gradient_checkpointing_gives_the_same_gradients(make_backbone, inputs, detach):
    """Blocks run again in backward, when the context is over: the recomputation must take the recorded path."""

    def gradient(checkpointing):
        unet = make_backbone().unet.train()
        if checkpointing:
            unet.enable_gradient_checkpointing()
        with record_cross_attention(unet, detach=detach) as maps, record_self_attention(unet, layers=[some]):
            loss = unet(inputs[0], 1, inputs[1]).sample.square().mean()
        if not detach:
            loss = loss + sum(cells.square().sum() for cells in maps.values())
        loss.backward()
        return unet.conv_in.weight.grad

    some = "up_blocks.1.attentions.0.transformer_blocks.0.attn1"
    assert_close(gradient(True), gradient(False), atol=1e-5, rtol=1e-4)


def test_self_attention_maps_of_chosen_layers(make_backbone, inputs):
    unet = make_backbone().unet
    path = "down_blocks.2.attentions.0.transformer_blocks.0.attn1"
    with torch.no_grad(), record_self_attention(unet, layers=[path]) as maps:
        unet(inputs[0], 1, inputs[1])
    assert list(maps) == [path]
    assert maps[path].shape == (2, 16, 16)
    assert_close(maps[path].sum(-1), torch.ones(2, 16))


def test_unknown_layers_are_named(make_backbone):
    unet = make_backbone().unet
    with (
        pytest.raises(ValueError, match=r"no such attention layers: \['mid\.attn9'\]"),
        record_cross_attention(unet, layers=["mid.attn9"]),
    ):
        pass
