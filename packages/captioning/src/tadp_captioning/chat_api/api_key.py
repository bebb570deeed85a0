"""The key of an OpenAI-compatible server: read from the environment, and kept out of every message."""

import base64
import html
import json
import os
import re
import string
from collections.abc import Callable
from functools import partial
from urllib.parse import quote, quote_plus

KEY_VARIABLE = "OPENAI_API_KEY"
_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_SHORTEST, _RUN = 6, 8
"""What is shorter is no key but a word such as "none", which messages may hold; so much of a key gives it away."""
_SECRET = re.compile(r"\bsk-[\w*.-]+")


def read_key() -> str:
    """The environment variable's value without the line break that `$(cat key)` or a CI secret adds; "" where unset."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ValueError(f"{KEY_VARIABLE} contains a blank or a non-ASCII character, which no key has: set it again")
    return key


def without_key(text: str) -> str:
    """The text with *** in place of the key and of any part of it, whichever way a server or a library encoded it."""
    runs = _runs(os.environ.get(KEY_VARIABLE, ""))
    folded, hidden = text.translate(_FOLDED), bytearray(len(text))
    for length in {len(run) for run in runs}:
        for start in range(len(text) - length + 1):
            if folded[start : start + length] in runs:
                hidden[start : start + length] = b"*" * length
    shown = "".join("*" if covered else character for character, covered in zip(text, hidden, strict=True))
    return re.sub(rf"\*{{{_SHORTEST},}}", "***", shown) if any(hidden) else text


def without_keys(text: str) -> str:
    """`without_key`, and without what looks like any other key of OpenAI's."""
    return _SECRET.sub("sk-***", without_key(text))


def _runs(value: str) -> set[str]:
    """Strings that identify the key: its encodings, or all substrings of `_RUN` characters of longer ones."""
    encodings = (encoding.translate(_FOLDED) for encoding in _encodings(value))
    return {
        encoding[start : start + _RUN] for encoding in encodings for start in range(max(1, len(encoding) - _RUN + 1))
    }


def _encodings(value: str) -> set[str]:
    """The key as it is, and as JSON, Python, URLs, HTML and base64 write it."""
    plain = {value, value.strip(), *value.split()}
    writers: tuple[Callable[[str], str], ...] = (
        lambda key: json.dumps(key)[1:-1],
        lambda key: repr(key)[1:-1],
        lambda key: repr(_bytes(key))[2:-1],
        lambda key: quote(key, safe="", errors="surrogateescape"),
        lambda key: quote_plus(key, errors="surrogateescape"),
        html.escape,
        lambda key: "".join(f"\\u{ord(character):04x}" for character in key),
        lambda key: "".join(f"&#{ord(character)};" for character in key),
        lambda key: "".join(f"%{byte:02x}" for byte in _bytes(key)),
        lambda key: _bytes(key).hex(),
        lambda key: key[::-1],
        *_BASE64,
    )
    encoded = {write(key) for key in plain for write in writers}
    return {encoding for encoding in plain | encoded if len(encoding) >= _SHORTEST}


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _base64_behind(key: str, before: int, encode: Callable[[bytes], bytes]) -> str:
    """The characters that the key alone decides where `before` bytes, such as "Bearer ", were encoded with it."""
    whole = encode(bytes(before) + _bytes(key)).decode()
    end = (before + len(_bytes(key))) * 8 // 6
    return whole[-(-before * 8 // 6) : end]


_BASE64 = [
    partial(_base64_behind, before=before, encode=encode)
    for before in range(3)
    for encode in (base64.b64encode, base64.urlsafe_b64encode)
]
