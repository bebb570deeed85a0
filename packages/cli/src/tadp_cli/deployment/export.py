"""From a run to an exported file."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torchvision.transforms.functional import to_pil_image

from tadp_cli.config.recipe import Recipe
from tadp_cli.device import checked_device
from tadp_cli.prompts.recorded import read_prompting
from tadp_heads import PerceptionModel
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene
from tadp_heads.export import Exported, ExportSettings, export
from tadp_heads.precision import in_float32

log = logging.getLogger(__name__)

Size = tuple[int, int] | Literal["dynamic"] | None
_REAL_IMAGES = 2
"""On which file and model are compared, beside random ones."""
_LICENCES = {
    "tiny": "Apache-2.0",
    "sd15": "CreativeML Open RAIL-M, of Stable Diffusion's weights",
    "sd21": "CreativeML Open RAIL++-M, of Stable Diffusion's weights",
}


@in_float32()
def export_run(
    run: Path, out: Path, *, format: str, size: Size, precision: str, caption: str | None, device: str
) -> Exported:
    """Write the file, its card, and where each image has a prompt of its own the text encoder.

    `size`: (H, W), or "dynamic"; None: that of the training images. Images of the run's validation split are compared,
    or rendered scenes where it is not there any more.
    """
    recipe = read_prompting(run)
    images = real_images(recipe)
    if size is None:
        side = recipe.train.size
        size = (side, side) if side else (images[0].height, images[0].width)
    settings = ExportSettings(format=format, size=None if size == "dynamic" else size, precision=precision)
    model = exportable_model(run).to(checked_device(device))
    licence = _LICENCES.get(recipe.backbone.source, f"that of the backbone, {recipe.backbone.source}")
    return export(model, out, settings, caption=caption, images=images, licence=licence)


def exportable_model(run: Path) -> PerceptionModel:
    """The run's model; one that samples the VAE's posterior takes its mode from now on, with a warning."""
    model = PerceptionModel.from_pretrained(run)
    config: Any = getattr(model.backbone, "config", None)
    if getattr(config, "posterior", "mode") == "sample":
        log.warning("%s samples the VAE's posterior; what is exported takes its mode, and draws nothing", run)
        model.backbone.config = replace(config, posterior="mode")
    return model


def size_of(text: str) -> Size:
    """Such as 512x768 (height x width) or dynamic; None for no text."""
    if not text:
        return None
    if text == "dynamic":
        return "dynamic"
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise ValueError(f"--size is {text!r}, expected height x width in pixels, such as 512x512, or dynamic")
    return int(found[1]), int(found[2])


def real_images(recipe: Recipe) -> Sequence[Image.Image]:
    """Of the run's validation split; of Scenes where that cannot be read."""
    try:
        dataset = open_data(recipe.data.folder, recipe.task, recipe.data.val)
        return [to_pil_image(dataset.read(image_id).image) for image_id in dataset.ids[:_REAL_IMAGES]]
    except (ValueError, OSError):
        log.warning("%s: no images to compare with; rendered scenes take their place", recipe.data.folder)
    return [Image.fromarray(render(sample_scene(3, seed), "photo").image) for seed in range(_REAL_IMAGES)]
