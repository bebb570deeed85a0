"""Original checkpoints: our conversion against the one that diffusers has, and what it refuses."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import save_file
from torch.testing import assert_close

from tadp_backbone import DiffusionBackbone
from tadp_backbone.ldm import text_encoder_from_ldm, unet_from_ldm, vae_from_ldm

WIDTHS, CONTEXT = (32, 64, 128, 128), 64


class Writer:
    """Random tensors under the names that CompVis' modules have."""

    def __init__(self):
        self.state = {}
        self.generator = torch.Generator().manual_seed(0)

    def layer(self, name, *shape, bias=True):
        fan_in = max(1, torch.Size(shape[1:]).numel())
        self.state[f"{name}.weight"] = torch.randn(shape, generator=self.generator) / fan_in**0.5
        if bias:
            self.state[f"{name}.bias"] = torch.randn(shape[0], generator=self.generator) * 0.1

    def norm(self, name, channels):
        self.layer(name, channels)

    def resnet(self, name, before, after):
        self.norm(f"{name}.in_layers.0", before)
        self.layer(f"{name}.in_layers.2", after, before, 3, 3)
        self.layer(f"{name}.emb_layers.1", after, 4 * WIDTHS[0])
        self.norm(f"{name}.out_layers.0", after)
        self.layer(f"{name}.out_layers.3", after, after, 3, 3)
        if before != after:
            self.layer(f"{name}.skip_connection", after, before, 1, 1)

    def transformer(self, name, width, linear):
        self.norm(f"{name}.norm", width)
        self.layer(f"{name}.proj_in", width, width, *(() if linear else (1, 1)))
        block = f"{name}.transformer_blocks.0"
        for attention, keys in (("attn1", width), ("attn2", CONTEXT)):
            self.layer(f"{block}.{attention}.to_q", width, width, bias=False)
            self.layer(f"{block}.{attention}.to_k", width, keys, bias=False)
            self.layer(f"{block}.{attention}.to_v", width, keys, bias=False)
            self.layer(f"{block}.{attention}.to_out.0", width, width)
        self.layer(f"{block}.ff.net.0.proj", 8 * width, width)
        self.layer(f"{block}.ff.net.2", width, 4 * width)
        for i in (1, 2, 3):
            self.norm(f"{block}.norm{i}", width)
        self.layer(f"{name}.proj_out", width, width, *(() if linear else (1, 1)))


def ldm_unet(linear=False):
    """openaimodel.UNetModel: two residual blocks a level, transformers at all levels but the coarsest."""
    w = Writer()
    w.layer("time_embed.0", 4 * WIDTHS[0], WIDTHS[0])
    w.layer("time_embed.2", 4 * WIDTHS[0], 4 * WIDTHS[0])
    w.layer("input_blocks.0.0", WIDTHS[0], 4, 3, 3)
    skips, width, number = [WIDTHS[0]], WIDTHS[0], 1
    for level, after in enumerate(WIDTHS):
        for _ in range(2):
            w.resnet(f"input_blocks.{number}.0", width, after)
            width = after
            if level < 3:
                w.transformer(f"input_blocks.{number}.1", width, linear)
            skips.append(width)
            number += 1
        if level < 3:
            w.layer(f"input_blocks.{number}.0.op", width, width, 3, 3)
            skips.append(width)
            number += 1
    w.resnet("middle_block.0", width, width)
    w.transformer("middle_block.1", width, linear)
    w.resnet("middle_block.2", width, width)
    number = 0
    for level, after in reversed(list(enumerate(WIDTHS))):
        for i in range(3):
            w.resnet(f"output_blocks.{number}.0", width + skips.pop(), after)
            width = after
            if level < 3:
                w.transformer(f"output_blocks.{number}.1", width, linear)
            if level > 0 and i == 2:
                w.layer(f"output_blocks.{number}.{2 if level < 3 else 1}.conv", width, width, 3, 3)
            number += 1
    w.norm("out.0", width)
    w.layer("out.2", 4, width, 3, 3)
    return w.state


