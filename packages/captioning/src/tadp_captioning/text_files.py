"""Text files as people save them: UTF-8 with or without a byte-order mark, or UTF-16 with one."""

import codecs
from pathlib import Path

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """The file's text without its byte-order mark; other encodings are an error that names the first such byte."""
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith(UTF16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        name, byte = encoding.removesuffix("-sig").upper(), content[error.start]
        raise ValueError(f"{path}: not {name} (byte {error.start} is 0x{byte:02x}); save it as UTF-8") from None
    if "\0" in text:  # every second character of UTF-16 without a mark
        raise ValueError(f"{path}: not UTF-8 (character {text.index(chr(0))} is null); save it as UTF-8")
    return text


def writable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can hold, and UTF-8 and tokenizers cannot."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
