"""FPNHead against the parameter counts of docs/reference.md, section 1, and both public heads written independently."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tadp_heads.data.errors import DataError
from tadp_heads.segmentation import FPNHead

pytestmark = pytest.mark.numerical

SD_LEVELS = ((320, 8), (717, 16), (1357, 32), (1280, 64))  # 77 tokens' maps at strides 16 and 32
SMALL = ((8, 8), (12, 16), (16, 32), (20, 64))


def pyramid(levels, height, width, batch=2):
    return [torch.randn(batch, c, math.ceil(height / s), math.ceil(width / s)) for c, s in levels]


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_parameter_counts_of_the_reference():
    with torch.device("meta"):
        pascal, ade = FPNHead(SD_LEVELS, 21, "pascal"), FPNHead(SD_LEVELS, 150, "ade")
    assert (count(pascal.fpn.decoder), count(pascal.fpn.segmentation_head)) == (2_565_376, 2_709)
    assert (count(ade.fpn.neck), count(ade.fpn.decode_head)) == (3_301_888, 4_170_902)


# The public heads in plain functions of a state dict, written from docs/reference.md, section 1.


def pascal_weights(levels, classes, width=256, inner=128):
    c = [channels for channels, _ in levels]
    shapes = {"decoder.p5": (width, c[3], 1)}
    shapes |= {f"decoder.p{4 - i}.skip_conv": (width, c[2 - i], 1) for i in range(3)}
    shapes["segmentation_head.0"] = (classes, inner, 1)
    weights = {}
    for name, (out, into, kernel) in shapes.items():
        weights[f"{name}.weight"] = torch.randn(out, into, kernel, kernel) / math.sqrt(into)
        weights[f"{name}.bias"] = torch.randn(out)
    for i, convs in enumerate((3, 2, 1, 1)):
        for j in range(convs):
            prefix = f"decoder.seg_blocks.{i}.block.{j}.block"
            weights[f"{prefix}.0.weight"] = torch.randn(inner, width if j == 0 else inner, 3, 3) / 48
            weights[f"{prefix}.1.weight"], weights[f"{prefix}.1.bias"] = torch.rand(inner) + 0.5, torch.randn(inner)
    return weights


def pascal_forward(w, features):
    p = [F.conv2d(features[3], w["decoder.p5.weight"], w["decoder.p5.bias"])]
    for i in range(3):
        skip = F.conv2d(features[2 - i], w[f"decoder.p{4 - i}.skip_conv.weight"], w[f"decoder.p{4 - i}.skip_conv.bias"])
        p.append(F.interpolate(p[-1], scale_factor=2) + skip)
    total = 0
    for i, (x, convs) in enumerate(zip(p, (3, 2, 1, 1), strict=True)):
        for j in range(convs):
            k = f"decoder.seg_blocks.{i}.block.{j}.block"
            x = F.relu(
                F.group_norm(F.conv2d(x, w[f"{k}.0.weight"], padding=1), 32, w[f"{k}.1.weight"], w[f"{k}.1.bias"])
            )
            if i < 3:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        total = total + x
    x = F.conv2d(total, w["segmentation_head.0.weight"], w["segmentation_head.0.bias"])
    return nn.UpsamplingBilinear2d(scale_factor=8)(x)


def ade_weights(levels, classes, width=256, inner=256):
    weights = {}

    def conv(name, out, into, kernel, bias=True):
        weights[f"{name}.weight"] = torch.randn(out, into, kernel, kernel) / (kernel * math.sqrt(into))
        if bias:
            weights[f"{name}.bias"] = torch.randn(out)

    for i, (channels, _) in enumerate(levels):
        conv(f"neck.lateral_convs.{i}.conv", width, channels, 1)
        conv(f"neck.fpn_convs.{i}.conv", width, width, 3)
    for i, convs in enumerate((1, 1, 2, 3)):
        for j in range(convs):
            k = f"decode_head.scale_heads.{i}.{2 * j}"
            conv(f"{k}.conv", inner, width if j == 0 else inner, 3, bias=False)
            weights[f"{k}.bn.weight"], weights[f"{k}.bn.bias"] = torch.rand(inner) + 0.5, torch.randn(inner)
            weights[f"{k}.bn.running_mean"], weights[f"{k}.bn.running_var"] = (
                torch.randn(inner),
                torch.rand(inner) + 0.5,
            )
            weights[f"{k}.bn.num_batches_tracked"] = torch.tensor(7)
    conv("decode_head.conv_seg", classes, inner, 1)
    return weights


def ade_forward(w, features):
    def conv(name, x, padding=0):
        return F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), padding=padding)

    maps = [conv(f"neck.lateral_convs.{i}.conv", x) for i, x in enumerate(features)]
    for i in (2, 1, 0):
        maps[i] = maps[i] + F.interpolate(maps[i + 1], scale_factor=2)
    total = 0
    for i, convs in enumerate((1, 1, 2, 3)):
        x = conv(f"neck.fpn_convs.{i}.conv", maps[i], 1)
        for j in range(convs):
            k = f"decode_head.scale_heads.{i}.{2 * j}"
            stats = (w[f"{k}.bn.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
            x = F.relu(F.batch_norm(conv(f"{k}.conv", x, 1), *stats))
            if i > 0:
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        total = total + x
    return conv("decode_head.conv_seg", total)


REFERENCE = {"pascal": (pascal_weights, pascal_forward, "decode_head."), "ade": (ade_weights, ade_forward, "")}


@pytest.mark.parametrize("variant", REFERENCE)
@pytest.mark.parametrize("outer", ["", "public", "public.deeper"])
def test_from_reference_computes_what_the_public_head_computes(variant, outer):
    torch.manual_seed(0)
    make, forward, public_prefix = REFERENCE[variant]
    weights, features = make(SMALL, 5), pyramid(SMALL, 128, 64)
    prefix = {"": "", "public": public_prefix, "public.deeper": "model." + public_prefix}[outer]
    state = {prefix + key: value for key, value in weights.items()}
    if outer == "public.deeper":  # The rest of a full checkpoint is next to the head.
        state |= {"model.encoder_vq.decoder.conv_in.weight": torch.zeros(1), "model.unet.out.0.weight": torch.zeros(1)}
    head = FPNHead.from_reference(state, variant)
    assert head.config.num_classes == 5
    assert tuple(head.config.levels) == SMALL
    with torch.no_grad():
        torch.testing.assert_close(head(features), forward(weights, features), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("variant", "width", "inner"), [("pascal", 40, 32), ("pascal", 48, 64), ("ade", 24, 20)])
def test_from_reference_reads_all_sizes_from_the_tensors(variant, width, inner):
    torch.manual_seed(0)
    make, forward, _ = REFERENCE[variant]
    weights, features = make(SMALL, 5, width, inner), pyramid(SMALL, 128, 64)
    head = FPNHead.from_reference(weights, variant)
    assert (head.config.width, head.config.inner_width) == (width, inner)
    with torch.no_grad():
        torch.testing.assert_close(head(features), forward(weights, features), rtol=1e-4, atol=1e-4)


def test_from_reference_finds_the_classifier_under_another_name():
    weights, features = pascal_weights(SMALL, 5), pyramid(SMALL, 128, 64)
    renamed = {"net." + key.replace("segmentation_head", "head"): value for key, value in weights.items()}
    with torch.no_grad():
        expected = FPNHead.from_reference(weights, "pascal")(features)
        assert torch.equal(FPNHead.from_reference(renamed, "pascal")(features), expected)
    with pytest.raises(ValueError, match=r"2 classifiers of 128 channels.* expected one"):
        FPNHead.from_reference(renamed | {"net.auxiliary.0.weight": weights["segmentation_head.0.weight"]}, "pascal")


def test_from_reference_takes_an_ade_head_without_module_names():
    weights = ade_weights(SMALL, 3)
    bare = {key.removeprefix("neck.").removeprefix("decode_head."): value for key, value in weights.items()}
    head = FPNHead.from_reference(bare, "ade")
    assert torch.equal(head.state_dict()["fpn.decode_head.conv_seg.weight"], weights["decode_head.conv_seg.weight"])


def test_from_reference_says_what_is_wrong():
    with pytest.raises(ValueError, match="name the other variant"):
        FPNHead.from_reference(ade_weights(SMALL, 3), "pascal")
    incomplete = pascal_weights(SMALL, 3)
    del incomplete["decoder.seg_blocks.1.block.1.block.0.weight"]
    with pytest.raises(ValueError, match=r"seg_blocks\.1\.block\.1"):
        FPNHead.from_reference(incomplete, "pascal")


@pytest.mark.parametrize("variant", ["pascal", "ade"])
@pytest.mark.parametrize("levels", [((8, 4), (12, 8)), ((8, 4), (12, 8), (16, 16)), SMALL])
@pytest.mark.parametrize("size", [(128, 64), (93, 141)])
def test_any_number_of_levels_and_any_size(variant, levels, size):
    head = FPNHead(levels, 3, variant)
    logits = head(pyramid(levels, *size, batch=1))
    finest = [math.ceil(side / levels[0][1]) for side in size]
    expected = [side * levels[0][1] for side in finest] if variant == "pascal" else finest
    assert list(logits.shape) == [1, 3, *expected]
    logits.sum().backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize("variant", ["pascal", "ade"])
def test_saving_and_loading(tmp_path, variant):
    head = FPNHead(SMALL, 3, variant).eval()
    head.save_pretrained(tmp_path / "head")
    loaded = FPNHead.from_pretrained(tmp_path / "head")
    features = pyramid(SMALL, 64, 64)
    assert loaded.config == head.config
    assert torch.equal(loaded(features), head(features))
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == ["config.json", "model.safetensors"]


def test_loading_weights_of_another_head_is_an_error(tmp_path):
    FPNHead(SMALL, 3).save_pretrained(tmp_path / "a")
    FPNHead(SMALL, 4).save_pretrained(tmp_path / "b")
    (tmp_path / "a" / "config.json").write_bytes((tmp_path / "b" / "config.json").read_bytes())
    with pytest.raises(DataError, match="one and the same run"):
        FPNHead.from_pretrained(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "resnet"}, "unknown FPN variant 'resnet'"),
        ({"num_classes": 0}, "num_classes 0"),
        ({"width": 80}, "needs a multiple of 32"),
        ({"width": 0, "variant": "ade"}, "width 0"),
        ({"levels": ((8, 4),)}, "two or more"),
        ({"levels": ((8, 8), (8, 4))}, "finest first"),
        ({"levels": ((8, 8), (8, 24)), "variant": "ade"}, "powers of two"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        FPNHead(**({"levels": SMALL, "num_classes": 3} | change))
    with pytest.raises(ValueError, match="3 feature levels"):
        FPNHead(SMALL, 3)(pyramid(SMALL, 64, 64)[:3])
