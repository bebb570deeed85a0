"""Blocks as `optimize` leaves them, on the CPU: the same numbers as diffusers' with fewer operations."""

import copy

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from peft import LoraConfig, inject_adapter_in_model
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import tadp_backbone.kernels.attention as kernels_attention
from tadp_backbone.kernels import fuse_blocks
from tadp_backbone.kernels.attention import MIN_KEYS, QUERY_CHUNK, LeanAttnProcessor, attention, chunked_attention
from tadp_backbone.kernels.convolutions import MAX_CELLS, MIN_WEIGHTS, Im2colConv2d, UnpaddedDownsample

CHANNELS_LAST = torch.channels_last


class Operations(TorchDispatchMode):
    """Names of the operations that run inside."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def relative(got, expected):
    return ((got.double() - expected).norm() / expected.norm()).item()


def exact_attention(q, k, v):
    q, k, v = q.double(), k.double(), v.double()
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v


@pytest.mark.parametrize("queries", [1, QUERY_CHUNK, QUERY_CHUNK + 3])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_attention_in_chunks_is_the_formula(queries, dtype, most):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, n, 3, 16).to(dtype).transpose(1, 2) for n in (queries, 70, 70))
    got = chunked_attention(q, k, v)
    assert (got.dtype, got.shape) == (dtype, q.shape)
    assert relative(got, exact_attention(q, k, v)) < most


def test_what_all_keys_share_costs_no_digits():
    """Scores of 50 in bfloat16 are whole numbers and quarters."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 300, 64) for _ in range(3))
    q, k, v = (q + 2).bfloat16(), (k + 3).bfloat16(), v.bfloat16()
    expected = exact_attention(q, k, v)
    rounded = (q @ k.transpose(-1, -2) * 0.125).softmax(-1) @ v
    assert relative(chunked_attention(q, k, v), expected) < 0.2 * relative(rounded, expected)


@pytest.fixture
def chunked(monkeypatch):
    """Sizes of queries that were taken in chunks, as on a CPU where that is faster."""
    taken = []

    def counting(q, k, v):
        taken.append(tuple(q.shape))
        return chunked_attention(q, k, v)

    monkeypatch.setattr(kernels_attention, "chunks_are_faster", lambda: True)
    monkeypatch.setattr(kernels_attention, "chunked_attention", counting)
    return taken


@pytest.mark.parametrize(
    ("keys", "dtype", "gradient", "times"),
    [
        (MIN_KEYS, torch.bfloat16, False, 1),
        (MIN_KEYS - 1, torch.bfloat16, False, 0),
        (MIN_KEYS, torch.float32, False, 0),
        (MIN_KEYS, torch.bfloat16, True, 0),
    ],
)
def test_when_queries_are_taken_in_chunks(chunked, keys, dtype, gradient, times):
    q, k, v = (torch.randn(1, 2, n, 8, dtype=dtype, requires_grad=gradient) for n in (5, keys, keys))
    got = attention(q, k, v)
    assert len(chunked) == times
    assert relative(got.detach(), exact_attention(q, k, v).detach()) < 1e-2


@torch.no_grad()
def test_layers_take_chunks(chunked):
    layer, x = Attention(16, heads=2, dim_head=8).bfloat16(), torch.randn(2, 300, 16).bfloat16()
    expected = layer(x)
    fuse_blocks(layer)
    assert relative(layer(x), expected.double()) < 2e-2
    assert chunked == [(2, 2, 300, 8)]


@torch.no_grad()
def test_compiled_code_takes_torchs_attention(chunked):
    q = torch.randn(1, 2, 300, 8).bfloat16()
    torch.compile(attention, backend="eager")(q, q, q)
    assert not chunked


