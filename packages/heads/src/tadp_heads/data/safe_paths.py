"""Files of a data set lie in its folder: a name or a link that leads out of it is refused."""

import os
from functools import lru_cache
from pathlib import Path

from tadp_heads.data.errors import DataError

VARIABLE = "TADP_READ_OUTSIDE"
"""Set to 1, the environment variable allows a data set to have files elsewhere, as links to a larger disk have them."""


def inside(root: Path, path: Path, named_in: Path | None = None) -> Path:
    """`path`, or a DataError where it or a link on the way to it leads out of `root`.

    `root` itself may be a link: the user has named it. `named_in`: the file that the path was read from.
    """
    if os.environ.get(VARIABLE) == "1" or _leads_into(_real(os.fspath(root)), path):
        return path
    raise DataError(
        named_in or path,
        found=f"{str(path)!r}, which leads out of the data set's folder {root}",
        expected="files of that folder",
        fix=f"name the folder that holds all of it, or set {VARIABLE}=1 if this is intended",
    )


def _leads_into(root: str, path: Path) -> bool:
    real = os.path.join(_real(os.fspath(path.parent)), path.name)
    if path.name == ".." or os.path.islink(real):
        real = os.path.realpath(real)
    return real == root or real.startswith(os.path.join(root, ""))


@lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    """Looked up once for all files of a folder."""
    return os.path.realpath(folder)
