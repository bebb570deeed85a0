"""Blocks as `optimize` leaves them, on the CPU: the same numbers as diffusers' with fewer operations."""

import pytest
import torch
from diffusers import AutoencoderTiny
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from tadp_backbone.kernels import fuse_blocks
from tadp_backbone.kernels.attention import ROWS, ShortAttention, attention, block_attention
from tadp_backbone.kernels.convolutions import LEAST_WEIGHTS, MOST_CELLS, FewCellsConv2d, UnpaddedDownsample

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


@pytest.mark.parametrize("queries", [1, ROWS, ROWS + 3])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_attention_in_blocks_is_the_formula(queries, dtype, most):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, n, 3, 16).to(dtype).transpose(1, 2) for n in (queries, 70, 70))
    got = block_attention(q, k, v)
    assert (got.dtype, got.shape) == (dtype, q.shape)
    assert relative(got, exact_attention(q, k, v)) < most


def test_what_all_keys_share_costs_no_digits():
    """Scores of 50 in bfloat16 are whole numbers and quarters."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 300, 64) for _ in range(3))
    q, k, v = (q + 2).bfloat16(), (k + 3).bfloat16(), v.bfloat16()
    expected = exact_attention(q, k, v)
    rounded = (q @ k.transpose(-1, -2) * 0.125).softmax(-1) @ v
    assert relative(block_attention(q, k, v), expected) < 0.2 * relative(rounded, expected)


def test_gradients_take_torchs_attention():
    q, k, v = (torch.randn(1, 2, 300, 8, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    assert all(x.abs().sum() > 0 for x in torch.autograd.grad(attention(q, k, v).sum(), (q, k, v)))


LAYERS = {
    "of the image": {},
    "of the VAE": {"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 2.0, "bias": True},
    "of the text": {"cross_attention_dim": 12},
    "with normed text": {"cross_attention_dim": 12, "cross_attention_norm": "layer_norm"},
    "with normed queries": {"qk_norm": "layer_norm"},
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
def test_attention_layers_give_the_same_numbers(kind, masked):
    torch.manual_seed(0)
    layer = Attention(16, heads=2, dim_head=8, **LAYERS[kind]).eval()
    image = kind == "of the VAE"
    x = torch.randn(2, 16, 5, 7).to(memory_format=CHANNELS_LAST) if image else torch.randn(2, 35, 16)
    text = torch.randn(2, 3, 12) if "text" in kind else None
    mask = torch.zeros(2, 1, 35 if text is None else 3).index_fill(2, torch.tensor([1]), -1e4) if masked else None
    expected, before = layer(x, text, attention_mask=mask), x.clone()
    assert fuse_blocks(layer) == 1
    assert type(layer.processor) is ShortAttention
    assert_close(layer(x, text, attention_mask=mask), expected)
    assert torch.equal(x, before)


@torch.no_grad()
def test_attention_does_not_divide_by_1():
    layer = Attention(16, heads=2, dim_head=8).eval()
    fuse_blocks(layer)
    with Operations() as ran:
        layer(torch.randn(1, 9, 16))
    assert "div" not in ran.names


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dtype", MOST_CELLS)
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_few_cells_are_convolved_as_a_product(stride, dtype, bias):
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(384, 320, 3, padding=1, stride=stride, bias=bias).to(dtype).to(memory_format=CHANNELS_LAST)
    assert layer.weight.numel() >= LEAST_WEIGHTS
    few, many = (torch.randn(n, 384, 8, 6).to(dtype).to(memory_format=CHANNELS_LAST) for n in (2, 64))
    expected = [layer(few), layer(many)]
    assert fuse_blocks(layer) == 1
    for x, wanted, convolved in zip((few, many), expected, (False, True), strict=True):
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


def test_a_convolution_of_few_cells_has_gradients():
    torch.manual_seed(0)
    layer, x = torch.nn.Conv2d(384, 320, 3, padding=1), torch.randn(1, 384, 4, 4)

    def gradients():
        return torch.autograd.grad(layer(x).square().mean(), list(layer.parameters()))

    expected = gradients()
    fuse_blocks(layer)
    assert type(layer) is FewCellsConv2d
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
    assert "div" not in ran.names


@torch.no_grad()
def test_a_distilled_encoder_gives_the_same_numbers():
    torch.manual_seed(0)
    vae = AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).eval()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    expected, before = vae.encode(images).latents, images.clone()
    assert fuse_blocks(vae.encoder) == 10
    assert_close(vae.encode(images).latents, expected)
    assert torch.equal(images, before)
