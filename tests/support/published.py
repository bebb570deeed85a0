"""Models under the key names of the paper's public code, mapped independently of what reads them."""

import re

import torch
from diffusers import AutoencoderKL

RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
)
ATTENTION = (("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out"))


def unet_names(unet, prefix):
    """CompVis' names for a diffusers UNet with transformers at every level, without its last layer, as published."""
    step = unet.config.layers_per_block + 1

    def block(match):
        side, level, kind, j, rest = match.groups()
        number, place = int(level) * step + int(j) + (side == "down"), {"resnets": 0, "attentions": 1}.get(kind)
        if kind == "downsamplers":
            return f"input_blocks.{(int(level) + 1) * step}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            return f"output_blocks.{int(level) * step + step - 1}.2.{rest}"
        return f"{'input' if side == 'down' else 'output'}_blocks.{number}.{place}.{rest}"

    state = {}
    for key, value in unet.state_dict().items():
        if key.startswith(("conv_norm_out", "conv_out")):
            continue
        if ".resnets." in key:
            for ours, theirs in RESNET:
                key = key.replace(f".{ours}.", f".{theirs}.")
        key = re.sub(r"^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)$", block, key)
        key = re.sub(r"^mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}", key)
        key = key.replace("mid_block.attentions.0", "middle_block.1").replace("conv_in.", "input_blocks.0.0.")
        key = re.sub(r"^time_embedding\.linear_(\d)", lambda m: f"time_embed.{2 * int(m[1]) - 2}", key)
        state[f"{prefix}diffusion_model.{key}"] = value
    return state


def vae_names(vae, prefix):
    """CompVis' names for a diffusers VAE, whose decoder counts its levels the other way round."""
    state, last = {}, len(vae.config.block_out_channels) - 1
    for key, value in vae.state_dict().items():
        if ".attentions." in key:
            for ours, theirs in ATTENTION:
                key = key.replace(f".{ours}.", f".{theirs}.")
            value = value[..., None, None] if value.ndim == 2 else value
        key = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", key)
        key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
        key = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{last - int(m[1])}", key)
        key = key.replace(".upsamplers.0.", ".upsample.").replace("resnets.", "block." if ".up." in key else "resnets.")
        key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
        key = key.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_norm_out", "norm_out")
        state[prefix + key.replace("conv_shortcut", "nin_shortcut")] = value
    return state


def published(head, variant):
    """A head's tensors under the public code's names."""
    state = head.state_dict()
    if variant == "depth":
        parts = {"reduce.0.": "encoder.layer1.", "reduce.1.": "encoder.layer2.", "fuse.": "encoder.out_layer."}
        parts |= {
            "deconv.": "decoder.deconv_layers.",
            "refine.": "decoder.conv_layers.",
            "predict.": "last_layer_depth.",
        }
        return {
            new + key.removeprefix(old): v
            for old, new in parts.items()
            for key, v in state.items()
            if key.startswith(old)
        }
    if variant == "detection":
        return {key if key.startswith("fpn.") else f"model.{key}": value for key, value in state.items()}
    outer = "decode_head." if variant == "pascal" else ""
    return {outer + key.removeprefix("fpn."): value for key, value in state.items()}


def whole_vae(source):
    """The source's VAE with a decoder."""
    torch.manual_seed(1)
    whole = AutoencoderKL.from_config(source.vae.config)
    whole.encoder.load_state_dict(source.vae.encoder.state_dict())
    whole.quant_conv.load_state_dict(source.vae.quant_conv.state_dict())
    return whole


def stable_diffusion(source, prefix):
    """All that a Stable Diffusion model of the public code has, under its own names: averages of before training, the
    noise schedule and the text encoder too."""
    unet = unet_names(source.unet, "")
    averages = {f"model_ema.{key.replace('.', '')}": torch.zeros_like(value) for key, value in unet.items()}
    text = {f"cond_stage_model.transformer.{key}": value for key, value in source.text_encoder.state_dict().items()}
    rest = {"betas": torch.zeros(1000), "model_ema.num_updates": torch.tensor(0), **averages, **text}
    rest |= vae_names(whole_vae(source), "first_stage_model.")
    return {prefix + key: value for key, value in rest.items()}


LAYOUTS = {
    "within": lambda source: {
        **unet_names(source.unet, "sd_model.model."),
        **stable_diffusion(source, "sd_model."),
    },
    "beside": lambda source: {
        **stable_diffusion(source, "sd_model."),
        **unet_names(source.unet, "sd_model.model."),
        **unet_names(source.unet, "unet.unet."),
        **vae_names(source.vae, "encoder_vq."),
    },
    "several GPUs": lambda source: {
        **{f"module.{key}": value for key, value in unet_names(source.unet, "unet.unet.").items()},
        **{f"module.{key}": value for key, value in vae_names(source.vae, "encoder_vq.").items()},
    },
}
"""Where a published file may have the other parts: in `sd_model`, next to it too, below DDP's `module`."""
