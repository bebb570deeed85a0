"""Reading the images of a data set; each error says file, finding, expectation and cure."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from tadp_heads._io import is_limit
from tadp_heads.data.errors import DataError


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
