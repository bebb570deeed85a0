"""A user's own images: found by files, folders and globs, read into 8-bit RGB."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from tadp_captioning import find_images
from tadp_heads.data.errors import DataError
from tadp_heads.data.reading import open_image

_LARGEST_16_BIT = 65535


def find_pictures(given: Sequence[str], leave_out: Path) -> dict[str, Path]:
    """{id: file} of any mixture of files, folders, .txt lists and globs; what lies below `leave_out` is left out."""
    if len(given) == 1:
        found = find_images(given[0])
    elif all(Path(one).suffix != ".txt" and Path(one).is_file() for one in given):
        found = find_images(given)
    else:
        found = find_images(list(dict.fromkeys(file for one in given for file in find_images(one).values())))
    below = leave_out.resolve()
    files = {image_id: file for image_id, file in found.items() if not file.resolve().is_relative_to(below)}
    if not files:
        raise ValueError(f"no images in {', '.join(given)} but those below {leave_out}, which is written to")
    return files


def open_picture(path: Path) -> Image.Image:
    """8-bit RGB, upright as the file's EXIF tag says; 16-bit grey is scaled by 1/257, transparency dropped."""
    image = open_image(path)
    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > _LARGEST_16_BIT:
        raise DataError(
            path,
            found=f"values from {values.min()} to {values.max()} in an image of mode {image.mode}",
            expected="8 or 16 bits a channel",
            fix="convert it to 8-bit RGB",
        )
    return Image.fromarray((values / 257).round().astype(np.uint8)).convert("RGB")


def to_pil(image: Tensor) -> Image.Image:
    """(3, H, W) uint8 -> RGB."""
    return Image.fromarray(image.as_subclass(Tensor).permute(1, 2, 0).cpu().numpy())
