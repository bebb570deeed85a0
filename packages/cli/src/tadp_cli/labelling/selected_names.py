"""Class names chosen for each image: from a table, a log of decisions, an annotation tool's tags, or folders."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tadp_captioning.jsonl import read_rows
from tadp_captioning.records import IMAGE_SUFFIXES
from tadp_heads.data.annotations.formats import annotation_format, read_annotations
from tadp_heads.data.files import files_by_id

_HEADINGS = ("image", "file", "filename", "file_name", "id", "name")


class SelectedNames:
    """Which of a model's classes a person, or another tool, says are in each image."""

    def __init__(self, chosen: Mapping[str, Sequence[str]], path: Path):
        self.chosen = {_key(image): tuple(names) for image, names in chosen.items()}
        self.path = path
        self._by_name: dict[str, list[str]] = {}
        for key in self.chosen:
            self._by_name.setdefault(PurePosixPath(key).name, []).append(key)

    @classmethod
    def read(cls, path: Path, classes: Sequence[str], prompt_names: Sequence[str]) -> "SelectedNames":
        """A .csv or .tsv (an image, then names in further cells or separated by ";"), a .jsonl of {"id", "names"} whose
        last line of an image counts, a folder in an annotation tool's format with image tags, or folders named like
        classes with images in them.

        `prompt_names`: each class as prompts name it; a name may be spelled either way. Others are a ValueError.
        """
        rows: list[tuple[str, Any, str]]
        if path.is_dir():
            rows = [*_of_folder(path)]
        elif path.suffix.lower() == ".jsonl":
            rows = [(str(row.get("id")), row.get("names"), f"line {number}") for number, row in read_rows(path)]
        elif path.is_file():
            rows = [*_of_table(path)]
        else:
            raise ValueError(f"{path}: no file or folder of selected names")
        known = {_plain(name): prompt for name, prompt in zip(classes, prompt_names, strict=True)}
        known |= {_plain(prompt): prompt for prompt in prompt_names if prompt}
        merged: dict[str, tuple[str, ...]] = {}
        for image, names, place in rows:
            if not isinstance(names, list):
                raise ValueError(f"{path}, {place}: no list of names for {image!r}")
            unknown = next((name for name in names if not isinstance(name, str) or _plain(name) not in known), None)
            if unknown is not None:
                raise ValueError(f"{path}, {place}: {unknown!r} is no class of the model: {', '.join(classes)}")
            found = {known[_plain(name)] for name in names}
            before = () if path.suffix.lower() == ".jsonl" else merged.get(image, ())
            merged[image] = tuple(name for name in prompt_names if name and name in {*found, *before})
        return cls(merged, path)

    def of(self, image_id: str, file: Path) -> tuple[str, ...] | None:
        """The names for an image, in label order; None where none were chosen for it."""
        for key in (_key(image_id), _key(file.as_posix())):
            if key in self.chosen:
                return self.chosen[key]
        there = self._by_name.get(_key(file.name), [])
        return self.chosen[there[0]] if len(there) == 1 else None


def _of_table(path: Path) -> list[tuple[str, list[str], str]]:
    """(image, names, place) of each row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: bytes that are not UTF-8: save it as UTF-8") from None
    rows = []
    cells = csv.reader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    for number, row in enumerate(cells, start=1):
        if not row or not row[0].strip() or (number == 1 and row[0].strip().lower() in _HEADINGS):
            continue
        names = [name.strip() for cell in row[1:] for name in cell.split(";")]
        rows.append((row[0].strip(), [name for name in names if name], f"line {number}"))
    return rows


def _of_folder(path: Path) -> list[tuple[str, list[str], str]]:
    """The tags of an annotation tool's images, or the folder that each image is in."""
    if annotation_format(path) is not None:
        images = read_annotations(path).images.values()
        return [(image.file.as_posix(), list(image.tags), image.source.name) for image in images if image.tags]
    rows = []
    for image_id, file in files_by_id(path).items():
        folder = image_id.split("/")[0]
        rows.append((file.name, [folder] if "/" in image_id else [], str(file.relative_to(path))))
    return rows


def _key(image: str) -> str:
    """A path with slashes, without the suffix of an image."""
    path = PurePosixPath(image.replace("\\", "/"))
    return str(path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path).lstrip("/")


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()
