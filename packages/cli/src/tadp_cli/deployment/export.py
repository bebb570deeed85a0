"""From a run to an exported file."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from torchvision.transforms.functional import to_pil_image

from tadp_backbone import BACKBONES, DiffusionBackbone
from tadp_backbone.io.licences import licence_of
from tadp_cli.config.recipe import Recipe
from tadp_cli.device import checked_device
from tadp_cli.prompts.recorded import read_prompting
from tadp_heads import PerceptionModel
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene
from tadp_heads.export import FORMATS, Exported, ExportSettings, check_file, export
from tadp_heads.export.parity import Difference
from tadp_heads.export.web import DemoImage, scene_images, write_site
from tadp_heads.precision import in_float32

log = logging.getLogger(__name__)

Size = tuple[int, int] | Literal["dynamic"] | None
WEB = "web"
"""The format that is a folder: a page in which the model runs."""
_REAL_IMAGES = 2
"""Images on which the file is compared with the model, in addition to random ones."""


@in_float32()
def export_run(
    run: Path, out: Path, *, format: str, size: Size, precision: str, caption: str | None, device: str
) -> Exported:
    """Write the file, its card, and where each image has a prompt of its own the text encoder.

    `size`: (H, W), or "dynamic"; None: that of the training images. Images of the run's validation split are compared,
    or rendered scenes where it is not there any more.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; choose from {', '.join((*FORMATS, WEB))}")
    settings = ExportSettings(format=format, precision=precision)
    check_file(out, settings)
    recipe = read_prompting(run)
    images = real_images(recipe)
    if size is None:
        side = recipe.train.size
        size = (side, side) if side else (images[0].height, images[0].width)
    settings = replace(settings, size=None if size == "dynamic" else size)
    model = exportable_model(run).to(checked_device(device))
    return export(model, out, settings, caption=caption, images=images, licence=_licence(recipe.backbone.source))


@in_float32()
def export_site(source: Path, out: Path) -> list[Difference]:
    """Write the page of a run for segmentation, or of a backbone of the table that is small, by its words alone."""
    name = str(source)
    if name in BACKBONES and not source.exists():
        backbone = DiffusionBackbone.from_pretrained(name)
        return write_site(out, backbone, scene_images(), title=f"{name}: where words attend", licence=_licence(name))
    recipe, model = read_prompting(source), exportable_model(source)
    if recipe.backbone.source == "tiny":
        images = scene_images(recipe.train.size or 64)
    else:
        images = [DemoImage(name=f"image {i}", caption="", image=im) for i, im in enumerate(real_images(recipe), 1)]
    title, licence = f"{source.resolve().name}: segmentation by words", _licence(recipe.backbone.source)
    return write_site(out, model.backbone, images, title=title, licence=licence, model=model)


def _licence(source: str) -> str:
    return f"of the weights of {source}: {licence_of(source)}"


def exportable_model(run: Path) -> PerceptionModel:
    """The run's model; one that samples the VAE's posterior takes its mode from now on, with a warning."""
    model = PerceptionModel.from_pretrained(run)
    config: Any = getattr(model.backbone, "config", None)
    if getattr(config, "posterior", "mode") == "sample":
        log.warning("%s samples the VAE's posterior; the export takes its mode instead of sampling", run)
        model.backbone.config = replace(config, posterior="mode")
    return model


def size_of(text: str) -> Size:
    """E.g. 512x768 (height x width) or dynamic; None for no text."""
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
        log.warning("%s: no images to compare on; rendered scenes are used", recipe.data.folder)
    return [Image.fromarray(render(sample_scene(3, seed), "photo").image) for seed in range(_REAL_IMAGES)]
