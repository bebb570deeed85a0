"""Prior preservation (Ruiz et al. 2022, section 3.2): images the untouched model draws, to be trained on as well."""

import json
from pathlib import Path

from accelerate import PartialState
from PIL import Image

from tadp_personalize._io import replacing, write_json
from tadp_personalize.io.pipeline_parts import Base
from tadp_personalize.samples import draw

_AT_ONCE = 4


def class_images(folder: Path, base: Base, prompt: str, count: int, *, seed: int) -> list[Image.Image]:
    """Return `count` images of `prompt` by `base`, from `folder` as far as they are there, else drawn and kept there.

    Image i depends only on the model, the prompt, the seed and i, so interrupted sampling resumes where it stopped.
    """
    with PartialState().main_process_first():
        _claim(folder, {"base": base.identity, "prompt": prompt, "seed": seed})
        paths = [folder / f"{i:05d}.png" for i in range(count)]
        missing = [i for i, path in enumerate(paths) if not path.is_file()]
        for start in range(0, len(missing), _AT_ONCE):
            chosen = missing[start : start + _AT_ONCE]
            for i, image in zip(chosen, draw(base, [prompt] * len(chosen), seed=seed, keys=chosen), strict=True):
                with replacing(paths[i]) as partial:
                    image.save(partial, format="PNG")
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    return images


def _claim(folder: Path, made_by: dict[str, object]) -> None:
    """Empty the folder unless its images were made in the same way."""
    note = folder / "made_by.json"
    if note.is_file() and json.loads(note.read_text(encoding="utf-8")) == made_by:
        return
    for old in folder.glob("*.png"):
        old.unlink()
    write_json(note, made_by)