LAYERS = {
    "of the image": {},
    "of the VAE": {"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 2.0, "bias": True},
    "of the text": {"cross_attention_dim": 12},
    "with normed text": {"cross_attention_dim": 12, "cross_attention_norm": "layer_norm"},
    "with normed queries": {"qk_norm": "layer_norm"},
    "normed along the cells": {"norm_num_groups": 4},
    "normed by the timestep": {"spatial_norm_dim": 4, "norm_num_groups": 32},
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_attention_layers_give_the_same_numbers(kind, masked):
    torch.manual_seed(0)
    layer = Attention(32, heads=2, dim_head=16, **LAYERS[kind]).eval()
    image = kind in ("of the VAE", "normed by the timestep")
    x = torch.randn(2, 32, 5, 7).to(memory_format=CHANNELS_LAST) if image else torch.randn(2, 35, 32)
    text = torch.randn(2, 3, 12) if "text" in kind else None
    mask = torch.zeros(2, 1, 35 if text is None else 3).index_fill(2, torch.tensor([1]), -1e4) if masked else None
    given = {"encoder_hidden_states": text, "attention_mask": mask}
    if layer.spatial_norm is not None:
        given["temb"] = torch.randn(2, 4, 5, 7)
    expected, before = layer(x, **given), x.clone()
    assert fuse_blocks(layer) == 1
    assert type(layer.processor) is LeanAttnProcessor
    assert_close(layer(x, **given), expected)
    assert torch.equal(x, before)


@torch.no_grad()
def test_attention_does_not_divide_by_1():
    layer = Attention(16, heads=2, dim_head=8).eval()
    fuse_blocks(layer)
    with Operations() as ran:
        layer(torch.randn(1, 9, 16))
    assert "div" not in ran.names


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", MAX_CELLS)
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_small_maps_take_im2col(stride, dtype, bias):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(1024, 1024, 3, padding=1, stride=stride, bias=bias)
    layer = layer.to(dtype).to(memory_format=CHANNELS_LAST)
    assert layer.weight.numel() >= MIN_WEIGHTS
    # Of 4 x 3 cells, after stride 2 of an odd size; as many images as stay at the limit, and one more.
    size, images = (7, 5) if stride == 2 else (4, 3), MAX_CELLS[dtype] // 12
    small, large = (torch.randn(n, 1024, *size).to(dtype).to(memory_format=CHANNELS_LAST) for n in (images, images + 1))
    expected = [layer(small), layer(large)]
    assert fuse_blocks(layer) == 1
    for x, wanted, convolved in zip((small, large), expected, (False, True), strict=True):
        with Operations() as ran:
            got = layer(x)
        assert ("convolution" in ran.names) is convolved
        assert got.is_contiguous(memory_format=CHANNELS_LAST)
        assert relative(got, wanted.double()) < {torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]


@pytest.mark.parametrize(
    "options", [{"kernel_size": 1}, {"padding_mode": "circular"}, {"groups": 2}, {"dilation": 2}, {"out_channels": 8}]
)
def test_other_convolutions_stay(options):
    layer = torch.nn.Conv2d(**{"in_channels": 512, "out_channels": 512, "kernel_size": 3, "padding": 1, **options})
    assert fuse_blocks(layer) == 0
    assert type(layer) is torch.nn.Conv2d


@torch.no_grad()
def test_adapters_and_borders_after_fusing_are_taken():
    """Peft makes layers of the convolution's own class, with kernels of 1x1."""
    torch.manual_seed(0)
    model, x = torch.nn.Sequential(torch.nn.Conv2d(1024, 1024, 3, padding=1)), torch.randn(1, 1024, 8, 8)
    adapter = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False)
    plain = inject_adapter_in_model(adapter, copy.deepcopy(model)).eval()
    fuse_blocks(model)
    model[0].padding_mode = "circular"
    assert_close(model(x), F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), model[0].weight, model[0].bias))
    model[0].padding_mode = "zeros"
    fused = inject_adapter_in_model(adapter, model).eval()
    fused.load_state_dict(plain.state_dict())
    assert_close(fused(x), plain(x))
    assert_close(fused[0].base_layer(x[0]), plain[0].base_layer(x[0]))


