"""DepthHead against a reference implementation in float64, in the public code's key names."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from tadp_heads.data.errors import DataError
from tadp_heads.depth import DepthHead, DepthTask
from tadp_heads.depth.protocol import PROTOCOLS

pytestmark = pytest.mark.numerical

TOY = {"fusion_channels": 32, "deconv_channels": (8, 8, 8), "head_channels": 16}
SD_LEVELS = ((320, 8), (640, 16), (1280, 32), (1280, 64))
TOY_LEVELS = ((16, 8), (24, 16), (32, 32), (32, 64))


def reference_weights(widths=(16, 24, 64), fusion=32, deconv=8, head=16, prefix="", seed=0):
    """Random tensors under the names and in the shapes of VPD's depth model; with a few of its other parts."""
    generator = torch.Generator().manual_seed(seed)
    state = {}

    def tensor(name, *shape, low=None):
        value = torch.randn(shape, generator=generator, dtype=torch.float64) / 4
        state[prefix + name] = value.abs() + low if low is not None else value

    def conv(name, out, inner, kernel, bias=True):
        tensor(f"{name}.weight", out, inner, kernel, kernel)
        if bias:
            tensor(f"{name}.bias", out)

    def norm(name, width, running=False):
        tensor(f"{name}.weight", width)
        tensor(f"{name}.bias", width)
        if running:
            tensor(f"{name}.running_mean", width)
            tensor(f"{name}.running_var", width, low=0.3)
            state[f"{prefix}{name}.num_batches_tracked"] = torch.tensor(7)

    conv("encoder.layer1.0", widths[0], widths[0], 3)
    norm("encoder.layer1.1", widths[0])
    conv("encoder.layer1.3", widths[0], widths[0], 3)
    conv("encoder.layer2.0", widths[1], widths[1], 3)
    conv("encoder.out_layer.0", fusion, sum(widths), 1)
    norm("encoder.out_layer.1", fusion)
    for i, inner in enumerate((fusion, deconv, deconv)):
        tensor(f"decoder.deconv_layers.{3 * i}.weight", inner, deconv, 2, 2)
        norm(f"decoder.deconv_layers.{3 * i + 1}", deconv, running=True)
    conv("decoder.conv_layers.0", head, deconv, 3)
    norm("decoder.conv_layers.1", head, running=True)
    conv("last_layer_depth.0", head, head, 3)
    conv("last_layer_depth.2", 1, head, 3)
    tensor("encoder.unet.unet.diffusion_model.input_blocks.0.0.weight", 2, 2)
    tensor("encoder.gamma", 5)
    return state


def plain_depth(state, features, max_depth, crop=0):
    """The published model's arithmetic, written out."""

    def conv(x, name, **kwargs):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **kwargs)

    def group_norm(x, name):
        b, c, h, w = x.shape
        groups = x.reshape(b, 16, -1)
        mean, var = groups.mean(-1, keepdim=True), groups.var(-1, keepdim=True, unbiased=False)
        x = ((groups - mean) / (var + 1e-5).sqrt()).reshape(b, c, h, w)
        return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def batch_norm(x, name):
        at = {k: state[f"{name}.{k}"][:, None, None] for k in ("weight", "bias", "running_mean", "running_var")}
        return (x - at["running_mean"]) / (at["running_var"] + 1e-5).sqrt() * at["weight"] + at["bias"]

    f0, f1, f2, f3 = features
    first = conv(F.relu(group_norm(conv(f0, "encoder.layer1.0", stride=2, padding=1), "encoder.layer1.1")),
                 "encoder.layer1.3", stride=2, padding=1)  # fmt: skip
    second = conv(f1, "encoder.layer2.0", stride=2, padding=1)
    third = torch.cat([f2, f3.repeat_interleave(2, -1).repeat_interleave(2, -2)], 1)
    x = F.relu(group_norm(conv(torch.cat([first, second, third], 1), "encoder.out_layer.0"), "encoder.out_layer.1"))
    if crop:
        x = x[..., :-crop, :-crop]
    for i in range(3):
        x = F.conv_transpose2d(x, state[f"decoder.deconv_layers.{3 * i}.weight"], stride=2)
        x = F.relu(batch_norm(x, f"decoder.deconv_layers.{3 * i + 1}"))
    x = F.relu(batch_norm(conv(x, "decoder.conv_layers.0", padding=1), "decoder.conv_layers.1"))
    for _ in range(2):
        x = F.interpolate(x, size=(2 * x.shape[-2], 2 * x.shape[-1]), mode="bilinear", align_corners=False)
    x = conv(F.relu(conv(x, "last_layer_depth.0", padding=1)), "last_layer_depth.2", padding=1)
    return max_depth / (1 + torch.exp(-x))


def pyramid(levels, height, width, batch=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, channels, height // stride, width // stride, generator=generator, dtype=torch.float64)
        for channels, stride in levels
    ]


@pytest.mark.parametrize("prefix", ["", "module.", "model.depth."])
def test_published_weights_give_the_published_arithmetic(prefix):
    state = reference_weights(prefix=prefix)
    head = DepthHead.from_reference(state, max_depth_m=8.0).double()
    features = pyramid(TOY_LEVELS, 128, 192)
    expected = plain_depth({k.removeprefix(prefix): v for k, v in state.items()}, features, 8.0)
    assert expected.shape == (2, 1, 128, 192)
    assert expected.std() > 0.01
    torch.testing.assert_close(head.double()(features), expected, rtol=1e-6, atol=1e-7)


