"""The frame that an annotation was drawn in: the image as its EXIF tag turns it, or its pixels as they are stored."""

import logging
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torchvision import tv_tensors

from tadp_heads.data.errors import DataError
from tadp_heads.data.image_io import open_stored, to_rgb, upright

logger = logging.getLogger(__name__)

_UPRIGHT = 1
_LOGGED: set[Path] = set()


def read_in_frame(path: Path, size: tuple[int, int] | None, target: Path | None = None) -> tv_tensors.Image:
    """(3, H, W) uint8 RGB, turned as the file's EXIF tag says unless only the stored pixels have the annotation's
    `size` (width, height). Where sizes are ambiguous, the image is turned, and the folder's first is logged.

    `target`: the annotation, where it is an image with an EXIF tag of its own.
    """
    image = stored = open_stored(path)
    if _is_turned(stored):
        turned = upright(stored)
        image = stored if size == stored.size != turned.size else turned
        if _is_undecided(stored, size, target):
            _log_turned(path)
    return tv_tensors.Image(torch.from_numpy(np.array(to_rgb(image, path))).permute(2, 0, 1).contiguous())


def frame_warnings(path: Path, size: tuple[int, int] | None, target: Path | None = None) -> list[str]:
    """A warning of an image that may be turned otherwise than its annotation; none where nothing is in doubt."""
    stored = open_stored(path)
    if not _is_undecided(stored, size, target):
        return []
    warning = (
        f"{path}: turned by its EXIF tag (orientation {_orientation(stored)}), which the annotation's size neither "
        "confirms nor denies; labels are taken as drawn on the turned image. Were they drawn on the stored pixels, "
        "remove the tag"
    )
    return [warning]


def require_declared(path: Path, declared: tuple[int, int] | None, image_path: Path, image: torch.Tensor) -> None:
    """Raises DataError where the size (width, height) in an annotation is not that of the image that was read."""
    height, width = image.shape[-2:]
    if declared is not None and declared != (width, height):
        raise DataError(
            path,
            found=f"an image of {declared[0]}x{declared[1]} pixels for {image_path.name}",
            expected=f"{width}x{height}, the file's own size",
            fix="scale the annotation with the image, or correct its width and height",
        )


def _is_undecided(stored: Image.Image, size: tuple[int, int] | None, target: Path | None) -> bool:
    """Whether the image is turned by its EXIF tag, and neither the annotation's size nor its tag resolves it."""
    if not _is_turned(stored) or (size is not None and stored.size != upright(stored).size):
        return False
    return target is None or not _is_turned(open_stored(target))


def _is_turned(image: Image.Image) -> bool:
    return _orientation(image) != _UPRIGHT


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    except Exception:  # a damaged EXIF block turns nothing
        return _UPRIGHT
    return value if value in range(1, 9) else _UPRIGHT


def _log_turned(path: Path) -> None:
    """Once per folder: `tadp data check` names all."""
    if path.parent not in _LOGGED:
        _LOGGED.add(path.parent)
        logger.warning("%s: turned by its EXIF tag; labels are taken as drawn on the turned image", path)
