"""`tadp convert-checkpoint`: small published files, in the public code's key names, become runs."""

import json
import re
import sys
from argparse import Namespace
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from invoking import tadp
from published import LAYOUTS, published, unet_names, vae_names
from safetensors.torch import save_file

from tadp_backbone import BackboneConfig, DiffusionBackbone
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.write import SEGMENTATION_CLASSES, write_scenes
from tadp_heads.depth import DepthHead
from tadp_heads.detection import FasterRCNNHead
from tadp_heads.preprocessing import to_sd_range
from tadp_heads.segmentation import FPNHead


@pytest.fixture(scope="module")
def source():
    """Stable Diffusion's modules in small, with the text encoder of the base "tiny"."""
    torch.manual_seed(0)
    base = DiffusionBackbone.from_pretrained("tiny")
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=base.unet.config.cross_attention_dim,
        attention_head_dim=4,
    ).eval()
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        scaling_factor=0.5,
    ).eval()
    vae.decoder = vae.post_quant_conv = None
    config = BackboneConfig(map_strides=(4, 8))
    return DiffusionBackbone(
        unet=unet, vae=vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer, config=config
    ).eval()


def write_checkpoint(path, source, head, variant, *, extra=(), vae=True):
    outer = "encoder." if variant == "depth" else ""
    state = unet_names(source.unet, f"{outer}unet.unet.") | published(head, variant) | dict(extra)
    if vae:
        state |= vae_names(source.vae, f"{outer}encoder_vq.")
    content = {"depth": {"model": state, "epoch": 3}, "pascal": {"state_dict": state, "global_step": 7}}.get(
        variant, {"meta": {"epoch": 1, "CLASSES": ("a", "b")}, "state_dict": state, "optimizer": {"param_groups": []}}
    )
    torch.save(content, path)
    return path


def new_head(levels, variant, classes=13):
    torch.manual_seed(0)
    if variant == "depth":
        return DepthHead(levels, 8.0, fusion_channels=32, deconv_channels=(8, 8, 8), head_channels=16).eval()
    return FPNHead(levels, classes, variant, width=64).eval()


def convert(path, out, source, *options, code=0):
    scale = ("--latent-scale", source.vae.config.scaling_factor)  # an LDM file does not hold it
    return tadp("convert-checkpoint", path, "--base", "tiny", "--heads", 4, "--out", out, *scale, *options, code=code)


IMAGE = torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_an_ade_file_becomes_a_run_that_is_evaluated(source, tmp_path):
    head = new_head(source.levels, "ade")
    path = write_checkpoint(tmp_path / "ade.pth", source, head, "ade")
    (tmp_path / "classes.txt").write_text("\n".join(SEGMENTATION_CLASSES))
    run = tmp_path / "run"
    said = convert(path, run, source, "--classes", tmp_path / "classes.txt")
    assert "VAE of the file" in said
    assert "background, circle" in said

    model = PerceptionModel.from_pretrained(run)
    context = source.encode_text(["a red circle"])
    with torch.no_grad():
        expected = head(source(to_sd_range(IMAGE[None]), context).levels)
        found = model.head(model.backbone(to_sd_range(IMAGE[None]), model.encode_captions(["a red circle"])).levels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    data = tmp_path / "data"
    write_scenes(data, task="segmentation", domain="photo", split="val", count=2, seed=0)
    assert "mIoU" in tadp("eval", run, "--data", data, "--split", "val")
    results = json.loads((run / "results.json").read_text())
    assert results["converted_from"] == "ade.pth"
    assert [entry["split"] for entry in results["evaluations"]] == ["val"]
    assert "holds a run already" in convert(path, run, source, code=2)


def test_a_pascal_file_with_class_embeddings_and_text_adapter(source, tmp_path):
    """VPD's kind: no captions but a fixed embedding per class, passed through the trained adapter."""
    classes, width = 21, source.unet.config.cross_attention_dim
    config = BackboneConfig(map_strides=source.config.map_strides, num_tokens=classes, text_adapter=True)
    vae = DiffusionBackbone.from_pretrained("tiny").vae  # the file holds none
    expected = DiffusionBackbone(unet=source.unet, vae=vae, config=replace(config, latent_scale=0.5))
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(classes, width, generator=generator)
    with torch.no_grad():
        for parameter in expected.text_adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / width**0.5)
    layers = expected.text_adapter.mlp.state_dict()
    extra = {f"text_adapter.fc.{key}": value for key, value in layers.items()}
    extra |= {"gamma": expected.text_adapter.gamma.detach(), "class_embeddings": embeddings}
    head = new_head(expected.levels, "pascal", classes)
    path = write_checkpoint(tmp_path / "last.ckpt", source, head, "pascal", extra=extra, vae=False)
    run = tmp_path / "run"
    said = convert(path, run, source)
    assert "VAE of tiny, text adapter" in said
    assert "21 class embeddings of the file" in said
    assert "squash-512" in said

    model = PerceptionModel.from_pretrained(run)
    assert model.config.classes[15] == "person"
    with torch.no_grad():
        wanted = head(expected(to_sd_range(IMAGE[None]), embeddings[None]).levels)
        found = model.head(model.backbone(to_sd_range(IMAGE[None]), model.encode_captions(["any"])).levels)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_depth_file_of_a_head_without_maps(source, tmp_path):
    plain = DiffusionBackbone(unet=source.unet, vae=source.vae, config=BackboneConfig(map_strides=()))
    head = new_head(plain.levels, "depth")
    path = write_checkpoint(tmp_path / "best.ckpt", source, head, "depth")
    run = tmp_path / "run"
    assert "nyu-eigen" in convert(path, run, source, "--max-depth", 8)
    model = PerceptionModel.from_pretrained(run)
    with torch.no_grad():
        context = source.encode_text(["a room"])
        expected = head(plain(to_sd_range(IMAGE[None]), context).levels)
    (found,) = model.predict_tensors([IMAGE], context, "full")
    torch.testing.assert_close(found, expected[0, 0], rtol=1e-4, atol=1e-4)


