"""What a user could take instead: the reference's way and diffusers' defaults, written in our own words.

Passes return what `DiffusionBackbone.run_unet` returns: {tap: features}, {layer: maps (B, N, T)}.
"""

# B batch, N cells, T tokens, C channels, D channels a head

from contextlib import contextmanager
from functools import partial

import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.kernels import cross_attention_with_maps
from tadp_backbone.recording import cross_attention_layers, record_outputs


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """q (B, heads, N, D), k and v (B, heads, T, D) -> output like q, probabilities (B, heads, N, T)."""
    probabilities = (q @ k.transpose(-1, -2) * scale).softmax(-1)
    return probabilities @ v, probabilities


def explicit_attention_with_maps(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The formula: output like q, maps (B, N, T)."""
    output, probabilities = explicit_attention(q, k, v, scale)
    return output, probabilities.mean(1)


def attention_alone(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor]:
    """No maps: what attention costs whoever doesn't ask for them."""
    return (F.scaled_dot_product_attention(q, k, v, scale=scale),)


def attention_and_product(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Maps in addition to a fused attention, without gradient: the product of queries and keys a second time."""
    maps = (q.detach() @ k.detach().transpose(-1, -2) * scale).softmax(-1).mean(1)
    return F.scaled_dot_product_attention(q, k, v, scale=scale), maps


ATTENTIONS = {
    "explicit": explicit_attention_with_maps,
    "sdpa, no maps": attention_alone,
    "sdpa + product": attention_and_product,
    "ours": cross_attention_with_maps,
    "ours, maps detached": partial(cross_attention_with_maps, detach_maps=True),
}


class ExplicitAttention:
    """The reference's way (vpd/models.py): every layer's probabilities are a tensor; those of text layers are kept."""

    def __init__(self, path: str, kept: dict[str, Tensor]):
        self.path, self.kept = path, kept

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_):
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            attn.head_to_batch_dim(x, out_dim=4) for x in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text))
        )
        output, probabilities = explicit_attention(q, k, v, attn.scale)
        if encoder_hidden_states is not None:
            self.kept[self.path] = probabilities.detach().mean(1)  # no gradient goes through the maps
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(output.flatten(0, 1))))


class StoringAttention(AttnProcessor2_0):
    """Diffusers' default with maps: scaled_dot_product_attention, and the product of queries and keys a second time."""

    def __init__(self, path: str, kept: dict[str, Tensor]):
        super().__init__()
        self.path, self.kept = path, kept

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **others):
        q, k = (attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states)))
        probabilities = attn.get_attention_scores(q.detach(), k.detach())
        self.kept[self.path] = probabilities.unflatten(0, (-1, attn.heads)).mean(1)
        return super().__call__(attn, hidden_states, encoder_hidden_states, **others)


@contextmanager
def processors(unet: UNet2DConditionModel, chosen: dict[str, object]):
    """The UNet with other attention processors for a while; {path of the layer: processor}."""
    before = {path: unet.get_submodule(path).processor for path in chosen}
    try:
        for path, processor in chosen.items():
            unet.get_submodule(path).set_processor(processor)
        yield
    finally:
        for path, processor in before.items():
            unet.get_submodule(path).set_processor(processor)


def explicit_pass(backbone: DiffusionBackbone, latents: Tensor, timesteps: Tensor, context: Tensor):
    """Baseline (a): explicit attention in all layers."""
    kept: dict[str, Tensor] = {}
    layers = [path for path, m in backbone.unet.named_modules() if isinstance(m, Attention)]
    with processors(backbone.unet, {path: ExplicitAttention(path, kept) for path in layers}):
        return _outputs(backbone, latents, timesteps, context), kept


def storing_pass(backbone: DiffusionBackbone, latents: Tensor, timesteps: Tensor, context: Tensor):
    """Baseline (b): diffusers' defaults, text layers store their maps."""
    kept: dict[str, Tensor] = {}
    layers = cross_attention_layers(backbone.unet)
    with processors(backbone.unet, {path: StoringAttention(path, kept) for path in layers}):
        return _outputs(backbone, latents, timesteps, context), kept


def our_pass(backbone: DiffusionBackbone, latents: Tensor, timesteps: Tensor, context: Tensor):
    """Ours, as `optimize` left it."""
    return backbone.run_unet(latents, timesteps, context)


PASSES = {"explicit": explicit_pass, "diffusers": storing_pass, "ours": our_pass}


def random_backbone(size: str) -> DiffusionBackbone:
    """Random weights: "sd15" has Stable Diffusion 1.5's sizes (UNet 0.86e9 parameters), "toy" its topology."""
    widths = {"sd15": (320, 640, 1280, 1280), "toy": (32, 64, 128, 128)}[size]
    vae_widths = {"sd15": (128, 256, 512, 512), "toy": (32, 32, 64, 64)}[size]
    unet = UNet2DConditionModel(
        block_out_channels=widths, cross_attention_dim={"sd15": 768, "toy": 64}[size], attention_head_dim=8
    )
    vae = AutoencoderKL(
        block_out_channels=vae_widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )
    vae.decoder = None
    return DiffusionBackbone(unet=unet.eval(), vae=vae).eval()


def random_taesd(size: str) -> AutoencoderTiny:
    """Random weights of TAESD's sizes, or fewer channels: an encoder for `random_backbone`'s latents."""
    width = {"sd15": 64, "toy": 16}[size]
    widths = dict.fromkeys(("encoder_block_out_channels", "decoder_block_out_channels"), (width,) * 4)
    taesd = AutoencoderTiny(**widths)
    taesd.decoder = None
    return taesd


def _outputs(backbone: DiffusionBackbone, latents: Tensor, timesteps: Tensor, context: Tensor) -> dict[str, Tensor]:
    with record_outputs(backbone.unet, [tap.path for tap in backbone.taps]) as outputs:
        backbone.unet(latents, timesteps, encoder_hidden_states=context)
    return outputs
