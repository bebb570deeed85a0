"""Loads what a command passes images through, and has it compute as `precision` decides."""

from pathlib import Path

from tadp_backbone import DiffusionBackbone
from tadp_cli.device import checked_device
from tadp_cli.pipelines.train import load_token
from tadp_cli.precision import Speed, speed_up
from tadp_heads import PerceptionModel


def loaded_model(
    run: Path, speed: Speed, device: str, *, images: int = 1, read_inside: bool = False, token_file: str = ""
) -> PerceptionModel:
    """A run's model on the device; `token_file` is a learned token to load into it. The rest as for `speed_up`."""
    model = PerceptionModel.from_pretrained(run).to(checked_device(device))
    if token_file:
        load_token(model.backbone, token_file)
    if isinstance(model.backbone, DiffusionBackbone):  # one of a plugin computes as it does
        speed_up(model.backbone, run / "backbone", speed, device, images=images, read_inside=read_inside)
    return model


def loaded_backbone(
    source: str, speed: Speed, device: str, *, read_inside: bool = False, keep_decoder: bool = False
) -> DiffusionBackbone:
    """Whatever `DiffusionBackbone.from_pretrained` takes, on the device."""
    backbone = DiffusionBackbone.from_pretrained(source, device=checked_device(device), keep_decoder=keep_decoder)
    speed_up(backbone, source, speed, device, read_inside=read_inside)
    return backbone
