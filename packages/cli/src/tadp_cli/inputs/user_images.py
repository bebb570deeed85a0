"""A user's own images: found by files, folders and globs, read into 8-bit RGB."""

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from tadp_captioning import find_images
from tadp_captioning.archives.images import PackedImage, is_packed, packed_images
from tadp_captioning.images import to_8_bit
from tadp_heads.data.image_io import open_image

PREDICTION_FILES = ("settings.json", "captions.jsonl")
"""Other files in a folder of predictions."""


def find_user_images(given: Sequence[str], leave_out: Path | None = None) -> dict[str, Path]:
    """{id: file} of any mixture of files, folders, .txt lists and globs.

    What lies below `leave_out` is left out, and so are predictions that an earlier call wrote below a named folder.
    """
    if len(given) == 1:
        found = find_images(given[0])
    elif all(Path(one).suffix.lower() != ".txt" and Path(one).expanduser().is_file() for one in given):
        found = find_images(given)
    else:
        found = find_images(list(dict.fromkeys(file for one in given for file in find_images(one).values())))
    below = None if leave_out is None else leave_out.resolve()
    named = {Path(one).expanduser().resolve() for one in given}
    holds: dict[Path, bool] = {}
    files = {}
    for image_id, file in found.items():
        folder = file.parent.resolve()
        if folder not in holds:
            holds[folder] = _is_written(folder, below, named)
        if not holds[folder]:
            files[image_id] = file
    if not files:
        elsewhere = f", or below {leave_out}, which is written to" if leave_out is not None else ""
        raise ValueError(f"no images in {', '.join(map(str, given))} but predictions of `tadp predict`{elsewhere}")
    return files


def _is_written(folder: Path, below: Path | None, named: Collection[Path]) -> bool:
    """Whether predictions are written there now, or were by an earlier call; a folder that is named itself is meant."""
    for place in (folder, *folder.parents):
        if place == below:
            return True
        if place in named:
            return False
        if all((place / name).is_file() for name in PREDICTION_FILES):
            return True
    return False


def find_predictable(given: Sequence[str], leave_out: Path | None = None) -> dict[str, Any]:
    """As `find_user_images`, or the images inside tar archives and parquet tables where such are named."""
    return packed_images(given) if is_packed(given) else find_user_images(given, leave_out)


def open_user_image(path: Any) -> Image.Image:
    """8-bit RGB, upright as the file's EXIF tag says; 16-bit grey and floats in [0, 1] are scaled."""
    image = open_image(path) if isinstance(path, Path) else _open_packed(path)
    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    try:
        return to_8_bit(image).convert("RGB")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _open_packed(image: PackedImage) -> Image.Image:
    try:
        content = image.read_bytes()
    except (OSError, ValueError) as error:
        raise ValueError(f"{image}: {error}") from error
    return open_image(Path(image), io.BytesIO(content))


def to_pil(image: Tensor) -> Image.Image:
    """(3, H, W) uint8 -> RGB."""
    return Image.fromarray(image.as_subclass(Tensor).permute(1, 2, 0).cpu().numpy())
