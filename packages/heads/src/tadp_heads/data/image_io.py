"""Reading the images of a data set, and the frame in which they were annotated: turned as their EXIF tag says, or as
stored. Each error says file, finding, expectation and cure."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torchvision import tv_tensors

from tadp_heads.atomic_files import is_limit
from tadp_heads.data.errors import DataError

logger = logging.getLogger(__name__)

_UPRIGHT = 1
_LOGGED: set[Path] = set()


def open_image(path: Path, content: BinaryIO | None = None) -> Image.Image:
    """The decoded image, in the file's own mode and turned upright as its EXIF tag says.

    `content`: that of an image inside a larger file, which `path` then only names.
    """
    return upright(open_stored(path, content))


def open_stored(path: Path, content: BinaryIO | None = None) -> Image.Image:
    """The decoded image as it is stored."""
    if content is None and not os.path.isfile(path):  # Path's own raises where a name is too long to be one
        fix = "check the path; in a data set, add the file or take its id off the split file"
        raise DataError(path, found="no file", expected="an image", fix=fix)
    try:
        with Image.open(content or path) as image:
            image.load()
            return image
    except UnidentifiedImageError as error:
        raise DataError(path, found="no image data", expected="an image file", fix="replace the file") from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        if is_limit(error):
            raise
        raise DataError(
            path, found=f"a broken image ({error})", expected="an image file", fix="replace the file"
        ) from error


@contextmanager
def images_of_any_size() -> Iterator[None]:
    """Inside, images of more pixels than Pillow takes for safe (179 million) are read too, in all threads."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def upright(image: Image.Image) -> Image.Image:
    """Turned as the EXIF tag says; a damaged EXIF block turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow's reader of EXIF raises nearly anything; the pixels are there
        return image


def open_rgb(path: Path) -> Image.Image:
    """The image as 8-bit RGB; transparency is dropped, grey becomes RGB."""
    return to_rgb(open_image(path), path)


def to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """8-bit RGB of an image that was read from `path`."""
    if image.mode.startswith(("I", "F")):
        raise DataError(
            path, found=f"an image of mode {image.mode}", expected="8 bits per channel", fix="convert it to 8-bit RGB"
        )
    return image.convert("RGB")


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


def same_size(image_path: Path, image: torch.Tensor, target_path: Path, target: torch.Tensor) -> None:
    """Raises DataError unless both have the same height and width."""
    height, width = image.shape[-2:]
    require_size(target_path, (target.shape[-1], target.shape[-2]), image_path, (width, height))


def require_size(path: Path, size: tuple[int, int], image_path: Path, image_size: tuple[int, int]) -> None:
    """Raises DataError unless both (width, height) are equal."""
    if size != image_size:
        raise DataError(
            path,
            found=f"{size[0]}x{size[1]} pixels",
            expected=f"{image_size[0]}x{image_size[1]} as in {image_path.name}",
            fix="export the annotation at the image's own size",
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
