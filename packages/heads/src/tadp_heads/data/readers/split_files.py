"""Text files that list the images of a split, and other text files of a data set."""

from collections.abc import Collection
from pathlib import Path

CLASSES_FILE = "classes.txt"
SPLITS = Path("ImageSets") / "Main"
"""Where VOC's split files lie."""
_SPLIT_NAMES = ("train", "val", "test", "trainval", "valid", "validation")


def split_files(folder: Path, known: Collection[str]) -> list[Path]:
    """The lists of image ids in a folder, sorted: what is called like a split, or has an id that is `known`."""
    files = [path for path in sorted(folder.glob("[!.]*.txt")) if path.name != CLASSES_FILE]
    # VOC's lists of one class, such as dog_train.txt, repeat the ids of the others.
    files = [path for path in files if not (folder.parent.name == SPLITS.parent.name and "_" in path.stem)]
    known = set(known)
    return [path for path in files if path.stem in _SPLIT_NAMES or _names_an_image(path, known)]


def listed_id(line: str, known: Collection[str]) -> str:
    """The id in a line of a split file: all of it, or what stands before a column such as VOC's 1 and -1."""
    if line in known:
        return line
    before = line.rsplit(maxsplit=1)[0]
    return before if before in known else line.split()[0]


def _names_an_image(path: Path, known: set[str]) -> bool:
    """A README or a list of packages does not."""
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        return True  # reading it as a split says what is wrong
    return any(line.strip() and listed_id(line.strip(), known) in known for line in lines)