def test_a_detector(source, tmp_path):
    torch.manual_seed(0)
    head = FasterRCNNHead(source.levels, 20, fpn_channels=16, representation_size=32, score_threshold=0.0).eval()
    path = write_checkpoint(tmp_path / "last.ckpt", source, head, "detection")
    run = tmp_path / "run"
    assert "aeroplane" in convert(path, run, source)
    model = PerceptionModel.from_pretrained(run)
    assert (model.config.image_range, model.config.protocol) == ("imagenet", "voc2012-paper")
    assert model.backbone.config.image_limit == 2.7
    for name, tensor in head.state_dict().items():
        assert torch.equal(model.head.state_dict()[name], tensor)


def detector(levels):
    torch.manual_seed(0)
    return FasterRCNNHead(levels, 20, fpn_channels=16, representation_size=32)


@pytest.mark.parametrize(
    ("layout", "variant"),
    [
        ("within", "ade"),
        pytest.param("within", "detection", marks=pytest.mark.slow),
        ("beside", "depth"),
        ("several GPUs", "pascal"),
    ],
)
def test_parts_are_found_wherever_the_file_has_them(source, tmp_path, layout, variant):
    plain = DiffusionBackbone(unet=source.unet, vae=source.vae, config=BackboneConfig(map_strides=()))
    levels = plain.levels if variant == "depth" else source.levels
    head = detector(levels) if variant == "detection" else new_head(levels, variant)
    outer = "module." if layout == "several GPUs" else ""
    state = LAYOUTS[layout](source) | {outer + key: value for key, value in published(head, variant).items()}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    assert "VAE of the file" in convert(tmp_path / "a.ckpt", tmp_path / "run", source)
    model = PerceptionModel.from_pretrained(tmp_path / "run")
    assert_same(model.head, head)
    assert_same(model.backbone.unet, source.unet, but=("conv_norm_out.", "conv_out."))
    assert_same(model.backbone.vae.encoder, source.vae.encoder)
    assert_same(model.backbone.vae.quant_conv, source.vae.quant_conv)


def assert_same(found, wanted, but=("-",)):
    wanted = {key: value for key, value in wanted.state_dict().items() if not key.startswith(but)}
    found = {key: value for key, value in found.state_dict().items() if not key.startswith(but)}
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


