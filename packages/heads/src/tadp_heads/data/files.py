"""The files of a data set: folders, ids, lists of names; each error says file, finding, expectation and cure."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tadp_heads.data.errors import DataError
from tadp_heads.data.safe_paths import inside

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff"),
    *(".gif", ".ppm", ".pgm", ".avif", ".jp2"),
)


def read_lines(path: Path, what: str) -> tuple[str, ...]:
    """The lines of a text file without blanks at their ends and without empty lines; none may occur twice."""
    if not path.is_file():
        raise DataError(path, found="no file", expected=f"{what}, one per line", fix="write the file")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(
            path, found="bytes that are not UTF-8", expected=f"{what}, one per line", fix="save it as UTF-8"
        ) from error
    lines = [line for line in lines if line]
    if not lines:
        raise DataError(path, found="an empty file", expected=f"{what}, one per line", fix="fill it")
    repeated = sorted(line for line, times in Counter(lines).items() if times > 1)
    if repeated:
        raise DataError(
            path, found=f"{repeated[0]!r} more than once", expected=f"each of {what} once", fix="delete the repetition"
        )
    return tuple(lines)


def require_folder(path: Path, what: str, root: Path | None = None) -> Path:
    """`path`, or a DataError when it is no folder, or none of the data set in `root`."""
    if not path.is_dir():
        raise DataError(path, found="no folder", expected=what, fix="check the path")
    return path if root is None else inside(root, path)


def is_hidden(path: Path) -> bool:
    """Whether a file or a folder on its way is one that Macs and notebooks leave: "._x.jpg", .ipynb_checkpoints."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def files_by_id(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES, root: Path | None = None) -> dict[str, Path]:
    """{path below `folder` without its suffix: file}, sorted; two files of one id are an error, as is a link that
    leads out of `root` (None: out of `folder`)."""
    suffixes = tuple(suffixes)
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in suffixes or is_hidden(path.relative_to(folder)) or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise DataError(
                path,
                found=f"the same id as {files[name].name}",
                expected="one image per id",
                fix="rename or delete one of them",
            )
        files[name] = inside(root or folder, path) if path.is_symlink() else path
    return files


def split_ids(root: Path, split: str | None, known: Iterable[str]) -> tuple[str, ...]:
    """The ids of `root`/`split`.txt, or all `known` ones when `split` is None; an id without an image is an error."""
    known = tuple(known)
    if split is None:
        return known
    path = root / f"{split}.txt"
    if not path.is_file():
        present = sorted(file.stem for file in root.glob("[!.]*.txt") if file.name != "classes.txt")
        raise DataError(
            path,
            found="no such split file",
            expected=f"one of the splits {', '.join(present)}" if present else "a file with one image id per line",
            fix="name another split, or none for all images",
        )
    ids = read_lines(inside(root, path), "image ids")
    unknown = sorted(set(ids) - set(known))
    if unknown:
        raise DataError(
            path,
            found=f"id {unknown[0]!r} and {len(unknown) - 1} more without an image",
            expected="ids of files in images/, without folder and suffix",
            fix="correct the ids or add the images",
        )
    return ids
