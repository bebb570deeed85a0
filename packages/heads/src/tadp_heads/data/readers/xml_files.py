"""Annotations in XML, whatever encoding they declare."""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from tadp_heads.data.errors import DataError

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})["']""")


def read_xml(path: Path, what: str = "a VOC annotation") -> ElementTree.Element:
    """The root element; a DataError where there is no file or no XML.

    Python decodes what is declared, for it knows more encodings than the XML parser, GB2312 among them. What is
    not in that encoding, or declares one that nobody knows, is read as UTF-8, which most tools write whatever they say.
    """
    if not os.path.isfile(path):  # False of a name that no file can have, too
        raise DataError(path, found="no file", expected=what, fix="add it, or take its id off the split")
    content = path.read_bytes()
    declared = _DECLARED.match(content)
    try:
        return ElementTree.fromstring(_decoded(content, declared.group(1).decode()) if declared else content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(path, found=f"no valid XML ({error})", expected=what, fix="write it again, in UTF-8") from error


def _decoded(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except (LookupError, ValueError):
        return content.decode("utf-8-sig")
