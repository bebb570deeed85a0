"""Which images a folder, a list, a glob or several files name, and their ids."""

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tadp_captioning.records import IMAGE_SUFFIXES
from tadp_captioning.text_files import read_text

logger = logging.getLogger(__name__)

_IMAGE_FOLDERS = ("images", "JPEGImages")  # below a data set's folder: ours, and VOC's
_UNREAD_SUFFIXES = (
    *(".heic", ".heif", ".jxl", ".svg", ".psd", ".exr", ".hdr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
)
"""Images that Pillow does not decode; they are named, not read."""
_NAMED = 5
_OUTSIDE = "TADP_READ_OUTSIDE"
"""The environment variable that allows links out of a folder of images."""


def find_images(data: str | Path | Sequence[str | Path]) -> dict[str, Path]:
    """Image files by id, sorted, of a folder (its images/ or JPEGImages/ if it has one), a .txt list, a glob or files.

    An id is the path below the folder (of several files or a list: below their common one) without its suffix, so it
    never leads out of a folder that it is joined to; files that differ only in the suffix keep it. The lines of a list
    are paths, relative ones from the list's own folder. Hidden files and folders are no images; what looks like an
    image and is left out is named in a warning. ValueError where there are no images, or a list names none.
    """
    if not isinstance(data, str | Path):
        return _of_several([Path(file).expanduser() for file in data])
    path = Path(data).expanduser()
    if path.is_dir():
        root, files = _of_folder(path)
    elif path.is_file() and path.suffix.lower() == ".txt":
        files = _listed(path)
        root = path.parent if all(_below(file, path.parent) for file in files) else _common(files)
    elif path.is_file():
        root, files = path.parent, [path]
    else:
        files = [Path(found) for found in glob.glob(str(path), recursive=True) if os.path.isfile(found)]
        files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        root = Path(*_before_wildcard(path))
    if not files:
        raise ValueError(f"no images in {str(data)!r}; expected a folder, a .txt list of image files or a glob")
    return _ids(files, root)


def _of_several(files: list[Path]) -> dict[str, Path]:
    absent = next((file for file in files if not os.path.isfile(file)), None)
    if absent is not None or not files:
        raise ValueError(f"{absent or 'no images'}: found no such file; of several, each must be an image file")
    return _ids(files, _common(files))


def _of_folder(folder: Path) -> tuple[Path, list[Path]]:
    """The folder that ids are relative to, and the images below it."""
    root = next((folder / name for name in _IMAGE_FOLDERS if (folder / name).is_dir()), folder)
    left_out: dict[str, str] = {}
    files = []
    if os.path.islink(root) and _leads_out(root, folder):
        raise ValueError(f"{root}: a link out of {folder}; name its target itself, or set {_OUTSIDE}=1 to allow it")
    for file in _walk(root, left_out):
        suffix = file.suffix.lower()
        if suffix in IMAGE_SUFFIXES and os.path.islink(file) and _leads_out(file, folder):
            left_out[str(file)] = f"a link out of the folder; {_OUTSIDE}=1 allows it"
        elif suffix in IMAGE_SUFFIXES:
            files.append(file)
        elif suffix in _UNREAD_SUFFIXES:
            left_out[str(file)] = "convert it to JPEG or PNG"
    if root != folder:
        listed = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES]
        shown = [file for file in listed if file.is_file() and not file.name.startswith(".")]
        left_out |= {str(file): f"only {root.name}/ is read" for file in shown}
    if left_out:
        named = [f"{name} ({why})" for name, why in list(left_out.items())[:_NAMED]]
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        logger.warning("%s: %d left out: %s%s", folder, len(left_out), ", ".join(named), more)
    return root, files


def _leads_out(link: Path, folder: Path) -> bool:
    if os.environ.get(_OUTSIDE) == "1" or link == folder:
        return False
    return not Path(os.path.realpath(link)).is_relative_to(os.path.realpath(folder))


def _walk(root: Path, left_out: dict[str, str]) -> Iterator[Path]:
    """Files below the folder, none of them hidden; linked folders, which may lie elsewhere or contain this one, not."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in [name for name in folders if os.path.islink(os.path.join(folder, name))]:
            folders.remove(name)
            left_out[os.path.join(folder, name)] = "a link to a folder: name that folder itself"
        yield from (Path(folder, name) for name in sorted(names) if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _listed(file: Path) -> list[Path]:
    lines = enumerate(read_text(file).splitlines(), start=1)
    numbers: dict[Path, int] = {}  # each file once, however often the list has it
    for number, line in lines:
        if line.strip():
            numbers.setdefault(file.parent / Path(line.strip()).expanduser(), number)
    absent = next((path for path in numbers if not os.path.isfile(path)), None)
    if absent is not None:
        raise ValueError(
            f"{file}, line {numbers[absent]}: there is no file {str(absent)[-300:]!r}; a list has one image file "
            "a line, relative to its own folder"
        )
    return list(numbers)


def _before_wildcard(pattern: Path) -> list[str]:
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return fixed


def _common(files: Iterable[Path]) -> Path:
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))


def _below(file: Path, folder: Path) -> bool:
    """By the names alone, so that a linked file lies where its link does."""
    return Path(os.path.abspath(file)).is_relative_to(os.path.abspath(folder))


def _ids(files: Iterable[Path], root: Path) -> dict[str, Path]:
    once = {os.path.abspath(file): file for file in files}
    names = {Path(os.path.relpath(absolute, os.path.abspath(root))): file for absolute, file in once.items()}
    shared = Counter(name.with_suffix("") for name in names)
    return {
        (name if shared[name.with_suffix("")] > 1 else name.with_suffix("")).as_posix(): names[name]
        for name in sorted(names)
    }
