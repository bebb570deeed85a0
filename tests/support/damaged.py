"""Ways in which a .safetensors file can be damaged, a broken image, and a pickle that would run code."""

import io
import json
import os
import struct

import torch
from PIL import Image


class _Malice:
    def __reduce__(self):
        return os.system, ("false",)


def save_malice(file) -> None:
    """What `torch.load` would run a command for."""
    torch.save({"weights": _Malice()}, file)


def save_broken_avif(file) -> None:
    """An AVIF image whose pixels no decoder reads; Pillow's raises RuntimeError, where others raise OSError."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((20, 20)).save(buffer, format="AVIF")
    content = buffer.getvalue()
    pixels = content.index(b"mdat") + 4
    file.write_bytes(content[:pixels] + bytes(len(content) - pixels))


def _safetensors(header, data=bytes(8), length=None) -> bytes:
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def _tensor(**changes) -> dict:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


SAFETENSORS = {
    "empty": b"",
    "an HTML page": b"<!DOCTYPE html><html>not found</html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
    "header larger than any": _safetensors({}, length=2**62),
    "header larger than the file": _safetensors({}, length=99_999_999),
    "header that is no JSON": _safetensors(b"{nope"),
    "header that is no UTF-8": _safetensors(b'{"\xff\xfe": 1}'),
    "header that is a list": _safetensors([]),
    "overlapping tensors": _safetensors({"a": _tensor(), "b": _tensor(data_offsets=[4, 12])}, bytes(12)),
    "shape beyond all memory": _safetensors({"a": _tensor(shape=[2**40, 2**40])}),
    "negative shape": _safetensors({"a": _tensor(shape=[-2])}),
    "unknown dtype": _safetensors({"a": _tensor(dtype="X9")}),
    "dtype that torch lacks": _safetensors({"a": _tensor(dtype="F6_E2M3", shape=[8], data_offsets=[0, 6])}, bytes(6)),
    "truncated": _safetensors({"a": _tensor(shape=[20], data_offsets=[0, 80])}),
    "bytes behind the last tensor": _safetensors({"a": _tensor()}, bytes(99)),
    "meta data that is no text": _safetensors({"__metadata__": {"a": 1}, "a": _tensor()}),
}