def ldm_vae():
    """AutoencoderKL of CompVis with widths 32, 64, one residual block a level, attention in the middle."""
    w = Writer()

    def resnet(name, before, after):
        w.norm(f"{name}.norm1", before)
        w.layer(f"{name}.conv1", after, before, 3, 3)
        w.norm(f"{name}.norm2", after)
        w.layer(f"{name}.conv2", after, after, 3, 3)
        if before != after:
            w.layer(f"{name}.nin_shortcut", after, before, 1, 1)

    def middle(part):
        resnet(f"{part}.mid.block_1", 64, 64)
        w.norm(f"{part}.mid.attn_1.norm", 64)
        for name in ("q", "k", "v", "proj_out"):
            w.layer(f"{part}.mid.attn_1.{name}", 64, 64, 1, 1)
        resnet(f"{part}.mid.block_2", 64, 64)

    w.layer("encoder.conv_in", 32, 3, 3, 3)
    resnet("encoder.down.0.block.0", 32, 32)
    w.layer("encoder.down.0.downsample.conv", 32, 32, 3, 3)
    resnet("encoder.down.1.block.0", 32, 64)
    middle("encoder")
    w.norm("encoder.norm_out", 64)
    w.layer("encoder.conv_out", 8, 64, 3, 3)
    w.layer("decoder.conv_in", 64, 4, 3, 3)
    middle("decoder")
    resnet("decoder.up.1.block.0", 64, 64)
    resnet("decoder.up.1.block.1", 64, 64)
    w.layer("decoder.up.1.upsample.conv", 64, 64, 3, 3)
    resnet("decoder.up.0.block.0", 64, 32)
    resnet("decoder.up.0.block.1", 32, 32)
    w.norm("decoder.norm_out", 32)
    w.layer("decoder.conv_out", 3, 32, 3, 3)
    w.layer("quant_conv", 8, 8, 1, 1)
    w.layer("post_quant_conv", 4, 4, 1, 1)
    return w.state


def under(prefix, state):
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(("linear", "num_heads", "heads"), [(False, 8, 8), (True, (4, 4, 8, 8), (4, 4, 8, 8))])
def test_unet_is_the_one_that_diffusers_converts(linear, num_heads, heads):
    state = ldm_unet(linear)
    expected = UNet2DConditionModel(
        block_out_channels=WIDTHS,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=CONTEXT,
        attention_head_dim=heads,
        use_linear_projection=linear,
    ).eval()
    converted = convert_ldm_unet_checkpoint(under("model.diffusion_model.", state), {"layers_per_block": 2})
    expected.load_state_dict(converted)
    got = unet_from_ldm(state, num_heads=num_heads)
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 5, CONTEXT)
    with torch.no_grad():
        assert_close(got(latents, 1, context).sample, expected(latents, 1, context).sample)


def test_unet_without_its_output_layer_gives_the_same_features():
    state = ldm_unet()
    cut = {key: value for key, value in state.items() if not key.startswith("out.")}
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 5, CONTEXT)
    with torch.no_grad():
        whole, shortened = (DiffusionBackbone(unet=unet_from_ldm(s)).extract(latents, context) for s in (state, cut))
    for a, b in zip(whole.levels, shortened.levels, strict=True):
        assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_averaged_weights_are_preferred():
    state = ldm_unet()
    averaged = {f"model_ema.diffusion_model{key.replace('.', '')}": value + 1 for key, value in state.items()}
    unet = unet_from_ldm({**under("model.diffusion_model.", state), **averaged})
    assert_close(unet.conv_in.weight, state["input_blocks.0.0.weight"] + 1)