@pytest.mark.parametrize(("variant", "rows"), [pytest.param("ade", 13, marks=pytest.mark.slow), ("depth", 27)])
def test_embeddings_that_a_captioned_model_keeps_are_left_out(source, tmp_path, variant, rows):
    """77 maps: the text was a caption; a depth model's embeddings are of room types, one per image."""
    plain = DiffusionBackbone(unet=source.unet, vae=source.vae, config=BackboneConfig(map_strides=()))
    head = new_head(plain.levels if variant == "depth" else source.levels, variant)
    extra = {"class_embeddings": torch.zeros(rows, source.unet.config.cross_attention_dim)}
    path = write_checkpoint(tmp_path / "a.ckpt", source, head, variant, extra=extra)
    said = convert(path, tmp_path / "run", source)
    assert f"one caption per image; the file's {rows} embeddings are left out" in said
    model = PerceptionModel.from_pretrained(tmp_path / "run")
    assert model.context is None
    assert model.config.needs_caption
    assert model.predict_tensors([IMAGE], source.encode_text(["a room"]))[0].shape == IMAGE.shape[1:]


def test_what_training_code_keeps_beside_the_tensors_is_passed_over(source, tmp_path, monkeypatch):
    """mmcv's best files have the metric as a scalar of NumPy, Lightning's their settings, others the command's."""
    parsing = ModuleType("pytorch_lightning.utilities.parsing")
    parsing.AttributeDict = type("AttributeDict", (dict,), {"__module__": parsing.__name__})
    for name in ("pytorch_lightning", "pytorch_lightning.utilities", parsing.__name__):
        monkeypatch.setitem(sys.modules, name, parsing)
    path = write_checkpoint(tmp_path / "best.pth", source, new_head(source.levels, "ade"), "ade")
    content = torch.load(path, weights_only=True)
    content["meta"]["hook_msgs"] = {"best_score": np.float64(0.547), "best_ckpt": "best.pth"}
    content |= {"args": Namespace(lr=8e-5), "hyper_parameters": parsing.AttributeDict(lr=8e-5, losses=["ce"])}
    torch.save(content, path)
    assert "FPNHead (ade)" in convert(path, tmp_path / "run", source)


@pytest.fixture(scope="module")
def ade_state(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("ade") / "a.pth"
    write_checkpoint(path, source, new_head(source.levels, "ade"), "ade")
    return torch.load(path, weights_only=True)["state_dict"]


def without(part):
    return lambda state: {key: value for key, value in state.items() if part not in key}


def one_map_less(state):
    """A head that reads 77 maps at one level and 76 at the other."""
    return {key: value[:, :-1] if "lateral_convs.1.conv.w" in key else value for key, value in state.items()}


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (without("decode_head"), (), "scale_heads.0.0.conv.weight"),
        (without("neck"), (), "has no head of the public code"),
        (without("input_blocks.0.0"), (), "is incomplete: no key ends in diffusion_model.input_blocks.0.0.weight"),
        (without("input_blocks.1.0.in_layers.2"), (), "the UNet is incomplete"),
        (without("quant_conv"), ("--classes", "{tmp}/two.txt"), "two.txt names 2 classes, the head has 13"),
        (without("conv_seg"), (), "conv_seg.weight is missing"),
        (without("lateral_convs.1"), (), "lateral_convs.1.conv.weight is missing"),
        (one_map_less, (), "one number of attention"),
        (lambda s: {}, (), "without tensors"),
    ],
)
def test_what_is_no_published_file_gives_one_line(source, ade_state, tmp_path, spoil, options, message):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": spoil(ade_state)}, path)
    (tmp_path / "two.txt").write_text("a\nb\n")
    said = convert(path, tmp_path / "run", source, *(option.format(tmp=tmp_path) for option in options), code=2)
    assert message in said
    assert said.count("error:") == 1
    assert not (tmp_path / "run").exists()


def test_other_files_are_refused(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}, "hyper_parameters": re.compile("x")}, tmp_path / "code.ckpt")
    save_file({"down_blocks.0.weight": torch.zeros(1)}, tmp_path / "unet.safetensors")
    for name, message in (
        ("code.ckpt", "could run code"),
        ("unet.safetensors", "it looks like a diffusers UNet"),
        ("no.ckpt", "no such checkpoint"),
    ):
        assert message in tadp("convert-checkpoint", tmp_path / name, "--base", "tiny", "--out", tmp_path / "r", code=2)
