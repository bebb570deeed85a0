"""Other weights for the UNet: what DreamBooth or CleanDIFT wrote."""

from pathlib import Path

from diffusers import UNet2DConditionModel

from .loading import CONFIG_FILE, load_model

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


def load_unet_weights(unet: UNet2DConditionModel, folder: Path) -> None:
    """Copy the weights of a diffusers UNet folder, or of a pipeline's folder with `unet` in it, into `unet`."""
    folder = folder if (folder / CONFIG_FILE).is_file() and not (folder / "unet").is_dir() else folder / "unet"
    other = load_model(UNet2DConditionModel, folder, unet.dtype)
    for name in _TOPOLOGY:
        ours, theirs = _listed(unet.config[name]), _listed(other.config[name])
        if ours != theirs:
            raise ValueError(f"the UNet in {folder} has {name} {theirs}, this backbone's has {ours}")
    unet.load_state_dict(other.state_dict())


def _listed(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else value
