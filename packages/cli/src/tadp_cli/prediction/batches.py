"""A user's images, read in batches."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from PIL import Image

from tadp_cli.inputs.user_images import open_user_image

_BATCH_PIXELS = 8 * 512 * 512
"""A batch is at most as many images as have these pixels together, or one larger image."""


class LoadedImage(NamedTuple):
    """One image to be predicted."""

    id: str
    file: Any
    """A path, or an image inside a larger file."""
    image: Image.Image
    shrunk: Image.Image
    """As the model gets it."""


def image_batches(
    files: Mapping[str, Any], longest: int | None, batch_size: int, failed: dict[str, str]
) -> Iterator[list[LoadedImage]]:
    """Readable images in order; the reason why one is not readable goes into `failed`."""
    batch: list[LoadedImage] = []
    pixels = 0
    for image_id, file in files.items():
        try:
            image = open_user_image(file)
            shrunk = image if longest is None else _shrunk(image, longest)
        except ValueError as error:
            failed[image_id] = str(error)
            continue
        except MemoryError:
            failed[image_id] = f"{file}: not enough memory to read it: make the image smaller"
            continue
        size = shrunk.width * shrunk.height
        if batch and (len(batch) == batch_size or pixels + size > _BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(LoadedImage(image_id, file, image, shrunk))
        pixels += size
    if batch:
        yield batch


def _shrunk(image: Image.Image, longest: int) -> Image.Image:
    """With its longer side of at most so many pixels, in its own proportions; a smaller image unchanged."""
    factor = longest / max(image.size)
    if factor >= 1:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)
