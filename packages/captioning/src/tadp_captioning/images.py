"""Which images a data set has, and reading one of them."""

import glob
import hashlib
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tadp_captioning.store import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from PIL.Image import Image

_IMAGE_FOLDERS = ("images", "JPEGImages")  # below a data set's folder: ours, and VOC's


class ReadImage(NamedTuple):
    """One image, or the reason why there is none."""

    id: str
    image: "Image | None"
    """RGB; None also for content whose hash was known already."""
    hash: str
    """First 16 hex digits of the file's SHA-256; "" where the file could not be read at all."""
    error: str | None


def find_images(data: str | Path | Sequence[str | Path]) -> dict[str, Path]:
    """Image files by id, sorted, of a folder (its images/ or JPEGImages/ if it has one), a .txt list, a glob or files.

    An id is the path below the folder (of several files: below their common one) without its suffix; files that
    differ only in the suffix keep it. The lines of a list are paths, relative ones from the list's own folder.
    """
    if not isinstance(data, str | Path):
        files = [Path(file) for file in data]
        absent = next((file for file in files if not file.is_file()), None)
        if absent is not None or not files:
            raise ValueError(f"{absent or 'no images'}: found no such file; of several, each must be an image file")
        return _ids(sorted(files), Path(os.path.commonpath([file.parent for file in files])))
    path = Path(data)
    if path.is_dir():
        root = next((path / name for name in _IMAGE_FOLDERS if (path / name).is_dir()), path)
        files = [file for file in root.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES]
    elif path.is_file() and path.suffix == ".txt":
        root = path.parent
        files = _listed(path)
    elif path.is_file():
        root, files = path.parent, [path]
    else:
        files = [Path(found) for found in glob.glob(str(data), recursive=True)]
        files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        root = Path(*_before_wildcard(path))
    if not files:
        raise ValueError(f"no images in {str(data)!r}; expected a folder, a .txt list of image files or a glob")
    return _ids(sorted(files), root)


def _listed(file: Path) -> list[Path]:
    lines = enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
    files = {number: file.parent / line.strip() for number, line in lines if line.strip()}
    absent = next((number for number, path in files.items() if not path.is_file()), None)
    if absent is not None:
        raise ValueError(
            f"{file}, line {absent}: there is no file {str(files[absent])!r}; a list has one image file a line, "
            "relative to its own folder"
        )
    return list(files.values())


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
            return ReadImage(image_id, None, digest, None)
        with Image.open(io.BytesIO(content)) as image:
            return ReadImage(image_id, _upright_rgb(image), digest, None)
    except UnidentifiedImageError:
        return ReadImage(image_id, None, digest, f"{path.name}: not an image file")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what PIL's decoders raise
        return ReadImage(image_id, None, digest, f"{path.name}: {str(error).splitlines()[0]}")


def _upright_rgb(image: "Image.Image") -> "Image.Image":
    """8-bit RGB, turned as the file's EXIF tag says; 16-bit grey is scaled, for PIL's own way cuts it off at 255."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    return image.convert("RGB")


def _before_wildcard(pattern: Path) -> list[str]:
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return fixed


def _ids(files: list[Path], root: Path) -> dict[str, Path]:
    names = [file.relative_to(root) if file.is_relative_to(root) else file for file in files]
    shared = Counter(name.with_suffix("") for name in names)
    return {
        (name if shared[name.with_suffix("")] > 1 else name.with_suffix("")).as_posix(): file
        for name, file in zip(names, files, strict=True)
    }
