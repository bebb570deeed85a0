"""One image's caption and where it comes from."""

from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from tadp_captioning._format import check_format
from tadp_captioning.text_files import writable

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"),
    *(".gif", ".ppm", ".pgm", ".avif", ".jp2"),
)
FORMAT, FORMAT_KEY = 1, "tadp_format"
"""Of the lines of JSON Lines files; each line has it, since several versions may append to one file."""
_OWN_FIELDS = ("id", "caption", "captioner", "params", "source")


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionRecord:
    """One image's caption and where it comes from: a line of the file."""

    id: str
    """What the data set calls the image: its path below the image folder, without suffix where we chose it."""
    caption: str
    """The text a model is given; "" for an image that could not be captioned (then `extra` has an "error")."""
    captioner: str = ""
    params: str = ""
    """Generation settings, e.g. "min=0_max=77"."""
    source: str = ""
    """The file that the caption was made from, relative to the folder of the captions, or read from."""
    cleaner: str = ""
    """What removed the words for a domain: "rules" or "openai:MODEL"; "" for nothing, or not recorded."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields: "captions" (texts as read, where they differ), "class_label", the content's "hash", "error",
    and of predictions the "prompt" that was made of the caption."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "caption", writable(self.caption))

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "CaptionRecord":
        """A line's object -> a record, which keeps what is left of the object as its `extra`."""
        check_format(row.pop(FORMAT_KEY, None), FORMAT, "the caption")
        image_id, caption = row.pop("id", None), row.pop("caption", None)
        if not isinstance(image_id, str) or not isinstance(caption, str):
            raise ValueError("expected an object with texts 'id' and 'caption'")
        others = {name: row.pop(name, "") for name in ("captioner", "params", "source", "cleaner")}
        if not all(isinstance(value, str) for value in others.values()):
            raise ValueError(f"expected texts {', '.join(map(repr, others))}")
        return cls(id=image_id, caption=caption, **others, extra=row)

    def to_json(self) -> dict[str, Any]:
        """The object that is written as one line."""
        cleaned = {"cleaner": self.cleaner} if self.cleaner else {}
        return {name: getattr(self, name) for name in _OWN_FIELDS} | cleaned | self.extra | {FORMAT_KEY: FORMAT}

    def with_caption(self, caption: str) -> "CaptionRecord":
        """The same image with another text; texts as once read, and a prompt made of them, no longer apply."""
        kept = {key: value for key, value in self.extra.items() if key not in ("captions", "prompt")}
        return replace(self, caption=caption, extra=kept)

    @property
    def error(self) -> str | None:
        """Why the image has no caption, or None."""
        return self.extra.get("error")


def image_key(image_id: str) -> str:
    """An image's id in its normal form: no leading slash, no image suffix."""
    path = PurePosixPath(image_id.lstrip("/"))
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else str(path)
