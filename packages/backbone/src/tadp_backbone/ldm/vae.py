"""AutoencoderKL (CompVis) -> diffusers' AutoencoderKL."""

from collections.abc import Mapping

from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from .checkpoint import around, count, load_strictly, looks_like, needed, rename, under

_PREFIX = "first_stage_model."
_FIRST = "encoder.conv_in.weight"
_ATTENTION = (
    ("norm.", "group_norm."),
    ("q.", "to_q."),
    ("k.", "to_k."),
    ("v.", "to_v."),
    ("proj_out.", "to_out.0."),
)
SD_LATENT_SCALE = 0.18215


def vae_from_ldm(state_dict: Mapping[str, Tensor], latent_scale: float = SD_LATENT_SCALE) -> AutoencoderKL:
    """The VAE of an original checkpoint; sizes are read from its tensors, keys may be below "first_stage_model.".

    `latent_scale` becomes `scaling_factor` of its config. Without decoder tensors the result has no decoder. ValueError
    names the first tensor that is missing or of another shape.
    """
    state = around(state_dict, _FIRST, _PREFIX)
    for landmark in (_FIRST, "quant_conv.weight"):
        if landmark not in state:
            raise ValueError(f"no LDM VAE in it: {landmark} is missing; this looks like {looks_like(state_dict)}")
    model = _build(state, latent_scale)
    if not under(state, "decoder."):
        drop_decoder(model)
    levels = count(state, "encoder.down.")
    prefixes = _prefixes(levels)
    renamed = {}
    for key, tensor in state.items():
        new = _renamed(key, prefixes)
        renamed[new] = tensor.reshape(tensor.shape[:2]) if ".attentions." in new and tensor.ndim == 4 else tensor
    load_strictly(model, renamed, "the VAE", {key: _original(key, prefixes) for key in model.state_dict()})
    return model.eval()


def drop_decoder(vae: AutoencoderKL | AutoencoderTiny) -> None:
    """Free the decoder: features need the encoder alone."""
    vae.decoder = None
    if isinstance(vae, AutoencoderKL):
        vae.post_quant_conv = None


def _build(state: Mapping[str, Tensor], latent_scale: float) -> AutoencoderKL:
    levels = count(state, "encoder.down.")
    widths = tuple(len(needed(state, f"encoder.down.{i}.block.0.conv1.weight", "the VAE")) for i in range(levels))
    moments, embedded = len(needed(state, "encoder.conv_out.weight", "the VAE")), len(state["quant_conv.weight"])
    if moments != embedded:
        raise ValueError(f"the VAE maps {moments} channels to {embedded}; expected as many latents as moments / 2")
    return AutoencoderKL(
        in_channels=state["encoder.conv_in.weight"].shape[1],
        out_channels=state["encoder.conv_in.weight"].shape[1],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=widths,
        layers_per_block=count(state, "encoder.down.0.block."),
        latent_channels=moments // 2,
        sample_size=512,
        scaling_factor=latent_scale,
    )


def _prefixes(levels: int) -> list[tuple[str, str]]:
    """(prefix in the file, prefix in diffusers); decoder levels count the other way round."""
    pairs = []
    for part in ("encoder", "decoder"):
        pairs += [
            (f"{part}.mid.block_1.", f"{part}.mid_block.resnets.0."),
            (f"{part}.mid.attn_1.", f"{part}.mid_block.attentions.0."),
            (f"{part}.mid.block_2.", f"{part}.mid_block.resnets.1."),
            (f"{part}.norm_out.", f"{part}.conv_norm_out."),
        ]
    for i in range(levels):
        up = levels - 1 - i
        pairs += [
            (f"encoder.down.{i}.block.", f"encoder.down_blocks.{i}.resnets."),
            (f"encoder.down.{i}.downsample.", f"encoder.down_blocks.{i}.downsamplers.0."),
            (f"decoder.up.{i}.block.", f"decoder.up_blocks.{up}.resnets."),
            (f"decoder.up.{i}.upsample.", f"decoder.up_blocks.{up}.upsamplers.0."),
        ]
    return pairs


def _renamed(key: str, prefixes: list[tuple[str, str]]) -> str:
    for old, new in prefixes:
        if key.startswith(old):
            inner = key[len(old) :]
            return new + (rename(inner, _ATTENTION) if "attentions" in new else inner.replace("nin_", "conv_"))
    return key


def _original(key: str, prefixes: list[tuple[str, str]]) -> str:
    """The other way round: the key that the file should have."""
    for old, new in prefixes:
        if key.startswith(new):
            inner = key[len(new) :]
            back = [(theirs, ours) for ours, theirs in _ATTENTION]
            return old + (
                rename(inner, back) if "attentions" in new else inner.replace("conv_shortcut", "nin_shortcut")
            )
    return key
