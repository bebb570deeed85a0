"""Small images inside tar archives."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image


def image_bytes(number: int) -> bytes:
    """A PNG that differs from those of other numbers."""
    buffer = io.BytesIO()
    Image.new("RGB", (8 + number % 50, 8), (number % 256, number // 256, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path: Path, numbers: Iterable[int]) -> Path:
    """An archive in webdataset's layout."""
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            for suffix, content in (("png", image_bytes(number)), ("json", b"{}")):
                member = tarfile.TarInfo(f"part/{number:06d}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path
