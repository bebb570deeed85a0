"""Run-length codes of painted pixels: COCO's, CVAT's and Label Studio's."""

from typing import Any

import numpy as np

LARGEST_PIXELS = 2**28
"""Of one image; a code that asks for more is damaged."""


def decode_coco(code: Any) -> np.ndarray:
    """COCO's {"size": [height, width], "counts": text or numbers of pixels, column by column, zeros first}.

    -> (H, W) bool.
    """
    if not isinstance(code, dict) or not _is_size(code.get("size")):
        raise ValueError("run lengths without a size [height, width]")
    height, width = code["size"]
    counts = code.get("counts")
    if isinstance(counts, str):
        counts = _unpack_coco(counts)
    return _from_counts(counts, height * width).reshape(width, height).T


def decode_cvat(text: str, height: int, width: int) -> np.ndarray:
    """CVAT's "12, 3, 9": numbers of pixels, row by row within the mask's box, zeros first -> (height, width) bool."""
    if not 0 < height * width <= LARGEST_PIXELS:
        raise ValueError(f"a mask of {width}x{height} pixels")
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError("run lengths that are no numbers") from None
    return _from_counts(counts, height * width).reshape(height, width)


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and side > 0 for side in size)
        and size[0] * size[1] <= LARGEST_PIXELS
    )


def _from_counts(counts: Any, total: int) -> np.ndarray:
    """(total,) bool of alternating runs, zeros first."""
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("run lengths that are no numbers of pixels")
    if sum(counts) != total:
        raise ValueError(f"run lengths of {sum(counts)} pixels, expected {total}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts)


def _unpack_coco(text: str) -> list[int]:
    """COCO's packed counts: six bits per character from 48 on, the sixth: more follow; differences to the count
    before last from the fourth one on (rleFrString of COCO's maskApi.c)."""
    counts: list[int] = []
    position = 0
    while position < len(text):
        value = shift = 0
        more = True
        while more:
            if position == len(text) or shift > 60 or not 48 <= ord(text[position]) < 112:
                raise ValueError("packed run lengths that are cut short or damaged")
            code = ord(text[position]) - 48
            value |= (code & 31) << shift
            more = bool(code & 32)
            position, shift = position + 1, shift + 5
            if not more and code & 16:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts


class _Bits:
    """Reads numbers of any number of bits from bytes, the highest bit first."""

    def __init__(self, data: bytes):
        self.bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8))
        self.position = 0

    def read(self, count: int) -> int:
        part = self.bits[self.position : self.position + count]
        if part.size < count:
            raise ValueError("brush strokes that are cut short")
        self.position += count
        return int("".join(map(str, part.tolist())) or "0", 2)

    def read_many(self, count: int, width: int) -> np.ndarray:
        """(count,) numbers of `width` bits."""
        part = self.bits[self.position : self.position + count * width]
        if part.size < count * width:
            raise ValueError("brush strokes that are cut short")
        self.position += count * width
        return part.reshape(count, width) @ (1 << np.arange(width - 1, -1, -1))


def decode_brush(code: Any, height: int, width: int) -> np.ndarray:
    """Label Studio's brush strokes: bytes of the packed runs of the image's RGBA values -> (height, width) bool.

    The packing is that of thi.ng/rle-pack: the number of values in 32 bits, their size, four sizes of run lengths, then
    runs of one value and stretches of different ones. A pixel is painted where it is at least half opaque.
    """
    total = height * width * 4
    if not isinstance(code, list) or not all(type(byte) is int and 0 <= byte < 256 for byte in code):
        raise ValueError("brush strokes that are no bytes")
    bits = _Bits(bytes(code))
    if bits.read(32) != total or not 0 < total <= 4 * LARGEST_PIXELS:
        raise ValueError(f"brush strokes of another image than {width}x{height} pixels")
    size = bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(total, dtype=np.uint32)
    position = 0
    while position < total:
        is_run = bits.read(1)
        end = position + 1 + bits.read(lengths[bits.read(2)])
        if end > total:
            raise ValueError("brush strokes of more values than the image has")
        values[position:end] = bits.read(size) if is_run else bits.read_many(end - position, size)
        position = end
    return values.reshape(height, width, 4)[..., 3] >= 128
