"""Images drawn by the model while it learns: one row per prompt, one column per seed."""

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from PIL import Image, ImageOps

from tadp_personalize._io import replacing
from tadp_personalize.io.pipeline_parts import Base
from tadp_personalize.seeds import generator

_INFERENCE_STEPS = 25
_COLUMNS = 4


def draw(base: Base, prompts: Sequence[str], *, seed: int, keys: Sequence[object]) -> list[Image.Image]:
    """Return one image per prompt; each starts from noise that depends on the seed and its key."""
    pipe = base.pipeline(
        DDIMScheduler.from_config(dict(base.noise_schedule().config), steps_offset=1, clip_sample=False)
    )
    pipe.set_progress_bar_config(disable=True)
    rng = [generator(seed, "picture", key) for key in keys]
    with torch.no_grad():
        return pipe(prompt=list(prompts), num_inference_steps=_INFERENCE_STEPS, generator=rng).images


def write_sheet(path: Path, base: Base, prompts: Sequence[str], *, seed: int) -> Path:
    """Draw _COLUMNS images of each prompt, from the same noise in every row, and write them as one PNG."""
    rows = [draw(base, [prompt] * _COLUMNS, seed=seed, keys=range(_COLUMNS)) for prompt in prompts]
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (_COLUMNS * width, len(rows) * height))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            sheet.paste(image, (x * width, y * height))
    with replacing(path) as partial:
        sheet.save(partial, format="PNG")
    return path


def write_images(path: Path, images: Sequence[Image.Image], *, size: int) -> Path:
    """Write the first _COLUMNS of the images that are learned from, cropped to squares, as one row (Figure S7)."""
    sheet = Image.new("RGB", (_COLUMNS * size, size))
    for x, image in enumerate(images[:_COLUMNS]):
        sheet.paste(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC), (x * size, 0))
    with replacing(path) as partial:
        sheet.save(partial, format="PNG")
    return path


def stack_sheets(path: Path, sheets: Sequence[Path]) -> Path:
    """Write sheets of the same width below each other as one PNG."""
    images = []
    for sheet in sheets:
        with Image.open(sheet) as file:
            images.append(file.convert("RGB"))
    whole = Image.new("RGB", (max(image.width for image in images), sum(image.height for image in images)))
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height
    with replacing(path) as partial:
        whole.save(partial, format="PNG")
    return path
