"""The image files of a folder, found by the names that annotation files give them."""

import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath

from tadp_heads.data.files import IMAGE_SUFFIXES, is_hidden
from tadp_heads.data.safe_paths import inside

_IMAGE_FOLDERS = ("images", "JPEGImages")


class ImageIndex:
    """Images below `root`; nothing outside it is ever read, whatever an annotation file names."""

    def __init__(self, root: Path):
        self.root = root
        self.files: dict[str, Path] = {}
        """{path below `root`, with slashes and composed accents: file}."""
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            if path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(relative) and path.is_file():
                self.files[_plain(relative.as_posix())] = path
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in self.files:
            self._by_name[PurePosixPath(name).name].append(name)

    def find(self, name: str, near: Path | None = None, named_in: Path | None = None) -> Path | None:
        """The image of a name as an annotation file has it: Windows paths, absolute ones of another machine, or a mere
        file name. Of several, the one whose path shares most with the name, or that is in the folder `near`.

        None where there is none or several fit equally.
        """
        wanted = _plain(name.replace("\\", "/")).split("/")
        folder = "" if near is None else _plain(near.relative_to(self.root).as_posix())
        found = self._by_name.get(wanted[-1], [])
        ranked = sorted(((_shared(one, wanted), _is_in(one, folder)), one) for one in found)
        if not ranked or (len(ranked) > 1 and ranked[-1][0] == ranked[-2][0]):
            return None
        return inside(self.root, self.files[ranked[-1][1]], named_in)

    def id_of(self, file: Path) -> str:
        """The path below a folder of images or, where there is none, below `root`, without its suffix."""
        parts = file.relative_to(self.root).with_suffix("").parts
        folders = [i for i, part in enumerate(parts[:-1]) if part in _IMAGE_FOLDERS]
        return "/".join(parts[folders[0] + 1 :] if folders else parts)


def plain_id(name: str) -> str | None:
    """An image's name without its suffix; None where it is no path below the folder of images."""
    parts = PurePosixPath(name.replace("\\", "/")).with_suffix("").parts
    return None if not parts or {"..", "/"} & set(parts) or ":" in parts[0] else "/".join(parts)


def _plain(name: str) -> str:
    """Macs write an accent as a character of its own."""
    return unicodedata.normalize("NFC", name)


def _shared(name: str, wanted: list[str]) -> int:
    """How many parts of the two paths are equal, counted from their ends."""
    pairs = zip(reversed(name.split("/")), reversed(wanted), strict=False)
    count = 0
    for one, other in pairs:
        if one != other:
            break
        count += 1
    return count


def _is_in(name: str, folder: str) -> bool:
    return PurePosixPath(name).parent == PurePosixPath(folder)
