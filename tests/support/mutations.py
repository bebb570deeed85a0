"""Seeded mutations of a file's bytes, as damage, careless editing and malice make them."""

import random
from collections.abc import Iterator

_PIECES = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n\n",
    b"\r",
    b'"',
    b"<",
    b"&",
    b"{",
    b"]",
    b",",
    b"null",
    b"NaN",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"[" * 2000,
    b"../../",
    b"/etc/passwd",
    b"\\ud800",
    b"\x1b[2J",
    b"x" * 200_000,
)


def mutated(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` variants of `content`, the same for the same seed."""
    generator = random.Random(seed)
    for _ in range(count):
        yield generator.choice(_CHANGES)(content, generator)


def _place(content: bytes, generator: random.Random) -> int:
    return generator.randrange(len(content) + 1)


def _flip(content: bytes, generator: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(generator.randint(1, 8)):
        changed[generator.randrange(len(content))] = generator.randrange(256)
    return bytes(changed)


def _cut(content: bytes, generator: random.Random) -> bytes:
    return content[: _place(content, generator)]


def _leave_out(content: bytes, generator: random.Random) -> bytes:
    first, last = sorted((_place(content, generator), _place(content, generator)))
    return content[:first] + content[last:]


def _repeat(content: bytes, generator: random.Random) -> bytes:
    first, last = sorted((_place(content, generator), _place(content, generator)))
    return content[:last] + content[first:last] * generator.randint(1, 50) + content[last:]


def _put_in(content: bytes, generator: random.Random) -> bytes:
    place = _place(content, generator)
    return content[:place] + generator.choice(_PIECES) + content[place:]


def _replace_a_number(content: bytes, generator: random.Random) -> bytes:
    places = [index for index, byte in enumerate(content) if chr(byte).isdigit()]
    if not places:
        return _put_in(content, generator)
    place = generator.choice(places)
    return content[:place] + generator.choice(_PIECES) + content[place + 1 :]


_CHANGES = (_flip, _cut, _leave_out, _repeat, _put_in, _put_in, _replace_a_number)
