"""Reading the few target images: read rightly, or named and skipped."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageOps

from tadp_personalize._io import is_limit
from tadp_personalize._read_errors import reason_of

ImageSource = str | PathLike | Image.Image
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".avif",
    ".heic",
    ".heif",
    ".ppm",
    ".pgm",
    ".jp2",
    ".jpe",
    ".jfif",
)
LEAST_IMAGES = 3
_MOST_ENLARGED = 4


@dataclass(frozen=True, kw_only=True)
class ImageReport:
    """What became of the images that were given."""

    used: tuple[str, ...]
    """Names, in the order of training."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Name -> why it could not be used."""
    duplicates: dict[str, str] = field(default_factory=dict)
    """Name -> the earlier image with the same pixels; it is used once."""
    notes: dict[str, str] = field(default_factory=dict)
    """Name -> what was done to a used image beyond decoding it."""
    sha256: str
    """Hash of the used images' pixels."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return asdict(self) | {"count": len(self.used)}


def read_images(
    images: ImageSource | Iterable[ImageSource],
    *,
    size: int,
    least: int = LEAST_IMAGES,
    known: Sequence[Image.Image] = (),
) -> tuple[list[Image.Image], ImageReport]:
    """Return the usable images as upright 8-bit RGB, and the report.

    `size` is the model's image side in pixels: what would have to be enlarged more than four times is skipped. Images
    with the pixels of one in `known` count as duplicates. Fewer than `least` usable images are an error that says what
    happened to each.
    """
    usable: dict[str, Image.Image] = {}
    skipped, duplicates, notes = {}, {}, {}
    seen = {_digest(image): f"image {i + 1} of the training images" for i, image in enumerate(known)}
    for name, source in _named(images):
        try:
            image, note = _read(source)
        except Exception as error:  # decoders of damaged files raise nearly anything
            if is_limit(error):
                raise
            heif = "HEIC needs the package pillow-heif"
            skipped[name] = heif if _needs_heif(name) else f"cannot be read ({reason_of(error)})"
            continue
        if min(image.size) * _MOST_ENLARGED < size:
            skipped[name] = f"too small: {image.width}x{image.height} pixels for a model of {size}x{size}"
            continue
        first = seen.setdefault(_digest(image), name)
        if first is not name:
            duplicates[name] = first
            continue
        usable[name] = image
        if note:
            notes[name] = note
    if len(usable) < least:
        reasons = [f"{n}: {why}" for n, why in skipped.items()] + [f"{n}: same as {o}" for n, o in duplicates.items()]
        raise ValueError(
            f"{len(usable)} usable images, at least {least} are needed" + "".join(f"; {r}" for r in reasons)
        )
    digest = hashlib.sha256("".join(map(_digest, usable.values())).encode()).hexdigest()
    report = ImageReport(used=tuple(usable), skipped=skipped, duplicates=duplicates, notes=notes, sha256=digest)
    return list(usable.values()), report


def to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """Return one upright 8-bit RGB frame and what was done to get it."""
    done = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        done.append(f"first of {frames} frames")
        image.seek(0)
    image.load()
    upright = image
    with suppress(Exception):  # a damaged EXIF block says nothing of the pixels, which are there
        upright = ImageOps.exif_transpose(image)
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            done.append("turned upright")
    if upright.mode.startswith("I") or upright.mode == "F":
        done.append("16 bit to 8 bit")
        upright = _to_8_bit(upright)
    if "A" in upright.getbands() or "transparency" in upright.info:
        done.append("laid on white")
        rgba = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    if upright.mode == "CMYK":
        done.append("CMYK to RGB")
    return upright.convert("RGB"), ", ".join(done)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, or floats in [0, 1] -> [0, 255]; Pillow's own convert cuts all above 255 to white."""
    import numpy as np

    values = np.asarray(image, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    largest = {"F": 1, "I": 255 if high <= 255 else 65535}.get(image.mode, 65535)
    if not 0 <= low <= high <= largest:
        raise ValueError(f"values from {low:g} to {high:g} in an image of mode {image.mode}: convert it to 8 bits")
    return Image.fromarray(np.rint(values * (255 / largest)).astype(np.uint8))


def _named(images: ImageSource | Iterable[ImageSource]) -> list[tuple[str, ImageSource]]:
    """Pair each image with a name of its own; a folder stands for the images in and below it, sorted by name."""
    if isinstance(images, Image.Image):
        images = [images]
    if isinstance(images, str | PathLike):
        root = Path(images)
        if not root.is_dir():
            raise ValueError(f"{images} is not a folder; give a folder of images, or a list of paths or PIL images")
        found = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and _is_visible(p, root))
        return [(path.relative_to(root).as_posix(), path) for path in found]
    sources = list(images)
    for source in sources:
        if not isinstance(source, Image.Image) and not Path(source).is_file():
            raise ValueError(f"{source} is no file; give paths of images or PIL images")
    names = [f"image {i + 1}" if isinstance(s, Image.Image) else Path(s).name for i, s in enumerate(sources)]
    unique = [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]
    return list(zip(unique, sources, strict=True))


def _is_visible(path: Path, root: Path) -> bool:
    """Not what Macs and notebooks leave, such as "._x.jpg" and .ipynb_checkpoints, nor a folder called x.jpg."""
    parts = path.relative_to(root).parts
    return path.is_file() and not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _read(source: ImageSource) -> tuple[Image.Image, str]:
    if isinstance(source, Image.Image):
        return to_rgb(source)
    if _needs_heif(str(source)) and find_spec("pillow_heif"):
        from pillow_heif import read_heif

        return to_rgb(read_heif(source).to_pillow())
    with Image.open(source) as image:
        return to_rgb(image)


def _needs_heif(name: str) -> bool:
    return Path(name).suffix.lower() in (".heic", ".heif")


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
