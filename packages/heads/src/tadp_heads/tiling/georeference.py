"""Where an image lies on the earth: the tags of a GeoTIFF, which a mask of the same pixels keeps."""

from pathlib import Path

from PIL import ExifTags, Image

from tadp_heads.tiling.row_files import TiffTag

_TAGS = {33550: "d", 33922: "d", 34264: "d", 34735: "H", 34736: "d", 34737: "s"}
"""Pixel scale, tie points, transformation, and the keys of the coordinate system with their numbers and texts
(OGC GeoTIFF 1.1, section 7)."""


def georeference(path: Path) -> dict[int, TiffTag]:
    """{tag: value}; empty for an image that has none, or that its EXIF tag turns."""
    with Image.open(path) as image:
        tags = dict(getattr(image, "tag_v2", {}))
    if tags.get(ExifTags.Base.Orientation, 1) != 1:
        return {}
    return {number: _tag(kind, tags[number]) for number, kind in _TAGS.items() if number in tags}


def _tag(kind: str, value: str | tuple[float, ...]) -> TiffTag:
    return kind, value.encode() + b"\0" if isinstance(value, str) else value