@torch.no_grad()
def test_an_exported_convolution_takes_other_sizes():
    layer, x = torch.nn.Conv2d(1024, 1024, 3, padding=1), torch.randn(1, 1024, 8, 8)
    fuse_blocks(layer)
    sizes = {2: torch.export.Dim("height", max=64), 3: torch.export.Dim("width", max=64)}
    exported = torch.export.export(layer, (x,), dynamic_shapes=(sizes,)).module()
    large = torch.randn(1, 1024, 12, 16)
    assert_close(exported(large), layer(large))


def test_a_convolution_of_a_small_map_has_gradients():
    torch.manual_seed(0)
    layer, x = torch.nn.Conv2d(1024, 1024, 3, padding=1), torch.randn(1, 1024, 4, 4)

    def gradients():
        return torch.autograd.grad(layer(x).square().mean(), list(layer.parameters()))

    expected = gradients()
    fuse_blocks(layer)
    assert type(layer) is Im2colConv2d
    with Operations() as ran:
        assert_close(gradients(), expected)
    assert "convolution" in ran.names, "a product would keep each cell 9 times"


@pytest.mark.parametrize("size", [(8, 12), (7, 9), (2, 3)])
@torch.no_grad()
def test_the_padded_copy_is_not_made(size):
    torch.manual_seed(0)
    layer = Downsample2D(8, use_conv=True, out_channels=12, padding=0)
    x = torch.randn(2, 8, *size).to(memory_format=CHANNELS_LAST)
    expected = layer(x)
    assert fuse_blocks(layer) == 1
    assert type(layer) is UnpaddedDownsample
    with Operations() as ran:
        got = layer(x)
    assert "constant_pad_nd" not in ran.names
    assert got.is_contiguous(memory_format=CHANNELS_LAST)
    assert_close(got, expected)


@torch.no_grad()
def test_a_hook_on_a_strided_convolution_is_called():
    layer, seen = Downsample2D(8, use_conv=True, padding=0), []
    fuse_blocks(layer)
    layer.conv.register_forward_hook(lambda *given: seen.append(given))
    layer(torch.randn(1, 8, 4, 4))
    assert len(seen) == 1


def test_a_strided_convolution_padded_on_all_sides_stays():
    assert fuse_blocks(Downsample2D(8, use_conv=True, padding=1)) == 0


@pytest.mark.parametrize("time", [None, 16])
@pytest.mark.parametrize("channels", [8, 16])
@pytest.mark.parametrize("autocast", [False, True])
@torch.no_grad()
def test_a_resnet_block_works_in_place(time, channels, autocast):
    torch.manual_seed(0)
    block = ResnetBlock2D(in_channels=8, out_channels=channels, temb_channels=time, groups=4).eval()
    x, embedding = torch.randn(2, 8, 5, 7).to(memory_format=CHANNELS_LAST), None if time is None else torch.randn(2, 16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected, before = block(x, embedding), x.clone()
        fuse_blocks(block)
        with Operations() as ran:
            got = block(x, embedding)
    assert torch.equal(x, before)
    assert got.dtype == expected.dtype
    assert relative(got, expected.double()) < (1e-2 if autocast else 1e-5)
    assert ran.names.count("silu_") == 2
    assert "add_" in ran.names or autocast
    assert "div" not in ran.names


@pytest.mark.parametrize("skip", [False, True])
@torch.no_grad()
def test_a_resnet_block_that_trains_drops_cells(skip):
    block = ResnetBlock2D(in_channels=8, temb_channels=16, groups=4, dropout=0.5, skip_time_act=skip).train()
    x, time = torch.randn(2, 8, 5, 7), torch.randn(2, 16)
    torch.manual_seed(0)
    expected = block(x, time)
    fuse_blocks(block)
    torch.manual_seed(0)
    assert_close(block(x, time), expected)
    assert (block(x, time) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_a_distilled_encoder_gives_the_same_numbers():
    torch.manual_seed(0)
    vae = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    expected, before = vae.encode(images).latents, images.clone()
    assert fuse_blocks(vae.encoder) == 10
    assert_close(vae.encode(images).latents, expected)
    assert torch.equal(images, before)