def test_vae_is_the_one_that_diffusers_converts():
    state = ldm_vae()
    expected = AutoencoderKL(
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    ).eval()
    expected.load_state_dict(convert_ldm_vae_checkpoint(under("first_stage_model.", state), expected.config))
    got = vae_from_ldm(state)
    images = torch.rand(1, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        assert_close(got.encode(images).latent_dist.parameters, expected.encode(images).latent_dist.parameters)
        latents = torch.randn(1, 4, 4, 4)
        assert_close(got.decode(latents).sample, expected.decode(latents).sample)
    assert got.config.scaling_factor == 0.18215
    encoder = vae_from_ldm({key: value for key, value in state.items() if "decoder" not in key and "post" not in key})
    assert encoder.decoder is None
    assert_close(encoder.encode(images).latent_dist.mode(), got.encode(images).latent_dist.mode())


def clip_state(encoder, prefix):
    return {prefix + key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}


def open_clip_state(encoder):
    """OpenCLIP's names, q, k and v in one, and one more layer than is read."""
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    state, p = {}, "cond_stage_model.model."
    clip = clip_state(encoder, "")
    for i, last in ((0, False), (1, False), (1, True)):
        for key, value in clip.items():
            if not key.startswith(f"encoder.layers.{i}.") or ("_proj." in key and "out_proj" not in key):
                continue
            inner = key.removeprefix(f"encoder.layers.{i}.").replace("self_attn.", "attn.")
            for ours, theirs in names.items():
                inner = inner.replace(ours, theirs)
            state[f"{p}transformer.resblocks.{2 if last else i}.{inner}"] = value
        for kind in ("weight", "bias"):
            parts = [clip[f"encoder.layers.{i}.self_attn.{n}_proj.{kind}"] for n in "qkv"]
            state[f"{p}transformer.resblocks.{2 if last else i}.attn.in_proj_{kind}"] = torch.cat(parts)
    state[f"{p}token_embedding.weight"] = clip["embeddings.token_embedding.weight"]
    state[f"{p}positional_embedding"] = clip["embeddings.position_embedding.weight"]
    state[f"{p}ln_final.weight"] = clip["final_layer_norm.weight"]
    state[f"{p}ln_final.bias"] = clip["final_layer_norm.bias"]
    return state


def test_text_encoders_of_both_versions(make_backbone):
    backbone = make_backbone(text=True)
    encoder = backbone.text_encoder
    ids = torch.randint(0, 500, (2, 9))
    first = text_encoder_from_ldm(clip_state(encoder, "cond_stage_model.transformer.text_model."))
    assert_close(first(ids).last_hidden_state, encoder(ids).last_hidden_state)
    encoder.config.hidden_act = "gelu"
    second = text_encoder_from_ldm(open_clip_state(encoder))
    gelu = type(encoder)(encoder.config).eval()
    gelu.load_state_dict(encoder.state_dict())
    assert_close(second(ids).last_hidden_state, gelu(ids).last_hidden_state)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_one_file_is_a_whole_backbone(make_backbone, tmp_path, suffix):
    source = make_backbone(text=True)
    state = {
        **under("model.diffusion_model.", ldm_unet()),
        **under("first_stage_model.", ldm_vae()),
        **clip_state(source.text_encoder, "cond_stage_model.transformer.text_model."),
    }
    file = tmp_path / f"model{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": state, "global_step": 3}, file)
    else:
        save_file(state, file)
    source.tokenizer.save_pretrained(tmp_path / "tokenizer")
    backbone = DiffusionBackbone.from_pretrained(file, map_strides=(4, 8))
    assert backbone.levels == ((32, 2), (64 + 77, 4), (128 + 77, 8), (128, 16))
    assert_close(backbone.encode_text(["a photo"]), source.encode_text(["a photo"]))
    with torch.no_grad():
        features = backbone(torch.rand(1, 3, 16, 16), backbone.encode_text(["a photo"]))
    assert features.levels[0].shape == (1, 32, 8, 8)
    assert backbone.vae.decoder is None


def test_one_file_of_version_2_with_averaged_weights(make_backbone, tmp_path):
    source = make_backbone(text=True)
    source.text_encoder.config.hidden_act = "gelu"
    gelu = type(source.text_encoder)(source.text_encoder.config).eval()
    gelu.load_state_dict(source.text_encoder.state_dict())
    unet = ldm_unet(linear=True)
    averaged = {f"model_ema.diffusion_model{key.replace('.', '')}": value for key, value in unet.items()}
    state = {
        **under("model.diffusion_model.", {key: torch.zeros_like(value) for key, value in unet.items()}),
        **averaged,
        "model_ema.decay": torch.tensor(0.9999),
        **under("first_stage_model.", ldm_vae()),
        **open_clip_state(source.text_encoder),
        "cond_stage_model.model.text_projection": torch.zeros(64, 64),
        "cond_stage_model.model.logit_scale": torch.tensor(4.6),
    }
    torch.save({"state_dict": state}, tmp_path / "v2.ckpt")
    source.tokenizer.save_pretrained(tmp_path / "tokenizer")
    backbone = DiffusionBackbone.from_pretrained(tmp_path / "v2.ckpt", map_strides=())
    assert backbone.unet.config.use_linear_projection
    assert backbone.unet.config.attention_head_dim == (1, 1, 2, 2)
    assert_close(backbone.unet.conv_in.weight, unet["input_blocks.0.0.weight"])
    # OpenCLIP pads with the token 0
    ids = source.tokenizer(["cat"]).input_ids[0]
    expected = gelu(torch.tensor([[*ids, *[0] * (77 - len(ids))]])).last_hidden_state
    assert_close(backbone.encode_text(["cat"]), expected)


