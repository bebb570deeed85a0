"""Other weights for the UNet: what DreamBooth or CleanDIFT wrote."""

from pathlib import Path

from diffusers import UNet2DConditionModel

from ..ldm import read_checkpoint, unet_from_ldm
from .load import CONFIG_FILE, load_model

_TOPOLOGY = (
    "in_channels",
    "block_out_channels",
    "layers_per_block",
    "cross_attention_dim",
    "attention_head_dim",
    "use_linear_projection",
    "down_block_types",
    "up_block_types",
)


def load_unet_weights(unet: UNet2DConditionModel, source: Path) -> None:
    """Copy weights into `unet`: of a diffusers UNet or pipeline folder, or of one file in the original format.

    Or of a folder that DreamBooth wrote, which has the pipeline inside.
    """
    if (source / "pipeline" / "unet").is_dir():
        source = source / "pipeline"
    if source.is_file():
        other = unet_from_ldm(read_checkpoint(source), num_heads=unet.config.attention_head_dim)
    else:
        bare = (source / CONFIG_FILE).is_file() and not (source / "unet").is_dir()
        other = load_model(UNet2DConditionModel, source if bare else source / "unet", unet.dtype)
    for name in _TOPOLOGY:
        ours, theirs = _listed(unet.config[name]), _listed(other.config[name])
        if ours != theirs:
            raise ValueError(f"the UNet in {source} has {name} {theirs}, this backbone's has {ours}")
    unet.load_state_dict(other.state_dict())


def _listed(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else value
