"""Images written row by row: PNG and tiled TIFF of 8 bits, with or without a palette."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Protocol

import numpy as np

from tadp_heads.data.sample import Color

TiffTag = tuple[str, Sequence[int] | Sequence[float] | bytes]
"""A value's type, as a key of _TYPES, and the value."""
_TYPES = {"s": 2, "H": 3, "I": 4, "d": 12}
"""{letter of `struct`: number in TIFF 6.0}."""
_TILE = 256
"""Pixels; a multiple of 16, as TIFF asks for."""


class RowWriter(Protocol):
    """Takes an image from top to bottom."""

    def write(self, rows: np.ndarray) -> None:
        """(n, W) uint8, the next rows."""

    def close(self) -> None:
        """Write what follows the last row."""


class PngRows:
    """An 8-bit PNG, grey or with a palette."""

    def __init__(self, file: BinaryIO, width: int, height: int, palette: Sequence[Color] = ()):
        self.file, self.packer = file, zlib.compressobj(6)
        file.write(b"\x89PNG\r\n\x1a\n")
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3 if palette else 0, 0, 0, 0))
        if palette:
            self._chunk(b"PLTE", bytes(channel for color in palette for channel in color))

    def write(self, rows: np.ndarray) -> None:
        """See `RowWriter`."""
        lines = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with its filter, 0
        self._data(self.packer.compress(np.ascontiguousarray(lines).tobytes()))

    def close(self) -> None:
        """See `RowWriter`."""
        self._data(self.packer.flush())
        self._chunk(b"IEND", b"")

    def _data(self, content: bytes) -> None:
        if content:
            self._chunk(b"IDAT", content)

    def _chunk(self, kind: bytes, content: bytes) -> None:
        checksum = zlib.crc32(kind + content)
        self.file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))


class TiffRows:
    """An 8-bit TIFF in compressed tiles of 256 x 256 pixels, grey or with a palette."""

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        palette: Sequence[Color] = (),
        more: Mapping[int, TiffTag] | None = None,
    ):
        """`more`: further tags by number, such as those of `georeference`."""
        self.file, self.width, self.height, self.palette, self.more = file, width, height, palette, more or {}
        self.waiting = np.zeros((0, width), dtype=np.uint8)
        self.tiles: list[tuple[int, int]] = []
        """(offset, bytes) of each."""
        file.write(b"II*\0" + struct.pack("<I", 0))  # the offset of the directory follows when it is known

    def write(self, rows: np.ndarray) -> None:
        """See `RowWriter`."""
        self.waiting = np.concatenate([self.waiting, rows])
        while len(self.waiting) >= _TILE:
            self._row_of_tiles(self.waiting[:_TILE])
            self.waiting = self.waiting[_TILE:]

    def close(self) -> None:
        """See `RowWriter`."""
        if len(self.waiting):
            self._row_of_tiles(self.waiting)
        self._directory()

    def _row_of_tiles(self, rows: np.ndarray) -> None:
        padded = np.pad(rows, ((0, _TILE - len(rows)), (0, -self.width % _TILE)))
        for left in range(0, padded.shape[1], _TILE):
            content = zlib.compress(np.ascontiguousarray(padded[:, left : left + _TILE]).tobytes())
            self.tiles.append((self.file.tell(), len(content)))
            self.file.write(content)

    def _directory(self) -> None:
        """Tags as TIFF 6.0 numbers them; values of more than four bytes lie before the directory."""
        colors = [self.palette[i] if i < len(self.palette) else (0, 0, 0) for i in range(256)]
        offsets, sizes = zip(*self.tiles, strict=True)
        tags: dict[int, TiffTag] = {
            256: ("I", [self.width]),
            257: ("I", [self.height]),
            258: ("H", [8]),  # bits
            259: ("H", [8]),  # deflate
            262: ("H", [3 if self.palette else 1]),
            277: ("H", [1]),  # channels
            322: ("I", [_TILE]),
            323: ("I", [_TILE]),
            324: ("I", offsets),
            325: ("I", sizes),
            **self.more,
        }
        if self.palette:
            tags[320] = ("H", [color[channel] * 257 for channel in range(3) for color in colors])
        entries = b""
        for number, (kind, values) in sorted(tags.items()):
            content = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{kind}", *values)
            if len(content) > 4:
                content = struct.pack("<I", self._place(content))
            entries += struct.pack("<HHI", number, _TYPES[kind], len(values)) + content.ljust(4, b"\0")
        start = self._place(struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))
        self.file.seek(4)
        self.file.write(struct.pack("<I", start))

    def _place(self, content: bytes) -> int:
        """Write at an even offset, which is returned."""
        if self.file.tell() % 2:
            self.file.write(b"\0")
        place = self.file.tell()
        self.file.write(content)
        return place


ROW_FILES: dict[str, Callable[..., RowWriter]] = {"png": PngRows, "tiff": TiffRows}