def test_unet_and_vae_are_found_below_other_prefixes(make_backbone, inputs, tmp_path):
    """Checkpoints of training code: the paper's have the UNet below unet.unet.diffusion_model."""
    state = ldm_unet()
    trained = {**under("unet.unet.diffusion_model.", state), **under("encoder_vq.", ldm_vae())}
    assert_close(vae_from_ldm(trained).quant_conv.weight, ldm_vae()["quant_conv.weight"])
    torch.save({"state_dict": {**trained, "decoder.weight": torch.zeros(2)}}, tmp_path / "trained.ckpt")
    backbone = make_backbone().load_unet(tmp_path / "trained.ckpt")
    with torch.no_grad():
        expected = DiffusionBackbone(unet=unet_from_ldm(state)).extract(*inputs)
        got = backbone.extract(*inputs)
    for a, b in zip(got.levels, expected.levels, strict=True):
        assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_missing_tensor_is_named_as_in_the_file():
    state = ldm_unet()
    del state["output_blocks.5.1.transformer_blocks.0.attn2.to_k.weight"]
    with pytest.raises(ValueError, match=r"first is output_blocks\.5\.1\.transformer_blocks\.0\.attn2\.to_k\.weight"):
        unet_from_ldm(state)
    vae = ldm_vae()
    vae["encoder.mid.attn_1.q.weight"] = torch.zeros(3, 3, 1, 1)
    with pytest.raises(ValueError, match=r"encoder\.mid\.attn_1\.q\.weight is \(3, 3\), expected \(64, 64\)"):
        vae_from_ldm(vae)


def text_states(make_backbone):
    encoder = make_backbone(text=True).text_encoder
    return clip_state(encoder, "cond_stage_model.transformer.text_model."), open_clip_state(encoder)


@pytest.mark.parametrize(
    "kind", ["unet", pytest.param("unet of version 2", marks=pytest.mark.slow), "vae", "clip", "open clip"]
)
def test_any_missing_tensor_is_named_as_in_the_file(make_backbone, kind):
    """Whether it is only copied or sizes are read from it: a few of the first kind, all of the second."""
    clip, open_clip = text_states(make_backbone)
    state, load = {
        "unet": (ldm_unet(), unet_from_ldm),
        "unet of version 2": (ldm_unet(linear=True), unet_from_ldm),
        "vae": (ldm_vae(), vae_from_ldm),
        "clip": (clip, text_encoder_from_ldm),
        "open clip": (open_clip, text_encoder_from_ldm),
    }[kind]
    of_sizes = ("conv1.weight", "fc1.weight", "c_fc.weight", "0.op.weight", "block.1.proj_in.weight", "conv_out.weight")
    read = [key for key in state if "resblocks.2." not in key]  # version 2 leaves OpenCLIP's last layer out
    for key in {*read[:: 1 + len(read) // 4], *(key for key in read if key.endswith(of_sizes))}:
        with pytest.raises(ValueError, match="missing") as error:
            load({name: tensor for name, tensor in state.items() if name != key})
        assert key in str(error.value)
        assert "\n" not in str(error.value)


class RunsCode:
    def __reduce__(self):
        return (print, ("code ran",))


def test_foreign_broken_and_dangerous_files_are_refused(tmp_path, capsys):
    save_file({"unet.down_blocks.0.lora_A.weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    save_file({"conditioner.embedders.0.x": torch.zeros(1)}, tmp_path / "xl.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "xl.safetensors").read_bytes()[:-2])
    torch.save({"state_dict": RunsCode()}, tmp_path / "code.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "text.ckpt").write_text("hello world, this is a text")
    (tmp_path / "list.ckpt").write_bytes(b"\x80\x02}]K\x01s.")  # a dict whose key is a list: torch's TypeError
    (tmp_path / "empty.ckpt").touch()
    for name, message in [
        ("lora.safetensors", r"model\.diffusion_model\.input_blocks\.0\.0\.weight is missing; it looks like a LoRA"),
        ("xl.safetensors", "it looks like a Stable Diffusion XL checkpoint"),
        ("cut.safetensors", "no complete .safetensors file"),
        ("code.ckpt", "no complete pickle of tensors only, and any other could run code; take .* as .safetensors"),
        ("cut.ckpt", "cut.ckpt cannot be read"),
        ("text.ckpt", "text.ckpt cannot be read: KeyError: 101; take the same weights"),
        ("list.ckpt", "list.ckpt cannot be read"),
        ("empty.ckpt", "empty.ckpt cannot be read"),
    ]:
        with pytest.raises(ValueError, match=message):
            DiffusionBackbone.from_pretrained(tmp_path / name)
    assert "code ran" not in capsys.readouterr().out