def test_padding_is_cut_off_the_fused_map_as_published():
    """480 is padded to 512 and the fused 16x16 map cut to 15x15: decoding the pad too would change the last rows."""
    state = reference_weights()
    head = DepthHead.from_reference(state).double()
    features = pyramid(TOY_LEVELS, 128, 128)
    depth = head(features, image_size=(96, 96))
    torch.testing.assert_close(depth, plain_depth(state, features, 10.0, crop=1), rtol=1e-6, atol=1e-7)
    assert not torch.allclose(depth, head(features)[..., :96, :96], atol=1e-4)


def test_gradients_are_those_of_the_plain_formula():
    state = reference_weights()
    head = DepthHead.from_reference(state).double()
    ours, theirs = ([f.requires_grad_() for f in pyramid(TOY_LEVELS, 64, 64)] for _ in range(2))
    weight = torch.randn(2, 1, 64, 64, dtype=torch.float64)
    (head(ours) * weight).sum().backward()
    (plain_depth(state, theirs, 10.0) * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-7)


def test_full_size_head_has_the_published_sizes():
    with torch.device("meta"):
        head = DepthHead(SD_LEVELS)
        depth = head([torch.empty(1, channels, 512 // stride, 512 // stride) for channels, stride in SD_LEVELS])
    assert depth.shape == (1, 1, 512, 512)
    assert sum(p.numel() for p in head.parameters()) == (
        2 * (320 * 320 * 9 + 320) + 2 * 320 + 640 * 640 * 9 + 640 + 3520 * 1536 + 3 * 1536
        + 4 * (1536 * 32 + 2 * 32 * 32) + 3 * 64 + 9 * 32 * 192 + 3 * 192 + 9 * 192 * 192 + 192 + 9 * 192 + 1
    )  # fmt: skip


@pytest.mark.parametrize(
    "levels",
    [
        ((8, 4), (8, 8)),
        ((8, 4), (10, 8), (12, 16)),
        ((8, 8), (16, 16), (8, 32)),
        ((4, 2), (4, 4), (4, 8), (4, 16), (4, 32)),
    ],
)
@pytest.mark.parametrize("size", [(64, 64), (41, 90)])
def test_any_pyramid_and_any_size(levels, size):
    head = DepthHead(levels, 7.0, **TOY).eval()
    padded = [math.ceil(side / 64) * 64 for side in size]
    depth = head([f.float() for f in pyramid(levels, *padded)], image_size=size)
    assert depth.shape == (2, 1, *size)
    assert 0 < depth.min() <= depth.max() < 7


def test_fresh_weights_are_drawn_as_published():
    torch.manual_seed(0)
    head = DepthHead(TOY_LEVELS)
    assert float(head.fuse[0].weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert float(head.reduce[0][3].weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    for layer in (head.deconv[0], head.refine[0], head.predict[0]):
        assert float(layer.weight.detach().std()) == pytest.approx(0.001, rel=0.1)
    assert all(not p.any() for name, p in head.named_parameters() if name.endswith("0.bias"))


def test_saved_head_comes_back_and_loads_strictly(tmp_path):
    head = DepthHead(((8, 4), (12, 8), (16, 16)), 5.0, **TOY).eval()
    head.save_pretrained(tmp_path)
    again = DepthHead.from_pretrained(tmp_path)
    assert again.config == head.config
    features = [f.float() for f in pyramid(head.config.levels, 64, 64)]
    assert torch.equal(again(features), head(features))
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("predict.2.bias")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"predict\.2\.bias"):
        DepthHead.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("last_layer_depth.2.weight"), "predict.2.weight"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("decoder.conv")], "lacks decoder.conv_layers"),
        (lambda s: s.pop("encoder.layer1.0.weight"), "0 keys end in"),
    ],
)
def test_incomplete_checkpoints_are_refused(change, message):
    state = reference_weights()
    change(state)
    with pytest.raises(ValueError, match=message):
        DepthHead.from_reference(state)


def test_wrong_use_is_named():
    head = DepthHead(TOY_LEVELS, **TOY)
    with pytest.raises(ValueError, match="this head reads \\[16, 24, 32, 32\\]"):
        head(pyramid(TOY_LEVELS[:3], 64, 64))
    with pytest.raises(ValueError, match="multiples of 64"):
        head([f.float() for f in pyramid(TOY_LEVELS, 96, 96)])
    with pytest.raises(ValueError, match="max_depth_m is 0"):
        DepthHead(TOY_LEVELS, 0)
    with pytest.raises(ValueError, match="fewer deconv_channels"):
        DepthHead(((8, 1), (8, 2), (8, 4)))
    with pytest.raises(ValueError, match="powers of two"):
        DepthHead(((8, 3), (8, 6), (8, 12)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", [(333, 517), (4000, 300), (64, 64)])
def test_every_protocol_predicts_every_size(protocol, size):
    levels = ((2, 8), (2, 16), (2, 32))
    task = DepthTask()
    head = task.build_head(
        levels, [], fusion_channels=2, deconv_channels=(2, 2), head_channels=2, max_depth_m=3.0
    ).eval()

    def extract(images):
        return [F.avg_pool2d(images[:, :2], stride) for _, stride in levels]

    depths = task.predict(head, extract, torch.rand(2, 3, *size), protocol)
    assert [tuple(depth.shape) for depth in depths] == [size, size]
    assert all(depth.dtype == torch.float32 and depth.isfinite().all() for depth in depths)
