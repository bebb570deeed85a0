"""Reading one image, whatever is wrong with it."""

import hashlib
import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from tadp_captioning._io import is_limit

if TYPE_CHECKING:
    from PIL.Image import Image


class ReadImage(NamedTuple):
    """One image, or the reason why there is none."""

    id: str
    path: Path
    image: "Image | None"
    """RGB; None also for content whose hash was known already."""
    hash: str
    """First 16 hex digits of the file's SHA-256; "" where the file could not be read at all."""
    error: str | None


def read_image(image_id: str, path: Path, known_hash: str | None = None) -> ReadImage:
    """Read one file and, unless its content is what `known_hash` says, decode it to RGB.

    A bad file gives the reason instead of an exception.
    """
    from PIL import Image, UnidentifiedImageError

    digest = ""
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()[:16]
        if digest == known_hash:
            return ReadImage(image_id, path, None, digest, None)
        with Image.open(io.BytesIO(content)) as image:
            return ReadImage(image_id, path, _upright_rgb(image), digest, None)
    except UnidentifiedImageError:
        return ReadImage(image_id, path, None, digest, f"{path.name}: not an image file")
    except Exception as error:  # decoders of damaged files raise nearly anything, and the next image may be whole
        if is_limit(error):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        return ReadImage(image_id, path, None, digest, f"{path.name}: {reason}")


def _upright_rgb(image: "Image") -> "Image":
    """8-bit RGB, turned as the file's EXIF tag says."""
    from PIL import ImageOps

    image.load()
    with suppress(Exception):  # a damaged EXIF block says nothing of the pixels, which are there
        image = ImageOps.exif_transpose(image)
    return (to_8_bit(image) if image.mode[0] in "IF" else image).convert("RGB")


def to_8_bit(image: "Image") -> "Image":
    """Grey of 16 bits, or floats in [0, 1] -> [0, 255]; Pillow's own way cuts off all above 255."""
    values = image if image.mode == "F" else image.convert("I").convert("F")
    low, high = cast("tuple[float, float]", values.getextrema())  # of the one channel
    largest = {"F": 1, "I": 255 if high <= 255 else 65535}.get(image.mode, 65535)
    if not 0 <= low <= high <= largest:
        raise ValueError(f"values from {low:g} to {high:g} in an image of mode {image.mode}: convert it to 8 bits")
    return values.point(lambda value: value * (255 / largest) + 0.5).convert("L")  # which cuts off the fraction
