"""The key of an OpenAI-compatible server: read from the environment, and kept out of every message."""

import base64
import html
import json
import os
import re
from urllib.parse import quote, quote_plus

KEY_VARIABLE = "OPENAI_API_KEY"
_SECRET = re.compile(r"\bsk-[\w*.-]+")


def read_key() -> str:
    """The environment variable's value without the line break that `$(cat key)` or a CI secret adds; "" where unset."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not all("!" <= character <= "~" for character in key):
        raise ValueError(f"{KEY_VARIABLE} holds a blank or a character that is not ASCII: no key has one, set it again")
    return key


def without_key(text: str) -> str:
    """The text with *** in place of the key, whichever way a server or a library has encoded it."""
    for spelling in sorted(_spellings(os.environ.get(KEY_VARIABLE, "")), key=len, reverse=True):
        text = text.replace(spelling, "***")
    return _SECRET.sub("sk-***", text)


def _spellings(value: str) -> set[str]:
    """The key as it is, and as JSON, Python, URLs, HTML and base64 write it."""
    plain = {value, value.strip(), *value.split()}
    encoded = {
        write(key)
        for key in plain
        for write in (
            lambda key: json.dumps(key)[1:-1],
            lambda key: repr(key)[1:-1],
            lambda key: repr(key.encode("utf-8", "surrogateescape"))[2:-1],
            lambda key: quote(key, safe="", errors="surrogateescape"),
            lambda key: quote_plus(key, errors="surrogateescape"),
            html.escape,
            lambda key: base64.b64encode(key.encode("utf-8", "surrogateescape")).decode().rstrip("="),
        )
    }
    # What is shorter than this is no key but a word such as "none", which messages may hold.
    return {spelling for spelling in plain | encoded if len(spelling) >= 6}
